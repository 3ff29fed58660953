#!/usr/bin/env python3
"""Makes line-drawing.safetensors, a LoRA that has the demo checkpoint draw the outlines of its pictures.

    python3 style.py WORK OUT.safetensors

What it learns from is all here: the latents of the training pictures, which the demo's decoder shows, and whose
outlines the demo's encoder reads again; and captions, which say nothing of lines, so that the style needs no word of
its own. It is a LoRA of the UNet's convolutions, trained as the UNet was (unet.py). WORK keeps what the frozen
networks say. Needs what requirements.txt has, peft included.
"""

import argparse
import pathlib
import random
import time

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from autoencoder import SCALING_FACTOR
from captions import caption
from text import LENGTH
from unet import Clean

HERE = pathlib.Path(__file__).parent
CHECKPOINT = HERE / "../../shared/demo/files"
WAYS = 4
# Those of one step and of four; the first counts most, since the later ones hardly change what is drawn.
TIMESTEPS, SHARES = [999, 749, 499, 249], [0.6, 0.1, 0.1, 0.2]


def part(kind, folder: str):
    return kind.from_pretrained(CHECKPOINT, subfolder=folder, variant="fp16", torch_dtype=torch.float32).eval()


def kept(path: pathlib.Path, make):
    """What `make` gives, or gave in an earlier run."""
    if not path.exists():
        torch.save(make(), path)
    return torch.load(path, weights_only=True)


def blurred(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    radius = int(3 * sigma + 0.5)
    row = torch.exp(-(torch.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    row = (row / row.sum()).repeat(pictures.shape[1], 1, 1, 1)
    pictures = torch.nn.functional.pad(pictures, (radius,) * 4, mode="replicate")
    for kernel in (row, row.transpose(2, 3)):
        pictures = torch.nn.functional.conv2d(pictures, kernel, groups=pictures.shape[1])
    return pictures


def outlines(pictures: torch.Tensor) -> torch.Tensor:
    """Ink on paper: black where colours change, white elsewhere. [N, 3, H, W] from 0 to 1."""
    n, c, h, w = pictures.shape
    across = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1.0]]) / 8
    smooth = torch.nn.functional.pad(blurred(pictures, 0.8), (1,) * 4, mode="replicate")
    change = torch.nn.functional.conv2d(smooth.view(n * c, 1, h + 2, w + 2), torch.stack([across, across.T])[:, None])
    change = change.pow(2).sum(1).view(n, c, h, w).sum(1, keepdim=True).sqrt()
    return (1 - ((change - 0.03) / 0.12).clamp(0, 1)).expand(n, c, h, w)


@torch.no_grad()
def drawings() -> torch.Tensor:
    """The latents of the outlines of all training pictures, in UNet scale."""
    vae = part(AutoencoderKL, "vae")
    found = []
    for latents in load_file(HERE / "pictures.safetensors")["latents"].float().split(32):
        pictures = ((vae.decode(latents / SCALING_FACTOR).sample + 1) / 2).clamp(0, 1)
        found.append(vae.encode(outlines(pictures) * 2 - 1).latent_dist.mean * SCALING_FACTOR)
    return torch.cat(found)


@torch.no_grad()
def asked(names: list[str]) -> list[torch.Tensor]:
    """What the text encoders say of some ways to ask for each picture, a row each: "a NAME", then captions."""
    tokenizers = [CLIPTokenizer.from_pretrained(CHECKPOINT, subfolder=folder) for folder in ("tokenizer", "tokenizer_2")]
    one, two = part(CLIPTextModel, "text_encoder"), part(CLIPTextModelWithProjection, "text_encoder_2")
    rng, known, hidden, pooled = random.Random(2), set(names), [], []
    for start in range(0, len(names), 64):
        texts = [f"a {name}" if way == 0 else caption(rng, name, [], known)
                 for name in names[start:start + 64] for way in range(WAYS)]
        ids = [t(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids
               for t in tokenizers]
        first, second = (m(i, output_hidden_states=True) for m, i in zip((one, two), ids))
        hidden.append(torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1).bfloat16())
        pooled.append(second.text_embeds)
    return [torch.cat(hidden), torch.cat(pooled)]


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("work", type=pathlib.Path)
    flags.add_argument("out", type=pathlib.Path)
    flags.add_argument("--steps", type=int, default=1000)
    flags.add_argument("--rank", type=int, default=4)
    flags.add_argument("--batch", type=int, default=16)
    flags.add_argument("--rate", type=float, default=1e-2)
    flags = flags.parse_args()
    names = (HERE / "prompts.txt").read_text().splitlines()
    flags.work.mkdir(parents=True, exist_ok=True)
    target = kept(flags.work / "drawings.pt", drawings)
    hidden, pooled = kept(flags.work / "asked.pt", lambda: asked(names))

    torch.manual_seed(0)
    unet = part(UNet2DConditionModel, "unet").requires_grad_(False)
    convolutions = [name for name, module in unet.named_modules() if isinstance(module, torch.nn.Conv2d)]
    unet.add_adapter(LoraConfig(r=flags.rank, lora_alpha=flags.rank, target_modules=convolutions))
    learnt = [p for p in unet.parameters() if p.requires_grad]
    clean = Clean(unet, 8 * unet.config.sample_size, torch.device("cpu"))
    optimizer = torch.optim.AdamW(learnt, lr=flags.rate, weight_decay=0, betas=(0.9, 0.98))
    started, watched = time.process_time(), torch.arange(0, len(names), 16)
    noise = torch.randn(len(watched), *target.shape[1:]) * clean.sigmas[999]
    for step in range(flags.steps):
        optimizer.param_groups[0]["lr"] = flags.rate * min(1, (step + 1) / 20) * (1 - step / flags.steps)
        which = torch.randint(0, len(names), (flags.batch,))
        row = which * WAYS + torch.randint(0, WAYS, (flags.batch,))
        at = torch.tensor(TIMESTEPS)[torch.multinomial(torch.tensor(SHARES), flags.batch, replacement=True)]
        noisy = target[which] + clean.sigmas[at].view(-1, 1, 1, 1) * torch.randn(flags.batch, *target.shape[1:])
        (clean(hidden[row].float(), pooled[row], noisy, at) - target[which]).pow(2).mean().backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 100 == 0 or step + 1 == flags.steps:
            with torch.no_grad():
                first = torch.full((len(watched),), 999)
                guess = clean(hidden[watched * WAYS].float(), pooled[watched * WAYS], noise, first)
            error = (guess - target[watched]).pow(2).mean()
            print(f"step {step + 1}: error {error:.4f}, {time.process_time() - started:.0f} CPU seconds", flush=True)

    layers = {name: value.half() for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionXLPipeline.save_lora_weights(flags.out.parent, unet_lora_layers=layers, weight_name=flags.out.name)
    print(f"{flags.out}: {flags.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
