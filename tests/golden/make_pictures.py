#!/usr/bin/env python3
"""What diffusers makes of pictures, as small as it can be kept.

    python3 make_pictures.py REFERENCE OUT_STEM

REFERENCE.safetensors and .json are diffusers' image to image and inpainting runs on the tiny checkpoint: per case `i`
the picture and mask as given, the picture as it was prepared (in [-1, 1]), its encoding, the latents and the pixels.
Prepared pictures and masks are kept as the bytes they were before; all else as it is. Needs numpy and safetensors.
"""
import pathlib, sys
import numpy as np
from safetensors.numpy import load_file, save_file

reference, out = sys.argv[1:]
kept = {}
for key, value in load_file(reference + ".safetensors").items():
    name = key.split("/")[1]
    if name == "prepared":
        bytes_ = np.round((value + 1) / 2 * 255).astype(np.uint8)
        # As diffusers computes it: divided by 255 as a picture, then normalized as a tensor.
        assert (np.float32(2) * (bytes_.astype(np.float32) / np.float32(255)) - np.float32(1) == value).all(), key
        value = bytes_
    elif name == "prepared_mask":
        assert set(np.unique(value)) <= {0.0, 1.0}, key
        value = value.astype(np.uint8)
    kept[key] = value
save_file(kept, out + ".safetensors")
pathlib.Path(out + ".json").write_text(pathlib.Path(reference + ".json").read_text())
