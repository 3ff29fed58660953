#!/usr/bin/env python3
"""diffusers on PyTorch, as its documentation tells to run it on a CPU.

    diffusers_peer.py CHECKPOINT --stage text|unet|vae|vae-encode|tiny-vae|tiny-vae-encode|picture --dtype f32|bf16 [--size 512]
"""

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

import measure

args = measure.options(["f32", "bf16"], ["text", "unet", "picture", *measure.AUTOENCODER])
torch.set_num_threads(args.threads)
torch.set_grad_enabled(False)
dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
side = args.size // 8


def load(kind, folder):
    return kind.from_pretrained(args.checkpoint, subfolder=folder, variant="fp16", torch_dtype=dtype).eval()


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


def open_text():
    parts = [
        (load(CLIPTextModel, "text_encoder"), CLIPTokenizer.from_pretrained(args.checkpoint, subfolder="tokenizer")),
        (
            load(CLIPTextModelWithProjection, "text_encoder_2"),
            CLIPTokenizer.from_pretrained(args.checkpoint, subfolder="tokenizer_2"),
        ),
    ]

    def step():
        for model, tokenizer in parts:
            ids = tokenizer(measure.PROMPT, padding="max_length", max_length=77, return_tensors="pt").input_ids
            model(ids, output_hidden_states=True)

    return step


def open_unet():
    net = load(UNet2DConditionModel, "unet")
    sample, embeds, pooled = noise(1, 4, side, side), noise(1, 77, 2048), noise(1, 1280)
    added = {
        "text_embeds": pooled,
        "time_ids": torch.tensor([[args.size, args.size, 0, 0, args.size, args.size]], dtype=dtype),
    }
    return lambda: net(sample, 999, embeds, added_cond_kwargs=added, return_dict=False)


def open_autoencoder():
    if args.stage.startswith("tiny-vae"):
        vae = AutoencoderTiny.from_pretrained(args.tiny_vae, variant="fp16", torch_dtype=dtype).eval()
    else:
        vae = load(AutoencoderKL, "vae")
    if args.stage.endswith("-encode"):
        picture = noise(1, 3, args.size, args.size)
        return lambda: vae.encode(picture, return_dict=False)
    latents = noise(1, 4, side, side)
    return lambda: vae.decode(latents, return_dict=False)


def open_picture():
    # The VAE follows the pipeline's type: force_upcast asks for float32 in half precision only.
    pipe = StableDiffusionXLPipeline.from_pretrained(args.checkpoint, variant="fp16", torch_dtype=dtype)
    pipe.set_progress_bar_config(disable=True)

    def step():
        picture = pipe(
            measure.PROMPT, num_inference_steps=1, guidance_scale=0.0, height=args.size, width=args.size
        ).images[0]
        picture.save("/dev/null", format="png")

    return step


stages = {"text": open_text, "unet": open_unet, "picture": open_picture}
measure.report(args, ["diffusers", "torch"], stages.get(args.stage, open_autoencoder))
