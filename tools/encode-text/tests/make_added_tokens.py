#!/usr/bin/env python3
"""Writes golden/added_tokens.json: ids of prompts with tokens that were added, as diffusers' textual inversion has them.

    python3 make_added_tokens.py ../../../../shared/data/clip-tokenizer golden/added_tokens.json

Made with transformers 5.23.0; `convert` is `_maybe_convert_prompt` of diffusers 0.42.1's loaders/textual_inversion.py,
which needs torch.
"""
import json, pathlib, sys
from transformers import CLIPTokenizer

DATA, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
TOKENS = [("<thing>", 2), ("My Style", 1), ("negativeXL_D", 3)]  # name, vectors
PROMPTS = ["a photo of <thing> on a table", "<thing>", "a<thing>b", "my style, <thing>!", "My Style My Style", "a negativeXL_D b",
           "a NEGATIVExl_d", "stylemy style", "<thin g>", "a " * 73 + "<thing> end", "a " * 74 + "<thing> end", "a " * 75 + "<thing>"]


def convert(prompt, tokenizer):
    for token in set(tokenizer.tokenize(prompt)):
        if token in tokenizer.added_tokens_encoder:
            replacement, i = token, 1
            while f"{token}_{i}" in tokenizer.added_tokens_encoder:
                replacement += f" {token}_{i}"
                i += 1
            prompt = prompt.replace(token, replacement)
    return prompt


both = [CLIPTokenizer.from_pretrained(DATA / part) for part in ("tokenizer", "tokenizer_2")]
for tokenizer in both:
    for name, vectors in TOKENS:
        tokenizer.add_tokens([name.lower()] + [f"{name.lower()}_{i}" for i in range(1, vectors)])
ids = lambda t, p: t(convert(p, t), padding="max_length", max_length=77, truncation=True).input_ids
# diffusers finds a token's further vectors by exact text, and those of a name with capitals never: its tokenizer gives
# back what it has lowercased. Here a token always means all of its vectors, as in other programs, so that expected ids
# are those of a lowercase name in a lowercase prompt.
cases = [{"prompt": p, "ids": [ids(t, p.lower()) for t in both]} for p in PROMPTS]
OUT.write_text(json.dumps({"tokens": TOKENS, "cases": cases}, separators=(",", ":")).replace('{"prompt"', '\n{"prompt"') + "\n")
