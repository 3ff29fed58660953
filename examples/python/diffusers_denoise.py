"""In the place of `denoise`: diffusers itself, fed with the embeddings of `encode-text`, and with what `encode-image --join`
has put into them.

    encode-text "a red fox" | python3 diffusers_denoise.py MODEL [SEED] | decode-latents | to-png > fox.png

MODEL is a hub id or a folder in diffusers layout. Needs torch, diffusers and transformers. `denoise --dtype f32` gives the
same latents but for the last digits, as long as every frame is of one prompt:

    encode-text --dtype f32 "a red fox" > fox.safetensors
    denoise --dtype f32 --seed 7 < fox.safetensors > latents.safetensors
    python3 diffusers_denoise.py MODEL 7 < fox.safetensors | peek --compare latents.safetensors --tolerance 1e-4 > same
"""

import itertools
import math
import sys

import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

from frames import read_frames, write_frame

EMBEDDINGS = ["prompt_embeds", "pooled_prompt_embeds", "negative_prompt_embeds", "negative_pooled_prompt_embeds"]
# White where diffusers shows the autoencoder the picture; where it shows what is under a mask, some of it is grey.
WHITE, GREY = 1, 0


def encoding(tensors, name, scale):
    """What an autoencoder would have made of the picture, in its own scale: a distribution, or latents."""
    mean = tensors[f"{name}_mean"] / scale
    if f"{name}_logvar" not in tensors:
        return AutoencoderTinyOutput(latents=mean)
    logvar = tensors[f"{name}_logvar"] - 2 * math.log(scale)
    return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat([mean, logvar], dim=1)))


def start_from(pipeline, tensors, height, width):
    """Lets a pipeline find the frame's picture where it would have a picture encoded. Returns its arguments."""

    def encode(picture, **_):
        masked = "masked_image_mean" in tensors and (picture == GREY).any()
        return encoding(tensors, "masked_image" if masked else "image", pipeline.vae.config.scaling_factor)

    pipeline.vae.encode = encode
    picture = torch.full((1, 3, height, width), float(WHITE))
    if "mask" not in tensors:
        return {"image": picture}
    # diffusers brings the mask back to latent pixels, each drawn from the nearest.
    mask = torch.nn.functional.interpolate(tensors["mask"], scale_factor=8)
    return {"image": picture, "mask_image": mask, "height": height, "width": width}


model = sys.argv[1]
first_seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
# Of the checkpoint only the U-Net and the scheduler are used: prompts and pictures are encoded, and latents decoded,
# elsewhere.
parts = {"text_encoder": None, "text_encoder_2": None, "tokenizer": None, "tokenizer_2": None}
from_noise = StableDiffusionXLPipeline.from_pretrained(model, variant="fp16", torch_dtype=torch.float32, **parts)
from_picture = StableDiffusionXLImg2ImgPipeline(**from_noise.components)
under_mask = StableDiffusionXLInpaintPipeline(**from_noise.components)
for pipeline in [from_noise, from_picture, under_mask]:
    pipeline.set_progress_bar_config(disable=True)
size = from_noise.unet.config.sample_size * 8

for index, (metadata, tensors) in enumerate(read_frames()):
    tensors = {name: torch.from_numpy(tensor).float() for name, tensor in tensors.items()}
    settings = {"guidance_scale": float(metadata.get("guidance_scale", 0))}
    if "image_mean" in tensors:
        pipeline = under_mask if "mask" in tensors else from_picture
        strength = float(metadata.get("strength", 1 if "mask" in tensors else 0.5))
        height, width = (8 * side for side in tensors["image_mean"].shape[2:])
        picture = start_from(pipeline, tensors, height, width) | {"strength": strength}
        least_steps = next(steps for steps in itertools.count(1) if int(steps * strength) > 0)
        metadata["strength"] = str(strength)
    else:
        pipeline = from_noise
        height, width = (int(metadata.get(side, size)) for side in ["height", "width"])
        picture = {"height": height, "width": width}
        least_steps = 1
    seed = int(metadata.get("seed", first_seed + index))
    settings["num_inference_steps"] = int(metadata.get("steps", least_steps))
    embeddings = {name: tensors[name] for name in EMBEDDINGS if name in tensors}
    generator = torch.Generator().manual_seed(seed)
    latents = pipeline(**embeddings, **picture, **settings, generator=generator, output_type="latent").images
    metadata |= {"kind": "latents", "producer": "diffusers_denoise.py", "model": model, "seed": str(seed)}
    metadata |= {"steps": str(settings["num_inference_steps"]), "guidance_scale": str(settings["guidance_scale"])}
    metadata |= {"height": str(height), "width": str(width)}
    write_frame({"latents": latents.numpy()}, metadata)
