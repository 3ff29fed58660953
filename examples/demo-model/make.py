#!/usr/bin/env python3
"""Makes the demo checkpoint: SDXL's structure in miniature, drawing Fluent emoji in 1 to 4 steps.

    python3 make.py WORK OUT --taesdxl DIR

WORK keeps the packages, the curves and the state of each stage: a run that was cut goes on where it was. OUT gets
the checkpoint in diffusers layout, in float16. DIR has taesdxl_encoder.safetensors, whose latents are SDXL's. What
check.py compares with, pictures.safetensors and prompts.txt, is written beside this program.
"""

import argparse
import ctypes
import pathlib
import random

import torch

import autoencoder
import data
import polish
import save
import text
import tokenizer
import unet
from captions import caption

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of malloc.h


def keep_freed_memory() -> None:
    """Has glibc keep what is freed for the next step, in one arena, instead of giving it back to the system.

    Every step allocates the same tens of megabytes; on fresh pages a step took up to ten times as long.
    """
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in ((M_TRIM_THRESHOLD, -1), (M_MMAP_MAX, 0), (M_ARENA_MAX, 1)):
            libc.mallopt(option, value)


if __name__ == "__main__":
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("work", type=pathlib.Path)
    args.add_argument("out", type=pathlib.Path)
    args.add_argument("--taesdxl", type=pathlib.Path, required=True, metavar="DIR")
    args.add_argument("--size", type=int, default=128, help="sides of the pictures, in pixels")
    args.add_argument("--text-steps", type=int, default=1300)
    args.add_argument("--unet-steps", type=int, default=1200)
    args.add_argument("--together-steps", type=int, default=120)
    args.add_argument("--vae-steps", type=int, default=850)
    args = args.parse_args()
    keep_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.enable_flash_sdp(device.type == "cuda")  # on a CPU, so few rows are faster as plain products
    args.out.mkdir(parents=True, exist_ok=True)

    data.fetch(args.work)
    pictures, names, words = data.read(args.work, args.size)
    rng, known = random.Random(0), set(names)
    asked = [caption(rng, name, own, known) for name, own in zip(names, words) for _ in range(40)]
    texts = names * 20 + [w for own in words for w in own] * 3 + asked
    tokenizers, pieces = tokenizer.train(texts, 3200, text.LENGTH, args.out)
    latents = autoencoder.target_latents(args.work, args.taesdxl, pictures, device)
    print(f"{len(names)} pictures of {args.size} px, {pieces} pieces, latents' variance {latents.var():.3f}", flush=True)

    encoders = text.pretrain(args.work, tokenizers, pieces, names, words, latents, args.text_steps, device)
    network = unet.train(args.work, encoders, tokenizers, names, words, latents, args.size, args.unet_steps, device)
    unet.together(args.work, encoders, network, tokenizers, names, words, latents, args.size, args.together_steps, device)
    polish.train(args.work, encoders, network, tokenizers, names, words, latents, args.size, device)
    drawn = torch.cat([unet.draw(encoders, network, tokenizers, names, words, args.size, device, steps=steps, ways=ways)
                       for steps, ways in ((1, 2), (4, 4))])
    vae = autoencoder.train(args.work, pictures, latents, drawn, args.size, args.vae_steps, device)
    save.checkpoint(args.out, encoders, network, vae)
    save.pictures(pathlib.Path(__file__).parent, vae, pictures, names)
