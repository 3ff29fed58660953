#!/usr/bin/env python3
"""Writes golden/weighted.json: pieces and chunks of weighted prompts by their definition in code.

    python3 make_weighted.py ../../../../shared golden/weighted.json

The definition is `reference/make_golden_prompts.py` in that folder, of which the functions are taken as they are. Made
with transformers 5.23.0; torch is not needed.
"""
import ast, json, pathlib, random, re, sys
from transformers import CLIPTokenizer

SHARED, OUT = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
tree = ast.parse((SHARED / "reference/make_golden_prompts.py").read_text())
tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in ("stretches", "valid", "chunks")]
definition = {"re": re}
exec(compile(tree, "make_golden_prompts.py", "exec"), definition)
tokenizers = [CLIPTokenizer.from_pretrained(SHARED / "data/clip-tokenizer" / part) for part in ("tokenizer", "tokenizer_2")]

PROMPTS = [
    "", " ", "a red fox", "a (red:1.4) [old] ((fox))", "(a (b:1.5) c:0.8)", "([a])", "(a:-0.5)(b:+2)(c: .5 )(d:3.)",
    "a (b [c", "a) ] b:2)", "(a ] b)", "[a ) b]", "[a:2.0]", "(a:1.2.3) (b:.) (c:) (d:1e3) (e:--1) (f:1 2)",
    r"\(a\) \[b\] \\ \x (c\:2)", "first BREAK second", "(one BREAK two:1.3) BREAK", "BREAK BREAK BREAKS xBREAK BREAK_ (BREAK)a",
    "wow! (so many!!:1.3) hats!!", "(日本語:1.2) 看板 [🚀🔥]", "a\n(b\t:\u00a01.5\n)", "<|endoftext|> (<|startoftext|> !:2)",
    "word " * 80, "(" + "word " * 80 + ":1.5) end", "x" * 600, "a " * 74 + "antidisestablishmentarianism b", "a " * 74 + "(antidis:2)establishment",
    "one two " * 35 + "[" + "supercalifragilistic " * 8 + "]", "! " * 90, "((((a))))" * 20,
]
ATOMS = ["(", ")", "[", "]", "\\", ":", ":1.2)", ": -0.5 )", ":1..2)", "BREAK", " ", " ", "a", "red fox", "!", "!!", "1.5", ",", "é", "\n", "antidisestablishmentarianism"]
rng = random.Random(1)
PROMPTS += ["".join(rng.choices(ATOMS, k=rng.randint(3, 40))) for _ in range(150)]
PROMPTS += ["".join(rng.choices(ATOMS, k=rng.randint(150, 250))) for _ in range(6)]

cases = []
for prompt in PROMPTS:
    chunks = [definition["chunks"](tokenizer, prompt) for tokenizer in tokenizers]
    cases.append({"prompt": prompt, "pieces": definition["stretches"](prompt), "ids": [[[i for i, _ in chunk] for chunk in part] for part in chunks],
                  "weights": [[[w for _, w in chunk] for chunk in part] for part in chunks]})
    assert all(len(chunk) <= 75 for part in chunks for chunk in part)
# A weight is the same over many tokens: told as [weight, count].
for case in cases:
    for part in case["weights"]:
        for n, chunk in enumerate(part):
            runs = []
            for w in chunk:
                if runs and runs[-1][0] == w:
                    runs[-1][1] += 1
                else:
                    runs.append([w, 1])
            part[n] = runs
OUT.write_text(json.dumps(cases, ensure_ascii=True, separators=(",", ":")).replace('{"prompt"', '\n{"prompt"') + "\n")
