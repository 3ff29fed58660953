"""The UNet on its own trajectories: what one step hands to the next.

Trained on clean latents and noise alone, the UNet meets its own small errors only when it draws, and each step made
them larger: four steps came out 1.1 dB below one. Here it draws part of the way itself, and learns the step that
follows; the weights are averaged over the last steps. Text encoders are left as they are.
"""

import copy
import json
import pathlib
import random
import time
from typing import NamedTuple

import torch

from text import token_ids
from unet import BATCH, Clean, advance, ask, trailing

AVERAGE = 0.985


class Round(NamedTuple):
    """`counts` says how often 1, 2, 3 and 4 steps are drawn, `last` how often it is the last of them that is learnt.

    `fourth` is the share of every batch that learns the last of four steps, whatever the others draw.
    """

    steps: int
    rate: float
    counts: tuple[float, float, float, float]
    last: float
    fourth: float = 0


ROUNDS = [
    Round(300, 3e-4, (2, 2, 2, 4), 0),
    Round(440, 6e-4, (2, 1.5, 1.5, 6), 0.7),
    Round(200, 6e-4, (1.5, 1, 1.5, 7), 0.85),
    Round(700, 6e-4, (4, 1.5, 1.5, 3), 0.5, fourth=0.5),
    Round(200, 3e-4, (1, 0, 0, 0), 0, fourth=0.75),
]


@torch.no_grad()
def errors(clean: Clean, hidden, pooled, latents, steps: int) -> list[float]:
    """Mean squared error of each step's guess."""
    torch.manual_seed(7)
    timesteps, found = trailing(steps), []
    sample = torch.randn(latents.shape).to(latents.device) * clean.sigmas[timesteps[0]]
    for step, timestep in enumerate(timesteps):
        at = [torch.full((len(x),), timestep, device=x.device) for x in sample.split(BATCH)]
        parts = zip(hidden.split(BATCH), pooled.split(BATCH), sample.split(BATCH), at)
        guess = torch.cat([clean(*part) for part in parts])
        found.append(round((guess - latents).pow(2).mean().item(), 5))
        sample = advance(clean, sample, guess, timesteps, step)
    return found


def guessed(clean: Clean, asked, shape, timesteps: list[int], learnt: int) -> torch.Tensor:
    """The guess at step number `learnt`, after the steps before it; only that one has a gradient."""
    sigma = clean.sigmas[timesteps[0]]
    sample = torch.randn(shape).to(sigma.device) * sigma
    at = [torch.full((len(sample),), t, device=sigma.device) for t in timesteps]
    with torch.no_grad():
        for i in range(learnt):
            sample = advance(clean, sample, clean(*asked, sample, at[i]), timesteps, i)
    return clean(*asked, sample, at[learnt])


def train(work: pathlib.Path, text, unet, tokenizers, names, words, latents, size: int, device) -> None:
    """All rounds; those that `work` has already are not run again."""
    ways = 8
    text.eval()
    clean, latents, curve = Clean(unet, size, device), latents.to(device), work / "polish.jsonl"
    hidden, pooled = ask(text, tokenizers, names, words, device, ways)
    watched = range(0, len(names), 5)
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
        shown = [x.float() for x in text(token_ids(tokenizers, [f"a {names[i]}" for i in watched], device))]
    for number, r in enumerate(ROUNDS):
        kept = work / f"polish-{number}.pt"
        if kept.exists():
            unet.load_state_dict(torch.load(kept, weights_only=True))
            continue
        optimizer = torch.optim.AdamW(unet.parameters(), lr=r.rate, weight_decay=0, betas=(0.9, 0.98))
        average, started = copy.deepcopy(unet), time.time()
        for step in range(r.steps):
            torch.manual_seed(100_000 * number + step)
            rng = random.Random(100_000 * number + step)
            optimizer.param_groups[0]["lr"] = r.rate * min(1, (step + 1) / 30) * (1 - step / r.steps)
            count = rng.choices((1, 2, 3, 4), r.counts)[0]
            learnt = count - 1 if rng.random() < r.last else rng.randrange(count)
            fourth = round(BATCH * r.fourth)
            parts = [(fourth, trailing(4), 3), (BATCH - fourth, trailing(count), learnt)]
            for rows, timesteps, last in parts:
                if rows:
                    which = torch.randint(0, len(names), (rows,))
                    row = which * ways + torch.randint(0, ways, (rows,))
                    asked, target = (hidden[row].float(), pooled[row]), latents[which]
                    guess = guessed(clean, asked, target.shape, timesteps, last)
                    ((guess - target).pow(2).mean() * (rows / BATCH)).backward()
            torch.nn.utils.clip_grad_norm_(unet.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
            keep = min(AVERAGE, (step + 1) / (step + 10))
            with torch.no_grad():
                for a, p in zip(average.parameters(), unet.parameters()):
                    a.lerp_(p, 1 - keep)
            if (step + 1) % 50 == 0 or step + 1 == r.steps:
                seen = Clean(average, size, device)
                line = {"round": number, "step": step + 1, "seconds": round(time.time() - started)} | {
                    f"of {n}": errors(seen, *shown, latents[list(watched)], n) for n in (1, 2, 4)}
                print("polish", json.dumps(line), flush=True)
                with curve.open("a") as f:
                    f.write(json.dumps(line) + "\n")
        unet.load_state_dict(average.state_dict())
        torch.save(unet.state_dict(), kept)
