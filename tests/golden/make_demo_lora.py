"""Expected values for `--model demo` with a LoRA: what diffusers draws with it, in float32 on a CPU.

    python3 tests/golden/make_demo_lora.py shared/demo/files examples/line-drawing.safetensors tests/golden/demo_lora

Writes demo_lora.json, and in demo_lora.safetensors `i/latents` for each of its cases. Needs torch, diffusers,
transformers and peft.
"""

import json
import sys

import diffusers
import peft
import torch
import transformers
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file

CASES = [("a fox", 1, 1.0), ("a sailboat", 4, 1.0), ("a teapot", 1, 0.5), ("a rocket", 1, -0.5)]

checkpoint, lora, stem = sys.argv[1:]
torch.set_grad_enabled(False)
pipe = StableDiffusionXLPipeline.from_pretrained(checkpoint, variant="fp16", torch_dtype=torch.float32, add_watermarker=False)
pipe.load_lora_weights(lora, adapter_name="lora")
pipe.set_progress_bar_config(disable=True)
size = pipe.unet.config.sample_size * pipe.vae_scale_factor
kept, cases = {}, []
for i, (prompt, steps, scale) in enumerate(CASES):
    pipe.set_adapters("lora", scale)
    kept[f"{i}/latents"] = pipe(prompt, num_inference_steps=steps, guidance_scale=0.0, width=size, height=size,
                                generator=torch.Generator("cpu").manual_seed(i + 1), output_type="latent").images.clone()
    cases.append({"prompt": prompt, "steps": steps, "scale": scale, "seed": i + 1})
save_file(kept, stem + ".safetensors")
with open(stem + ".json", "w") as file:
    json.dump({"made_with": {m.__name__: m.__version__ for m in (torch, diffusers, transformers, peft)}, "cases": cases}, file, indent=1)
    file.write("\n")
