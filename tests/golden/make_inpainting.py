#!/usr/bin/env python3
"""Inpainting with a network of nine channels, as diffusers runs it.

    python3 make_inpainting.py CHECKPOINT_DIR OUT_STEM

The network is the tiny checkpoint's with five more channels in, whose weights are `extra()`. The text's embeddings are
made by arithmetic. Kept per case `i`: `i/mean`, `i/logvar`, `i/masked_mean`, `i/masked_logvar` (the distributions of
the picture and of the picture under the mask), `i/mask` (u8, full size, 0 or 1) and `i/latents` (the result); and once
`prompt_embeds` and `pooled_prompt_embeds`. Needs torch, diffusers, transformers, pillow, safetensors.
"""
import json, pathlib, sys
import diffusers, numpy as np, torch, transformers
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, StableDiffusionXLInpaintPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file

source, stem = sys.argv[1:]
torch.set_grad_enabled(False)
CASES = [{"width": 64, "height": 64, "strength": 1.0, "steps": 2, "seed": 1},
         {"width": 72, "height": 56, "strength": 0.75, "steps": 4, "seed": 2}]


def extra(outputs):
    """[outputs, 5, 3, 3], exact in float16."""
    return ((torch.arange(outputs * 45) * 7 % 17 - 8) / 64.0).reshape(outputs, 5, 3, 3)


def values(*shape):
    n = int(np.prod(shape))
    return ((torch.arange(n) * 31 % 61) / 30.0 - 1.0).reshape(shape)


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.where((x // 9 + y // 7) % 2, 220, 40)], -1).astype(np.uint8)


def mask_picture(width, height):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4:, width // 3:width * 3 // 4] = 255
    return mask


unet = UNet2DConditionModel.from_pretrained(source, subfolder="unet", variant="fp16", torch_dtype=torch.float32)
narrow = unet.conv_in
wide = torch.nn.Conv2d(9, narrow.out_channels, 3, padding=1)
wide.weight.copy_(torch.cat([narrow.weight, extra(narrow.out_channels)], 1)); wide.bias.copy_(narrow.bias)
unet.conv_in = wide; unet.register_to_config(in_channels=9)
vae = AutoencoderKL.from_pretrained(source, subfolder="vae", variant="fp16", torch_dtype=torch.float32)
pipe = StableDiffusionXLInpaintPipeline(vae=vae, text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None, unet=unet,
                                        scheduler=EulerAncestralDiscreteScheduler.from_pretrained(source, subfolder="scheduler"), add_watermarker=False)
pipe.set_progress_bar_config(disable=True)
# Without a text encoder the pipeline does not know the width of the pooled vector.
pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
kept = {"prompt_embeds": values(1, 7, unet.config.cross_attention_dim), "pooled_prompt_embeds": values(1, pooled)}
for i, case in enumerate(CASES):
    size = {k: case[k] for k in ("width", "height")}
    image, mask = (Image.fromarray(f(**size)) for f in (picture, mask_picture))
    prepared, binary = pipe.image_processor.preprocess(image, **size), pipe.mask_processor.preprocess(mask, **size)
    for name, x in (("", prepared), ("masked_", prepared * (binary < 0.5))):
        d = vae.encode(x).latent_dist
        kept[f"{i}/{name}mean"], kept[f"{i}/{name}logvar"] = d.mean.clone(), d.logvar.clone()
    kept[f"{i}/mask"] = binary.to(torch.uint8)
    kept[f"{i}/latents"] = pipe(prompt_embeds=kept["prompt_embeds"], pooled_prompt_embeds=kept["pooled_prompt_embeds"], image=image, mask_image=mask,
                                **size, strength=case["strength"], num_inference_steps=case["steps"], guidance_scale=0.0, output_type="latent",
                                generator=torch.Generator("cpu").manual_seed(case["seed"])).images.clone()
    print(case, float(kept[f"{i}/latents"].std()), flush=True)
save_file({k: v.contiguous() for k, v in kept.items()}, stem + ".safetensors")
pathlib.Path(stem + ".json").write_text(json.dumps({"made_with": {m.__name__: m.__version__ for m in (torch, diffusers, transformers, np)}, "cases": CASES}, indent=1) + "\n")
