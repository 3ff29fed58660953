#!/usr/bin/env python3
"""Writes golden/tokens.json: what transformers' CLIPTokenizer makes of prompts. Made with transformers 5.23.0.

    python3 make_tokens.py ../../../../shared/data golden/tokens.json

"clip" and "prototype" are the vocabularies in that folder, each with both tokenizers' ids, padding left out.
"made_up" is a vocabulary of a few pieces with the configurations in which special tokens are found in the wild.
"""
import json, pathlib, sys, tempfile
from transformers import CLIPTokenizer

DATA, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
PROMPTS = [
    "a red fox", "", " ", "   leading and trailing   ", "A Cat", "wow!", "! !! !!!", "hello!world", "!", "a!", "!a",
    "it's they'll I'd we've you're I'm don't 'S 'LL", "1234 12 a1b2", "¼ ² Ⅷ ٣", "naïve café", "nai\u0308ve cafe\u0301",
    "STRASSE straße İstanbul ΣΊΣΥΦΟΣ", "日本語の看板 한국어 العربية हिन्दी ไทย", "🚀🔥 👩‍👩‍👧‍👦 🇩🇪", "tabs\tand\nlines\r\nand\u00a0no-break\u3000wide",
    "zero\u200bwidth \ufeffbom", "\x00nul \x07bell \x1b[0m", "a--b...c,,,d;;;", "#$%^&*()_+", "$5.00 50% off",
    "<|startoftext|>", "<|endoftext|>", "a <|endoftext|> b <|startoftext|> c", "<|ENDOFTEXT|> <|StartOfText|>",
    "<|endoftext|", "x<|endoftext|>y", "!<|endoftext|>!", "ﬁ ligature ﷺ", "Å \u212b A\u030a", "mid\u2019quote \u201cq\u201d", "a\u0301\u0302\u0303",
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "a " * 100, "word! " * 60, "x" * 300, "日本" * 40,
    "masterpiece, (best quality:1.2), [ugly], {x|y}, <lora:foo:0.8>", "http://example.org/a?b=c&d=e", "\ud7ff\ue000 private",
]
MADE_UP_PROMPTS = ["ab !", "ab!ab", "<|endoftext|> b", "<|ENDOFTEXT|>ab", "<|STARTOFTEXT|>", "q <cat> Ab", "<CAT>", "aaaa abab ab"]


def content(tokenizer, prompt):
    """The ids of a prompt, cut as diffusers has them cut, without padding behind the first end of text."""
    n = tokenizer.model_max_length if tokenizer.model_max_length < 10**6 else 8
    ids = tokenizer(prompt, padding="max_length", max_length=n, truncation=True).input_ids
    assert len(ids) == n
    while len(ids) > 2 and ids[-1] == tokenizer.pad_token_id and ids[-2] in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        ids.pop()
    return ids


def flags(content, normalized):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False, "special": True}


out = {}
for name, folder in (("clip", "clip-tokenizer"), ("prototype", "prototype")):
    both = [CLIPTokenizer.from_pretrained(DATA / folder / part) for part in ("tokenizer", "tokenizer_2")]
    out[name] = [{"prompt": p, "ids": [content(t, p) for t in both]} for p in PROMPTS]

pieces = ["!", "<", ">", "|", "a", "b", "c", "t", "!</w>", "<</w>", "></w>", "|</w>", "a</w>", "b</w>", "c</w>", "t</w>", "ab", "ab</w>", "aa",
          "<|startoftext|>", "<|endoftext|>"]
vocab = {piece: i for i, piece in enumerate(pieces)}
merges = "#version: 0.2\na b</w>\na b\na a\n"
decoder = {"19": flags("<|startoftext|>", True), "20": flags("<|endoftext|>", True)}
names = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
objects = {key: flags(token, True) for key, token in names.items()}
configs = [
    ({**names}, None),
    ({**names, "pad_token": "!"}, None),
    ({**names, "added_tokens_decoder": decoder}, None),
    ({**names, "pad_token": "!", "added_tokens_decoder": {"0": flags("!", False), **decoder}}, None),
    ({}, {**objects, "pad_token": "!"}),
    ({}, {**objects, "pad_token": "<|endoftext|>"}),
    ({**names}, {**names, "pad_token": "!"}),
    ({}, None),
    ({**names, "added_tokens_decoder": {**decoder, "21": flags("<cat>", False) | {"special": False}}}, None),
]
cases = []
for config, special in configs:
    config = config | {"model_max_length": 8}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps(vocab))
        (folder / "merges.txt").write_text(merges)
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "CLIPTokenizer"}))
        if special is not None:
            (folder / "special_tokens_map.json").write_text(json.dumps(special))
        t = CLIPTokenizer.from_pretrained(folder)
        ids = [t(p, padding="max_length", max_length=8, truncation=True).input_ids for p in MADE_UP_PROMPTS]
    cases.append({"tokenizer_config": config, "special_tokens_map": special, "ids": ids})
out["made_up"] = {"vocab": vocab, "merges": merges, "prompts": MADE_UP_PROMPTS, "cases": cases}
OUT.write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")).replace('{"prompt"', '\n{"prompt"').replace('{"tokenizer_config"', '\n{"tokenizer_config"') + "\n")
