"""The pictures and their names: Fluent emoji (MIT, Microsoft) from the npm registry."""

import io
import json
import pathlib
import subprocess
import tarfile

import numpy as np
import torch
from PIL import Image

# The pictures, 256 px with transparency; the official names and groups; further words for them.
PACKAGES = ("@lobehub/fluent-emoji-3d@1.1.0", "unicode-emoji-json@0.9.0", "emojilib@4.0.2")
# All but people, symbols and flags, which make 882 of the 1,898.
GROUPS = {"Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects", "Smileys & Emotion"}
# Everyday words for pictures that are officially called something else.
EVERYDAY = {
    "airplane": "plane", "automobile": "car", "beer mug": "beer", "bicycle": "bike", "birthday cake": "cake",
    "blossom": "flower", "deciduous tree": "tree", "desktop computer": "computer", "french fries": "fries",
    "full moon": "moon", "hamburger": "burger", "hot beverage": "coffee", "laptop": "notebook computer",
    "mobile phone": "phone", "open book": "book", "red apple": "apple", "red heart": "heart", "sailboat": "boat",
    "slightly smiling face": "smile", "television": "tv", "wine glass": "wine", "mantelpiece clock": "clock",
    "soccer ball": "football", "bouquet": "flowers", "wrapped gift": "present", "grapes": "grape",
}


def fetch(folder: pathlib.Path) -> None:
    """Puts the packages into `folder`, where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if not archive(folder, package).exists():
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)


def archive(folder: pathlib.Path, package: str) -> pathlib.Path:
    name, version = package.rsplit("@", 1)
    return folder / f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"


def plain(name: str) -> str:
    """A name as people type it."""
    return " ".join(name.lower().replace("’", "'").replace("_", " ").split())


def read(folder: pathlib.Path, size: int) -> tuple[torch.Tensor, list[str], list[list[str]]]:
    """Pictures (uint8 [N, 3, size, size], on white), their names, and the other words for each."""
    pictures_at, table_at, words_at = (archive(folder, p) for p in PACKAGES)
    with tarfile.open(table_at) as t:
        table = json.load(t.extractfile("package/data-by-emoji.json"))
    with tarfile.open(words_at) as t:
        keywords = json.load(t.extractfile("package/dist/emoji-en-US.json"))
    wanted = {}
    for char, entry in table.items():
        if entry["group"] in GROUPS:
            code = [f"{ord(c):x}" for c in char]
            wanted["-".join(code)] = wanted["-".join(c for c in code if c != "fe0f")] = (char, plain(entry["name"]))
    pictures, names, words = [], [], []
    with tarfile.open(pictures_at) as t:
        for member in sorted(t.getmembers(), key=lambda m: m.name):
            code = pathlib.PurePath(member.name).stem
            if not member.name.endswith(".webp") or code not in wanted:
                continue
            char, name = wanted[code]
            if name in names:  # one picture under two spellings of its code point
                continue
            image = Image.open(io.BytesIO(t.extractfile(member).read())).convert("RGBA")
            page = Image.new("RGBA", image.size, "white")
            page.alpha_composite(image)
            pictures.append(np.asarray(page.convert("RGB").resize((size, size), Image.LANCZOS)))
            names.append(name)
            words.append([plain(w) for w in keywords.get(char, [])])
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), names, unambiguous(names, words)


def unambiguous(names: list[str], words: list[list[str]]) -> list[list[str]]:
    """Of each picture's words, those that no other picture has or is called, and the everyday ones."""
    used: dict[str, set[int]] = {}
    for i, own in enumerate(words):
        for w in own:
            used.setdefault(w, set()).add(i)
    taken = set(names) | set(EVERYDAY.values())
    kept = [[w for w in own if used[w] == {i} and w not in taken and len(w) > 2] for i, own in enumerate(words)]
    for name, word in EVERYDAY.items():
        if name in names and word not in names:
            kept[names.index(name)].append(word)
    return kept
