"""In the place of `denoise`: diffusers itself, fed with the embeddings of `encode-text`.

    encode-text "a red fox" | python3 diffusers_denoise.py MODEL [SEED] | decode-latents | to-png > fox.png

MODEL is a hub id or a folder in diffusers layout. Needs torch, diffusers and transformers. `denoise --dtype f32` gives the
same latents but for the last digits, as long as every frame is of one prompt:

    encode-text --dtype f32 "a red fox" > fox.safetensors
    denoise --dtype f32 --seed 7 < fox.safetensors > latents.safetensors
    python3 diffusers_denoise.py MODEL 7 < fox.safetensors | peek --compare latents.safetensors --tolerance 1e-4 > same
"""

import sys

import torch
from diffusers import StableDiffusionXLPipeline

from frames import read_frames, write_frame

EMBEDDINGS = ["prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds"]

model = sys.argv[1]
first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
# Of the checkpoint only the U-Net and the scheduler are used: prompts are encoded, and latents decoded, elsewhere.
parts = {"text_encoder": None, "text_encoder_2": None, "tokenizer": None, "tokenizer_2": None}
pipeline = StableDiffusionXLPipeline.from_pretrained(model, variant="fp16", torch_dtype=torch.float32, **parts)
pipeline.set_progress_bar_config(disable=True)
size = pipeline.unet.config.sample_size * 8

for index, (metadata, tensors) in enumerate(read_frames()):
    seed = int(metadata.get("seed", first_seed + index))
    settings = {
        "num_inference_steps": int(metadata.get("steps", 1)),
        "guidance_scale": float(metadata.get("guidance_scale", 0)),
        "height": int(metadata.get("height", size)),
        "width": int(metadata.get("width", size)),
    }
    embeddings = {name: torch.from_numpy(tensors[name]).float() for name in EMBEDDINGS if name in tensors}
    generator = torch.Generator().manual_seed(seed)
    latents = pipeline(**embeddings, **settings, generator=generator, output_type="latent").images
    metadata |= {"kind": "latents", "producer": "diffusers_denoise.py", "model": model, "seed": str(seed)}
    metadata |= {"steps": str(settings["num_inference_steps"])}
    metadata |= {name: str(settings[name]) for name in ["guidance_scale", "height", "width"]}
    write_frame({"latents": latents.numpy()}, metadata)
