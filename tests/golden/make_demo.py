"""Expected values for `--model demo`: what diffusers draws from the same files, in float32 on a CPU.

    python3 tests/golden/make_demo.py shared/demo/files tests/golden/demo

Writes demo.safetensors and demo.json in the layout of the other golden files, so `examples/golden-pictures.py` reads
them as well. Needs torch, diffusers and transformers.
"""

import json
import sys

import diffusers
import numpy as np
import torch
import transformers
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

PROMPTS = [("a fox", 1), ("a red fox", 1), ("fox", 4), ("a picture of a rocket", 2), ("a cute octopus", 1),
           ("a hot beverage", 3), ("a guitar", 1), ("an entirely unknown zyxgloop", 1)]

checkpoint, stem = sys.argv[1:]
torch.set_grad_enabled(False)
pipe = StableDiffusionXLPipeline.from_pretrained(checkpoint, variant="fp16", torch_dtype=torch.float32, add_watermarker=False)
pipe.set_progress_bar_config(disable=True)
size = pipe.unet.config.sample_size * pipe.vae_scale_factor
kept, cases = {}, []
for i, (prompt, steps) in enumerate(PROMPTS):
    seed = i + 1
    cases.append({"prompt": prompt, "num_inference_steps": steps, "seed": seed, "width": size, "height": size})
    embeds, _, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
    latents = pipe(prompt, num_inference_steps=steps, guidance_scale=0.0, width=size, height=size,
                   generator=torch.Generator("cpu").manual_seed(seed), output_type="latent").images
    pixels = pipe.image_processor.postprocess(
        pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample, output_type="pil")
    kept |= {f"image/{i}/prompt_embeds": embeds, f"image/{i}/pooled_prompt_embeds": pooled, f"image/{i}/latents": latents,
             f"image/{i}/pixels": torch.from_numpy(np.stack([np.asarray(p) for p in pixels]))}
save_file({k: v.contiguous() for k, v in kept.items()}, stem + ".safetensors")
with open(stem + ".json", "w") as file:
    made_with = {m.__name__: m.__version__ for m in (torch, diffusers, transformers, np)}
    json.dump({"made_with": made_with, "cases": {"image": cases}}, file, indent=1)
    file.write("\n")
