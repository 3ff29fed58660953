#!/usr/bin/env python3
"""Writes golden/schedulers.json: what diffusers' EulerAncestralDiscreteScheduler computes for configurations other
than SDXL Turbo's own. Made with torch 2.15.0, diffusers 0.42.1, numpy 2.4.6.

    python3 make_golden.py > golden/schedulers.json

Each case starts from randn(1, 4, 8, 8) of a CPU generator with seed 7, and a "network" that returns 0.5 m + 0.1 for
its input m. Every float32 is printed with nine digits, which name it exactly.
"""
import json
import numpy as np, torch
from diffusers import EulerAncestralDiscreteScheduler

SDXL = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
CASES = [
    (dict(**SDXL, timestep_spacing="trailing", prediction_type="v_prediction"), [1, 2, 4]),
    (dict(**SDXL, timestep_spacing="trailing"), [7, 61]),
    (dict(**SDXL, timestep_spacing="leading", steps_offset=1), [1, 3, 30]),
    (dict(**SDXL, timestep_spacing="linspace"), [1, 2, 7]),
    (dict(timestep_spacing="linspace"), [5]),
    (dict(beta_start=0.001, beta_end=0.02, num_train_timesteps=100, timestep_spacing="trailing"), [3]),
    (dict(trained_betas=[0.1, 0.2, 0.3, 0.25, 0.4], num_train_timesteps=5, timestep_spacing="trailing"), [2, 5]),
]


def floats(tensor):
    return [float("%.9g" % value) for value in np.asarray(tensor, dtype=np.float32).ravel()]


out = []
for config, steps in CASES:
    for n in steps:
        scheduler = EulerAncestralDiscreteScheduler(**config)
        scheduler.set_timesteps(n)
        generator = torch.Generator("cpu").manual_seed(7)
        x = torch.randn(1, 4, 8, 8, generator=generator) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            m = scheduler.scale_model_input(x, t)
            x = scheduler.step(0.5 * m + 0.1, t, x, generator=generator).prev_sample
        out.append({"config": config, "steps": n, "timesteps": floats(scheduler.timesteps), "sigmas": floats(scheduler.sigmas),
                    "init_noise_sigma": floats(scheduler.init_noise_sigma)[0], "first": floats(x)[:8],
                    "norm": float(x.double().norm())})
print("[" + ",\n".join(json.dumps(case) for case in out) + "]")
