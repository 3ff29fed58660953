"""Expected values for `--model demo` with the LoRA and the textual inversion among the examples: what diffusers draws
with them, in float32 on a CPU.

    python3 tests/golden/make_demo_adapters.py shared/demo/files examples tests/golden/demo_adapters

Writes demo_adapters.json, and in demo_adapters.safetensors `i/latents` for each of its cases. Needs torch, diffusers,
transformers, peft and safetensors.
"""

import json
import pathlib
import sys

import diffusers
import peft
import torch
import transformers
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

LORA, INVERSION, TOKEN = "line-drawing.safetensors", "blue-fox.safetensors", "<blue-fox>"
# Prompt, steps, the LoRA's scale.
CASES = [("a fox", 1, 1.0), ("a sailboat", 4, 1.0), ("a teapot", 1, 0.5), ("a rocket", 1, -0.5),
         ("a <blue-fox>", 1, 0.0), ("a picture of a <blue-fox>", 1, 0.7)]

checkpoint, folder, stem = sys.argv[1:]
torch.set_grad_enabled(False)
pipe = StableDiffusionXLPipeline.from_pretrained(checkpoint, variant="fp16", torch_dtype=torch.float32, add_watermarker=False)
pipe.load_lora_weights(folder, weight_name=LORA, adapter_name="lora")
vectors = load_file(pathlib.Path(folder) / INVERSION)
for name, encoder, tokenizer in (("clip_l", pipe.text_encoder, pipe.tokenizer), ("clip_g", pipe.text_encoder_2, pipe.tokenizer_2)):
    pipe.load_textual_inversion(vectors[name].float(), token=TOKEN, text_encoder=encoder, tokenizer=tokenizer)
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
    made_with = {m.__name__: m.__version__ for m in (torch, diffusers, transformers, peft)}
    json.dump({"made_with": made_with, "lora": LORA, "inversion": f"{INVERSION}={TOKEN}", "cases": cases}, file, indent=1)
    file.write("\n")
