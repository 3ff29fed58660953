#!/usr/bin/env python3
"""UNets with fewer blocks than SDXL's, as diffusers runs them: those of SSD-1B and of Segmind-Vega.

    python3 make_fewer_blocks.py TINY_CONFIGS.json OUT_STEM

Which blocks there are is as published; channels, heads and embeddings are the tiny checkpoint's, and so is the rule by
which a weight follows from its name (`weight()`, the same as turbo-testkit's). OUT_STEM.json gets each network's
configuration and shapes, OUT_STEM.safetensors `prompt_embeds` and `pooled_prompt_embeds`, made by arithmetic, and per
network `NAME/latents`: a run of two steps by diffusers' pipeline. Needs torch, diffusers, transformers, safetensors.
"""
import json, pathlib, sys
import diffusers, numpy as np, torch, transformers
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file

configs, stem = sys.argv[1:]
torch.set_grad_enabled(False)
SIZE, STEPS, SEED = 64, 2, 5
# As their unet/config.json have it.
NETWORKS = {
    "ssd-1b": {"mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [2, 2], [4, 4]],
               "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1]},
    "vega": {"mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, 1, 2]},
}
POOL = 1 << 24


def pool(seed):
    """POOL numbers, uniform on [-1, 1): splitmix64."""
    with np.errstate(over="ignore"):
        x = np.arange(POOL, dtype=np.uint64) + np.uint64(seed * POOL) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)


def place(text):
    """FNV-1a, 64 bits."""
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h % POOL


def weight(numbers, name, shape):
    """The tensor of that name, in float16."""
    start, count = place(f"{name}#0"), int(np.prod(shape))
    assert count <= POOL
    v = numbers[start:start + count]
    if len(v) < count:
        at = place(f"{name}#1")
        v = np.concatenate([v, numbers[at:at + count - len(v)]])
    if len(shape) > 1:
        v = v * np.float32(np.sqrt(3.0 / np.prod(shape[1:])))
    elif "norm" in name and name.endswith("weight"):
        v = v * np.float32(0.2) + np.float32(1)
    else:
        v = v * np.float32(0.1)
    return torch.from_numpy(v.astype(np.float16).reshape(shape))


def values(*shape):
    n = int(np.prod(shape))
    return ((torch.arange(n) * 31 % 61) / 30.0 - 1.0).reshape(shape)


tiny, numbers = json.loads(pathlib.Path(configs).read_text()), pool(1)
width = tiny["unet"]["cross_attention_dim"]
pooled = tiny["unet"]["projection_class_embeddings_input_dim"] - 6 * tiny["unet"]["addition_time_embed_dim"]
kept = {"prompt_embeds": values(1, 7, width), "pooled_prompt_embeds": values(1, pooled)}
described = {}
for name, own in NETWORKS.items():
    config = tiny["unet"] | own
    unet = UNet2DConditionModel.from_config(config)
    shapes = {key: list(tensor.shape) for key, tensor in unet.state_dict().items()}
    unet.load_state_dict({key: weight(numbers, f"unet/{key}", shape).float() for key, shape in shapes.items()})
    pipe = StableDiffusionXLPipeline(
        vae=diffusers.AutoencoderKL.from_config(tiny["vae"]), text_encoder=None, text_encoder_2=None, tokenizer=None,
        tokenizer_2=None, unet=unet, scheduler=EulerAncestralDiscreteScheduler.from_config(tiny["scheduler"]), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    kept[f"{name}/latents"] = pipe(
        prompt_embeds=kept["prompt_embeds"], pooled_prompt_embeds=kept["pooled_prompt_embeds"], width=SIZE, height=SIZE,
        num_inference_steps=STEPS, guidance_scale=0.0, output_type="latent",
        generator=torch.Generator("cpu").manual_seed(SEED)).images.clone()
    described[name] = {"config": config, "shapes": shapes}
    print(name, len(shapes), "tensors,", sum(p.numel() for p in unet.parameters()), "numbers,", float(kept[f"{name}/latents"].std()))
save_file({k: v.contiguous() for k, v in kept.items()}, stem + ".safetensors")
made_with = {m.__name__: m.__version__ for m in (torch, diffusers, transformers, np)}
with open(stem + ".json", "w") as file:
    json.dump({"made_with": made_with, "size": SIZE, "steps": STEPS, "seed": SEED, "networks": described}, file, separators=(",", ":"))
    file.write("\n")
