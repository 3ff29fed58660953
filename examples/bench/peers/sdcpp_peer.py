#!/usr/bin/env python3
"""stable-diffusion.cpp through its Python package: whole pictures, and what its log tells of the stages.

    sdcpp_peer.py CHECKPOINT --stage picture --dtype f16 [--size 512] [--cache DIR]
"""

import io
import json
import os
import pathlib
import re
import statistics
import sys

import measure

args = measure.options(["f16"], ["picture"])


class Log(io.StringIO):
    """The package writes its log to sys.stderr; it goes on to where it was going."""

    def write(self, words):
        sys.__stderr__.write(words)
        return super().write(words)


log = sys.stderr = Log()
from stable_diffusion_cpp import StableDiffusion  # noqa: E402


def links():
    """The checkpoint under the names that it looks for: those without `.fp16`.

    All but the second text encoder, which it takes for a part of the first if it finds it in the folder.
    """
    source, folder = pathlib.Path(args.checkpoint).resolve(), pathlib.Path(args.cache).resolve() / "sdcpp"
    for part in ["unet", "vae", "text_encoder"]:
        for path in (source / part).iterdir():
            link = folder / part / path.name.replace(".fp16.", ".")
            link.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(link):
                link.unlink()
            link.symlink_to(path)
    return str(folder)


def open_picture():
    model = StableDiffusion(
        model_path=links(),
        clip_g_path=f"{args.checkpoint}/text_encoder_2/model.fp16.safetensors",
        n_threads=args.threads,
        verbose=True,
    )

    def step():
        picture = model.generate_image(
            measure.PROMPT, width=args.size, height=args.size, cfg_scale=1.0, sample_steps=1, sample_method="euler_a"
        )[0]
        picture.save("/dev/null", format="png")

    return step


whole = measure.report(args, ["stable-diffusion-cpp-python"], open_picture)
stages = {"text": r"get_learned_condition", "unet": r"sampling", "vae": r"latent 1 decoded,"}
for stage, words in stages.items():
    found = re.findall(rf"{words}(?: completed,)? taking ([\d.]+)s", log.getvalue())
    seconds = [float(s) for s in found][-args.runs :]
    if len(seconds) == args.runs:
        json.dump({**whole, "stage": stage, "seconds": seconds, "median_s": statistics.median(seconds)}, sys.stdout)
        print(flush=True)
