"""Decodes what peek --preview showed, and compares it with what numpy makes of the stream.

    python3 preview.py STREAM SHOWN PROTOCOL [COLUMNS ROWS]

STREAM has latents and images as numpy's safetensors reads them, SHOWN is peek's stderr; with PROTOCOL "files", SHOWN
is a name with a % for the picture's number. The decoders follow the terminals' own documents.
"""

import base64
import io
import json
import re
import sys

import numpy as np
from PIL import Image
from safetensors.numpy import load

# latents_to_rgb of diffusers' guide to callbacks.
WEIGHTS = np.array([[60, -60, 25, -70], [60, -5, 15, -50], [60, 10, -5, -35]], np.float64)
BIASES = np.array([150, 140, 130], np.float64)


def pictures(path):
    """The stream's pictures as numbers from 0 to 255, not yet cut off to whole ones."""
    data = open(path, "rb").read()
    while data:
        size = int.from_bytes(data[:8], "little")
        entries = json.loads(data[8:8 + size])
        entries.pop("__metadata__", None)
        end = 8 + size + max(entry["data_offsets"][1] for entry in entries.values())
        tensors, data = load(data[:end]), data[end:]
        for row in tensors.get("image", []):
            yield row.astype(np.float64)
        for row in tensors.get("latents", []):
            rgb = np.einsum("chw,rc->hwr", row.astype(np.float64), WEIGHTS) + BIASES
            yield np.clip(rgb, 0, 255)


def same(found, expected, case):
    """Cut off to whole numbers; single precision may land on the other side of one."""
    found = found.astype(np.int64)
    assert found.shape == expected.shape, (case, found.shape, expected.shape)
    off = np.abs(found - np.floor(expected))
    assert off.max() <= 1 and (off > 0).mean() < 0.01, (case, off.max(), (off > 0).mean())


def enlarged(picture):
    """Pixels as squares, as many as fit 256."""
    factor = max(256 // max(picture.shape[:2]), 1)
    return picture.repeat(factor, 0).repeat(factor, 1)


def png(data):
    image = Image.open(io.BytesIO(data))
    assert image.format == "PNG" and image.mode == "RGB"
    return np.asarray(image)


def kitty(text):
    found, data = [], ""
    for control, piece in re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", text):
        keys = dict(pair.split("=") for pair in control.split(","))
        assert len(piece) <= 4096 and (keys["m"] == "0" or len(piece) % 4 == 0)
        if not data:
            assert (keys["a"], keys["f"], keys["q"]) == ("T", "100", "2")
        data += piece
        if keys["m"] == "0":
            found.append(png(base64.b64decode(data, validate=True)))
            data = ""
    assert not data
    return found


def iterm2(text):
    found = []
    for keys, data in re.findall("\x1b]1337;File=([^:]*):([^\x07]*)\x07", text):
        keys = dict(pair.split("=") for pair in keys.split(";"))
        data = base64.b64decode(data, validate=True)
        assert keys["inline"] == "1" and int(keys["size"]) == len(data)
        found.append(png(data))
    return found


def sixel(text):
    found = []
    for size, body in re.findall("\x1bP0;1;0q\"1;1;([0-9;]*)([^\x1b]*)\x1b\\\\", text):
        width, height = map(int, size.split(";"))
        picture = np.full((height, width, 3), -1)
        palette, colour, x, y = {}, None, 0, 0
        for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+[?-~]|[?-~]|\$|-", body):
            if token[0] == "#" and ";" in token:
                index, _, *rgb = map(int, token[1:].split(";"))
                palette[index] = np.round(np.array(rgb) * 2.55)
            elif token[0] == "#":
                colour = palette[int(token[1:])]
            elif token == "$":
                x = 0
            elif token == "-":
                x, y = 0, y + 6
            else:
                count = int(token[1:-1]) if token[0] == "!" else 1
                for row in range(6):
                    if (ord(token[-1]) - 63) >> row & 1:
                        assert y + row < height and x + count <= width
                        assert (picture[y + row, x:x + count] == -1).all(), "a pixel drawn twice"
                        picture[y + row, x:x + count] = colour
                x += count
        assert (picture >= 0).all(), "a pixel not drawn"
        assert re.fullmatch(r"(#\d+;2;\d+;\d+;\d+|#\d+|!\d+[?-~]|[?-~]|\$|-)*", body)
        found.append(picture)
    return found


def blocks(text):
    """Lines of half blocks; a line without a background is the last of an odd number."""
    found, rows = [], []
    for line in text.split("\n"):
        if "\u2580" not in line:
            if rows:
                found.append(np.array(rows))
            rows = []
            continue
        assert line.endswith("\x1b[0m")
        upper, lower, above, below = [], [], None, None
        for escape, block in re.findall("\x1b\\[([0-9;]*)m|(\u2580)", line[:-4]):
            if block:
                upper.append(above)
                lower.append(below)
                continue
            numbers = list(map(int, escape.split(";")))
            assert numbers[:2] == [38, 2]
            above = numbers[2:5]
            assert len(numbers) == 5 or numbers[5:7] == [48, 2]
            below = numbers[7:10] or None
        rows.append(upper)
        if None not in lower:
            rows.append(lower)
    return found


def main(stream, shown, protocol, columns=80, rows=24):
    expected = list(pictures(stream))
    if protocol == "files":
        for number, picture in enumerate(expected, 1):
            same(png(open(shown.replace("%", str(number)), "rb").read()), picture, number)
        return
    text = open(shown, encoding="utf-8").read()
    found = {"kitty": kitty, "iterm2": iterm2, "sixel": sixel, "blocks": blocks}[protocol](text)
    assert len(found) == len(expected), (len(found), len(expected))
    for index, (ours, picture) in enumerate(zip(found, expected)):
        if protocol == "blocks":
            height, width = picture.shape[:2]
            ratio = min(int(columns) / width, 2 * (int(rows) - 1) / height, 1)
            assert abs(ours.shape[0] - ratio * height) <= 1 and abs(ours.shape[1] - ratio * width) <= 1, ours.shape
            if ratio == 1:
                same(ours, picture, index)
            else:
                # Areas keep their colour, whatever the cut between pixels is.
                off = np.abs(ours.mean((0, 1)) - picture.mean((0, 1)))
                assert off.max() < 4, (index, off)
        elif protocol == "sixel":
            picture = enlarged(picture)
            assert ours.shape == picture.shape
            # 6 levels a colour: a pixel may be far off, an area is not.
            h, w = (side // 8 * 8 for side in ours.shape[:2])
            area = lambda p: p[:h, :w].reshape(h // 8, 8, w // 8, 8, 3).mean((1, 3))
            off = np.abs(area(ours) - area(picture))
            assert off.max() < 40 and off.mean() < 6, (index, off.max(), off.mean())
        else:
            same(ours, enlarged(picture), index)


main(*sys.argv[1:])
