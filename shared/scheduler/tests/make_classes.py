#!/usr/bin/env python3
"""Writes ../../../tests/golden/classes.json and classes.safetensors: what diffusers' schedulers compute for keys and
combinations beyond those of schedulers.json, in the same way, but for the size: x has 64 values, and only the last
sample is kept. Made with torch 2.15.0, diffusers 0.42.1, scipy 1.18, numpy 2.4.6.

    python3 make_classes.py

`loop/i/timesteps` (f64), `loop/i/init_noise_sigma`, `loop/i/final`, as in make_golden_schedulers.py. With `begin`, the
run starts at that call of the network, as image to image does: from 0.3 of the first noise with noise added there.
"""
import json, math, pathlib, warnings
import diffusers, torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
# On some CPUs torch's square root is off by a unit in the last place, which 4 steps from a sigma of 4096 make visible.
power = torch.Tensor.__pow__
torch.Tensor.__pow__ = lambda x, y: x.double().sqrt().to(x.dtype) if y == 0.5 else power(x, y)
BASE = dict(beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085, clip_sample=False, interpolation_type="linear",
            num_train_timesteps=1000, prediction_type="epsilon", sample_max_value=1.0, set_alpha_to_one=False,
            skip_prk_steps=True, steps_offset=1, timestep_spacing="trailing", trained_betas=None)
SPACINGS = ["leading", "linspace", "trailing"]
CURVES = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]
CASES = []


def case(name, steps=5, begin=0, eta=None, timesteps=None, sigmas=None, **overrides):
    entry = {"class": name + "Scheduler", "overrides": overrides, "seed": 100 + len(CASES)}
    entry |= {k: v for k, v in dict(steps=steps, begin=begin, eta=eta, timesteps=timesteps, sigmas=sigmas).items() if v}
    if timesteps or sigmas:
        del entry["steps"]
    CASES.append(entry)


E, EA, H, K, KA, L = "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "KDPM2Discrete", "KDPM2AncestralDiscrete", "LMSDiscrete"
M, S, U, D = "DPMSolverMultistep", "DPMSolverSinglestep", "UniPCMultistep", "DEISMultistep"
P, DDIM, DDPM, LCM, TCD = "PNDM", "DDIM", "DDPM", "LCM", "TCD"

for name in [E, EA, H, K, KA, L, M, S, U, D, P, DDIM, DDPM, LCM, TCD]:
    extra = {"eta": 0.4} if name == TCD else {}
    if name not in (S, LCM, TCD):
        for spacing in SPACINGS:
            case(name, 7, timestep_spacing=spacing, **extra)
    case(name, 1, **extra)
    case(name, 5, prediction_type="v_prediction", **extra)
    if name not in (EA, K, KA, P):
        case(name, 5, prediction_type="sample", **extra)
    case(name, 5, beta_schedule="linear", **extra)
    if name != KA:  # not a number: the first sigma's square swallows the others'
        case(name, 5, beta_schedule="squaredcos_cap_v2", **extra)
    case(name, 8, begin=4, **extra)
    if name in (E, H, K, KA, L, M, S, U, D):
        for curve in CURVES:
            case(name, 6, **{curve: True})
        case(name, 6, use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0)
    if name in (E, EA, M, U, DDIM, DDPM, LCM, TCD):
        case(name, 4, rescale_betas_zero_snr=True, prediction_type="v_prediction", **extra)
    if name in (M, S, U, D, DDIM, DDPM, LCM):
        case(name, 5, thresholding=True, sample_max_value=2.5, dynamic_thresholding_ratio=0.9, **extra)
    if name in (E, H, M, S, DDPM, LCM, TCD):
        case(name, timesteps=[981, 700, 411, 20], **extra)
    if name in (H, DDIM, DDPM, LCM):
        case(name, 5, clip_sample=True, clip_sample_range=1.5, **extra)
for name in (E, EA, H, KA, M, DDIM, DDPM):
    case(name, 61)

case(E, 5, interpolation_type="log_linear")
case(E, 5, final_sigmas_type="sigma_min")
case(E, 5, timestep_type="continuous", prediction_type="v_prediction")
case(E, 5, timestep_type="continuous")
case(E, sigmas=[10.0, 5.0, 2.0, 0.5, 0.1])
case(E, sigmas=[14.0, 3.0, 0.0], use_karras_sigmas=True)
case(E, 3, trained_betas=[0.1, 0.2, 0.3, 0.25, 0.4], num_train_timesteps=5)
case(H, 5, beta_schedule="exp")
for name in (M, S):
    for order in (1, 2, 3):
        for algorithm in ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"):
            if algorithm == "sde-dpmsolver" and (name == S or order == 3):
                continue
            for solver in ("midpoint", "heun"):
                for steps in (7, 9):
                    case(name, steps, solver_order=order, algorithm_type=algorithm, solver_type=solver, final_sigmas_type="sigma_min")
        case(name, 7, solver_order=order, lower_order_final=True)
        case(name, 6, solver_order=order, lower_order_final=False, final_sigmas_type="sigma_min")
case(M, 18, solver_order=3)
case(M, 18, solver_order=3, euler_at_final=True, final_sigmas_type="sigma_min")
case(M, 8, solver_order=3, lower_order_final=False, final_sigmas_type="sigma_min")
case(M, 6, use_lu_lambdas=True)
case(M, 6, use_lu_lambdas=True, beta_schedule="squaredcos_cap_v2")
case(M, 6, use_karras_sigmas=True, beta_schedule="squaredcos_cap_v2")
case(M, 6, lambda_min_clipped=-2.0, timestep_spacing="linspace")
case(M, 6, lambda_min_clipped=-2.0)
case(S, 6, lambda_min_clipped=-2.0)
case(M, 6, algorithm_type="deis", solver_type="logrho", final_sigmas_type="sigma_min")
case(M, 6, algorithm_type="dpmsolver", thresholding=True, final_sigmas_type="sigma_min")
case(M, 6, algorithm_type="dpmsolver", prediction_type="v_prediction", final_sigmas_type="sigma_min")
for name in (M, S, U, D):
    case(name, 6, use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
for order in (1, 2, 3, 4):
    case(U, 7, solver_order=order)
    case(U, 7, solver_order=order, solver_type="bh1", final_sigmas_type="sigma_min")
    case(U, 7, solver_order=order, predict_x0=False, final_sigmas_type="sigma_min")
    case(U, 7, solver_order=order, lower_order_final=False, final_sigmas_type="sigma_min")
case(U, 7, disable_corrector=[0, 2])
case(U, 7, use_karras_sigmas=True, final_sigmas_type="sigma_min")
case(U, 7, solver_type="midpoint", predict_x0=False, prediction_type="v_prediction", final_sigmas_type="sigma_min")
for order in (1, 3):
    case(D, 7, solver_order=order)
    case(D, 16, solver_order=order, algorithm_type="dpmsolver++", solver_type="heun")
case(D, 8, solver_order=3, lower_order_final=False)
for spacing in SPACINGS:
    case(P, 9, skip_prk_steps=False, timestep_spacing=spacing)
case(P, 2)
case(P, 9, set_alpha_to_one=True, prediction_type="v_prediction")
for eta in (0.5, 1.0):
    case(DDIM, 6, eta=eta, set_alpha_to_one=True)
    case(TCD, 6, eta=eta)
case(TCD, 4)
case(TCD, 4, eta=0.3, original_inference_steps=20)
for variance in ("fixed_small_log", "fixed_large"):
    case(DDPM, 6, variance_type=variance)
for schedule in ("sigmoid", "laplace"):
    case(DDPM, 6, beta_schedule=schedule)
case(LCM, 4, timestep_scaling=3.0, original_inference_steps=40)

case(LCM, 4, shifted_timestep=250, original_inference_steps=4)
case(LCM, 2, shifted_timestep=500, original_inference_steps=4)


class Shifted(diffusers.LCMScheduler):
    """As the card of ChenDY/NitroFusion has it: the network is told of t * shift / 1000, and so is a step's beginning."""

    def shift(self, shift):
        self.origin = self.timesteps.clone()
        self.timesteps = self.shifted = (self.timesteps * shift / self.config.num_train_timesteps).long()

    def step(self, output, timestep, sample, generator=None):
        self.timesteps = self.origin
        result = super().step(output, timestep, sample, generator)
        self.timesteps = self.shifted
        return result


kept = {}
for i, entry in enumerate(CASES):
    shift = entry["overrides"].get("shifted_timestep")
    s = (Shifted if shift else getattr(diffusers, entry["class"])).from_config(BASE | entry["overrides"])
    how = {k: entry[k] for k in ("timesteps", "sigmas") if k in entry}
    s.set_timesteps(**how) if how else s.set_timesteps(entry["steps"])
    if shift:
        s.shift(shift)
    g = torch.Generator("cpu").manual_seed(entry["seed"])
    noise = torch.randn(1, 4, 4, 4, generator=g)
    begin = entry.get("begin", 0)
    timesteps = s.timesteps[begin:]
    if hasattr(s, "set_begin_index"):
        s.set_begin_index(begin)
    x = s.add_noise(0.3 * noise, noise.flip(-1), timesteps[:1]) if begin else noise * s.init_noise_sigma
    kept[f"loop/{i}/timesteps"] = s.timesteps.double().clone()
    kept[f"loop/{i}/init_noise_sigma"] = torch.tensor(float(s.init_noise_sigma))
    import inspect
    takes = inspect.signature(s.step).parameters
    args = {"eta": entry.get("eta", 0.0)} if "eta" in takes else {}
    args |= {"generator": g} if "generator" in takes else {}
    for t in timesteps:
        out = 0.5 * s.scale_model_input(x, t) + 0.1 * noise + 0.05 * math.sin(float(t))
        x = s.step(out, t, x, **args).prev_sample
    assert x.isfinite().all(), entry
    kept[f"loop/{i}/final"] = x

stem = pathlib.Path(__file__).resolve().parents[3] / "tests/golden/classes"
save_file({k: v.contiguous() for k, v in kept.items()}, f"{stem}.safetensors")
stem.with_suffix(".json").write_text('{"cases": [\n' + ",\n".join(map(json.dumps, CASES)) + "\n]}\n")
print(len(CASES), "cases")
