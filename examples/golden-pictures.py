#!/usr/bin/env python3
"""Draw every text-to-image case of a golden file through the pipe, and compare with what diffusers drew.

    examples/golden-pictures.py CHECKPOINT GOLDEN_STEM [DTYPE]

CHECKPOINT is a folder in diffusers layout; GOLDEN_STEM.safetensors has the expected latents and pixels and
GOLDEN_STEM.json the cases. DTYPE: f32 (default), bf16, auto. The tools are taken from PATH. Needs numpy, safetensors
and Pillow. Exits with 1 where an f32 run is off by more than 1e-3 of the norm of the latents, or more than 0.1 % of
the pixel values by more than 1 in 255.
"""
import io, json, subprocess, sys, tempfile
import numpy as np
from PIL import Image
from safetensors.numpy import load_file


def flags(case):
    yield from ("--steps", case["num_inference_steps"], "--seed", case["seed"])
    yield from ("--width", case["width"], "--height", case["height"])
    if "guidance_scale" in case:
        yield from ("--guidance-scale", case["guidance_scale"])
    for key, flag, join in (("original_size", "--original-size", "x"), ("target_size", "--target-size", "x"),
                            ("crops_coords_top_left", "--crops-top-left", "x")):
        if key in case:
            yield from (flag, join.join(map(str, case[key])))


def run(*command, stdin=b""):
    return subprocess.run([str(c) for c in command], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def main(checkpoint, stem, dtype="f32"):
    golden = load_file(stem + ".safetensors")
    cases = json.load(open(stem + ".json"))["cases"]["image"]
    good = True
    for i, case in enumerate(cases):
        if case.get("kind", "text2img") != "text2img":
            continue
        negative = ["--negative-prompt", case["negative_prompt"]] if "negative_prompt" in case else []
        text = run("encode-text", "--model", checkpoint, "--dtype", dtype, *negative, "--", case["prompt"])
        frame = run("denoise", "--dtype", dtype, *flags(case), stdin=text)
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(frame)
            file.flush()
            latents = load_file(file.name)["latents"]
        png = run("to-png", stdin=run("decode-latents", "--dtype", dtype, stdin=frame))
        expected = golden[f"image/{i}/latents"]
        e = np.linalg.norm(latents - expected) / np.linalg.norm(expected)
        pixels = np.asarray(Image.open(io.BytesIO(png))).astype(int)
        off = np.abs(pixels - golden[f"image/{i}/pixels"][0].astype(int))
        share = (off > 1).mean()
        print(f"image/{i}: latents e = {e:.2e}; pixel values off by more than 1: {share:.4%}, at most {off.max()}")
        good &= e <= 1e-3 and share <= 1e-3
    return 0 if good or dtype != "f32" else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
