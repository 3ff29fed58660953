#!/usr/bin/env python3
"""Measures the demo checkpoint through the pipe: does each prompt draw its own picture, and how well?

    examples/demo-model/check.py [--seeds 3] [--steps 1 4] [--every 1] [--model demo]

For every prompt "a NAME" of prompts.txt the picture is drawn by the tools found on PATH, and compared in pixels with
all training pictures as the same autoencoder shows them (pictures.safetensors holds their latents). Prints, for each
number of steps and each seed, the share of prompts whose own picture is the nearest and the mean PSNR to it; exits
with 1 where that is less than 99 % or 24 dB, or where four steps come out more than 0.05 dB below one step with the
same seed (seeds differ by 0.03). Needs numpy.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent


def frames(stream):
    """The `image` tensors of a stream, one frame after the other: [B, H, W, 3] of bytes."""
    while length := stream.read(8):
        header = json.loads(stream.read(int.from_bytes(length, "little")))
        header.pop("__metadata__", None)
        bodies = stream.read(max(t["data_offsets"][1] for t in header.values()))
        start, end = header["image"]["data_offsets"]
        yield np.frombuffer(bodies[start:end], np.uint8).reshape(header["image"]["shape"])


def run(*commands: list[str]) -> np.ndarray:
    """The pictures that a pipe of tools ends in: [N, H W 3] from 0 to 1."""
    running, source = [], subprocess.DEVNULL
    for command in commands:
        running.append(subprocess.Popen([str(c) for c in command], stdin=source, stdout=subprocess.PIPE))
        if source is not subprocess.DEVNULL:
            source.close()  # now the next tool's alone
        source = running[-1].stdout
    drawn = np.concatenate(list(frames(source)))
    if any(process.wait() for process in running):
        sys.exit("a tool failed")
    return drawn.reshape(len(drawn), -1).astype(np.float32) / 255


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--steps", type=int, nargs="+", default=[1, 4])
    flags.add_argument("--every", type=int, default=1, metavar="N", help="ask for every Nth picture only")
    flags.add_argument("--model", default="demo")
    flags = flags.parse_args()
    names = (HERE / "prompts.txt").read_text().splitlines()
    trained = run(["decode-latents", "--model", flags.model, HERE / "pictures.safetensors"])
    assert len(trained) == len(names), "as many pictures as prompts"
    squares = (trained**2).sum(1)
    asked = np.arange(0, len(names), flags.every)
    prompts = [f"a {names[i]}" for i in asked]
    good, one_step = True, {}
    for steps in sorted(flags.steps):
        for seed in range(flags.seeds):
            drawn = run(["encode-text", "--model", flags.model, "--", *prompts],
                        ["denoise", "--steps", str(steps), "--seed", str(1000 * seed)], ["decode-latents"])
            distance = (drawn**2).sum(1)[:, None] - 2 * drawn @ trained.T + squares
            nearest = distance.argmin(1) == asked
            error = ((drawn - trained[asked]) ** 2).mean(1)
            psnr = (-10 * np.log10(error)).mean()
            print(f"steps {steps}, seed {seed}: nearest is the prompted for {nearest.sum()} of {len(asked)} "
                  f"({nearest.mean():.2%}); mean PSNR {psnr:.2f} dB, worst {-10 * np.log10(error.max()):.1f} dB", flush=True)
            if not nearest.all():
                print("  not nearest:", ", ".join(names[i] for i in asked[~nearest][:12]))
            good &= nearest.mean() >= 0.99 and psnr >= 24
            if steps == 1:
                one_step[seed] = psnr
            if steps == 4 and psnr < one_step.get(seed, psnr) - 0.05:
                print(f"  worse than one step, which comes to {one_step[seed]:.2f} dB")
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
