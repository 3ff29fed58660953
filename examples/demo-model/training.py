"""What the stages share: optimizers, rates, reports, and work that a killed run has done already."""

import json
import pathlib
import time

import torch

from muon import Muon


class Run:
    """A training run of `steps` steps: warm-up, then a rate that falls to zero along a line.

    Matrices and convolutions are Muon's, all else AdamW's. Every `SAVE` seconds the state is kept beside the curve,
    so that a killed run goes on where it was.
    """

    SAVE = 120

    def __init__(self, name: str, work: pathlib.Path, modules: torch.nn.Module, steps: int, rate: float):
        self.name, self.modules, self.steps = name, modules, steps
        self.kept, self.curve = work / f"{name}.state.pt", work / f"{name}.jsonl"
        first_or_last = ("embedding", "conv_in", "conv_out", "head")
        matrices, rest = [], []
        for key, p in modules.named_parameters():
            (matrices if p.ndim >= 2 and not any(w in key for w in first_or_last) else rest).append(p)
        self.optimizers = [Muon(matrices, lr=rate), torch.optim.AdamW(rest, lr=3e-3, weight_decay=0, betas=(0.9, 0.99))]
        self.rates = [rate, 3e-3]
        self.step, self.seconds, self.sums, self.counts = 0, 0.0, {}, {}
        if self.kept.exists():
            state = torch.load(self.kept, weights_only=True)
            modules.load_state_dict(state["modules"])
            for o, s in zip(self.optimizers, state["optimizers"]):
                o.load_state_dict(s)
            self.step, self.seconds = state["step"], state["seconds"]
        self.started = self.saved = time.time()

    def __iter__(self):
        while self.step < self.steps:
            torch.manual_seed(self.step)  # the same draws for a run that was cut
            yield self.step

    def update(self, loss: torch.Tensor, **shown: float) -> None:
        """One step down `loss`; `shown` goes into the curve, averaged over 50 steps."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        factor = min(1, (self.step + 1) / 100) * (1 - self.step / self.steps)
        for o, rate in zip(self.optimizers, self.rates):
            for group in o.param_groups:
                group["lr"] = rate * factor
            o.step()
            o.zero_grad()
        self.step += 1
        for key, value in shown.items():
            self.sums[key] = self.sums.get(key, 0) + value
            self.counts[key] = self.counts.get(key, 0) + 1
        if self.step % 50 == 0 or self.step == self.steps:
            seconds = self.seconds + time.time() - self.started
            line = {"step": self.step, "seconds": round(seconds)} | {
                k: round(v / self.counts[k], 5) for k, v in sorted(self.sums.items())}
            print(self.name, json.dumps(line), flush=True)
            with self.curve.open("a") as f:
                f.write(json.dumps(line) + "\n")
            self.sums, self.counts = {}, {}
        if time.time() - self.saved > self.SAVE or self.step == self.steps:
            self.saved = time.time()
            part = self.kept.with_suffix(".part")
            torch.save({"modules": self.modules.state_dict(), "optimizers": [o.state_dict() for o in self.optimizers],
                        "step": self.step, "seconds": self.seconds + time.time() - self.started}, part)
            part.rename(self.kept)
