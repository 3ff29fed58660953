"""The checkpoint in the published layout, in float16."""

import json
import pathlib

import torch
from diffusers import EulerAncestralDiscreteScheduler
from safetensors.torch import save_file

from autoencoder import SCALING_FACTOR, signed

CLASSES = {
    "scheduler": ["diffusers", "EulerAncestralDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def pictures(out: pathlib.Path, vae, pictures: torch.Tensor, names: list[str]) -> None:
    """What check.py compares with: the training pictures as the autoencoder sees them, a frame for decode-latents."""
    vae = vae.cpu().float().eval()
    with torch.no_grad():
        latents = torch.cat([vae.encode(signed(p)).latent_dist.mean * SCALING_FACTOR for p in pictures.split(32)])
    save_file({"latents": latents.half().contiguous()}, out / "pictures.safetensors", metadata={"kind": "latents"})
    (out / "prompts.txt").write_text("\n".join(names) + "\n")


def checkpoint(out: pathlib.Path, text, unet, vae) -> None:
    parts = {"text_encoder": text.text_encoder, "text_encoder_2": text.text_encoder_2, "unet": unet, "vae": vae}
    for part, module in parts.items():
        module.cpu().half().save_pretrained(out / part, variant="fp16")
    EulerAncestralDiscreteScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        prediction_type="v_prediction", timestep_spacing="trailing", steps_offset=1).save_pretrained(out / "scheduler")
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True} | CLASSES
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{size / 1e6:.1f} MB in {out}")
