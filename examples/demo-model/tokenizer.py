"""A byte-pair vocabulary of our own, in the files that CLIPTokenizer reads."""

import json
import pathlib

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
START, END = "<|startoftext|>", "<|endoftext|>"


def train(texts: list[str], pieces: int, length: int, out: pathlib.Path) -> tuple[list[CLIPTokenizer], int]:
    """Learns at most `pieces` pieces from `texts`, writes `tokenizer` and `tokenizer_2`, and reads them back.

    The pieces stand in CLIP's order: the bytes, the bytes that end a word, the merges, start and end.
    As in SDXL, the first tokenizer pads with the end, the second with "!", whose id is 0.
    """
    tk = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tk.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tk.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tk.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=pieces, initial_alphabet=letters, end_of_word_suffix="</w>", special_tokens=[], show_progress=False))
    model = json.loads(tk.to_str())["model"]
    base = letters + [c + "</w>" for c in letters]
    known = set(base)
    learnt = [t for t, _ in sorted(model["vocab"].items(), key=lambda x: x[1]) if t not in known]
    vocab = {t: i for i, t in enumerate(base + learnt + [START, END])}
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    for part, pad in (("tokenizer", END), ("tokenizer_2", "!")):
        folder = out / part
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": pad}
        (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
        config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "add_prefix_space": False,
                            "do_lower_case": True, "errors": "replace"}
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return [CLIPTokenizer.from_pretrained(out / part) for part in ("tokenizer", "tokenizer_2")], len(vocab)
