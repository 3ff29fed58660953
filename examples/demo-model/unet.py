"""The UNet: SDXL's structure in miniature, trained on the timesteps that 1 to 4 trailing steps visit.

The loss is taken on the predicted clean latents. v-prediction makes the first step (sigma 14.6) well conditioned,
where epsilon-prediction would have to be exact to one part in a hundred; and a caption names one picture, so the
best guess from noise is that picture, not an average.
"""

import pathlib
import random

import torch
from diffusers import UNet2DConditionModel

from captions import caption
from text import POOLED, WIDTHS, TextEncoders, some_captions, token_ids
from training import Run

BATCH = 64
TIMESTEPS = [999, 749, 666, 499, 332, 249]
WAYS = 12
SHARES = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]


def build(size: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=size // 8, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(64, 96, 128), layers_per_block=1, transformer_layers_per_block=[1, 1, 1],
        attention_head_dim=[2, 3, 4], cross_attention_dim=sum(WIDTHS), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=POOLED + 6 * 32, norm_num_groups=16)


class Clean(torch.nn.Module):
    """The clean latents that the networks see in `noisy = clean + sigma noise`."""

    def __init__(self, unet: UNet2DConditionModel, size: int, device):
        super().__init__()
        self.unet = unet
        betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, device=device) ** 2
        kept = torch.cumprod(1 - betas, 0)
        self.sigmas = ((1 - kept) / kept) ** 0.5
        self.sizes = torch.tensor([[size, size, 0, 0, size, size]], device=device).float()

    def forward(self, hidden, pooled, noisy, timestep):
        sigma = self.sigmas[timestep].view(-1, 1, 1, 1)
        with torch.autocast(noisy.device.type, dtype=torch.bfloat16):
            v = self.unet(noisy / (sigma ** 2 + 1).sqrt(), timestep, hidden, added_cond_kwargs={
                "text_embeds": pooled, "time_ids": self.sizes.expand(len(noisy), -1)}).sample
        return v.float() * (-sigma / (sigma ** 2 + 1).sqrt()) + noisy / (sigma ** 2 + 1)

    def loss(self, run: Run, hidden, pooled, clean) -> None:
        """One step of the run on this batch."""
        timestep = torch.tensor(TIMESTEPS)[torch.multinomial(torch.tensor(SHARES), len(clean), replacement=True)]
        noise = torch.randn(clean.shape).to(clean.device)
        timestep = timestep.to(clean.device)
        noisy = clean + self.sigmas[timestep].view(-1, 1, 1, 1) * noise
        each = (self(hidden, pooled, noisy, timestep) - clean).pow(2).mean((1, 2, 3))
        at = {f"t{t}": each[timestep == t].mean().item() for t in TIMESTEPS if (timestep == t).any()}
        run.update(each.mean(), **at)


@torch.no_grad()
def ask(text: TextEncoders, tokenizers, names, words, device, ways: int = WAYS) -> tuple[torch.Tensor, torch.Tensor]:
    """What the text encoders say of some ways to ask for each picture, a row each."""
    text.eval()
    rng, known, hidden, pooled = random.Random(2), set(names), [], []
    for start in range(0, len(names), 64):
        part = range(start, min(start + 64, len(names)))
        texts = [caption(rng, names[i], words[i], known) for i in part for _ in range(ways)]
        with torch.autocast(device.type, dtype=torch.bfloat16):
            h, p = text(token_ids(tokenizers, texts, device))
        hidden.append(h.bfloat16())
        pooled.append(p.float())
    return torch.cat(hidden), torch.cat(pooled)


def train(work: pathlib.Path, text: TextEncoders, tokenizers, names, words, latents, size: int, steps: int, device):
    """The UNet alone, on what the text encoders say of some ways to ask for each picture."""
    torch.manual_seed(2)
    unet = build(size).to(device)
    clean, latents = Clean(unet, size, device), latents.to(device)
    run = Run("unet", work, unet, steps, rate=4e-3)
    if run.step == steps:
        return unet
    hidden, pooled = ask(text, tokenizers, names, words, device)
    for _ in run:
        which = torch.randint(0, len(names), (BATCH,))
        row = which * WAYS + torch.randint(0, WAYS, (BATCH,))
        clean.loss(run, hidden[row].float(), pooled[row], latents[which])
    return unet


def together(work: pathlib.Path, text: TextEncoders, unet, tokenizers, names, words, latents, size: int, steps: int, device):
    """Text encoders and UNet together, a last polish."""
    text.train()
    clean, latents = Clean(unet, size, device), latents.to(device)
    run = Run("together", work, torch.nn.ModuleDict({"text": text, "unet": unet}), steps, rate=4e-4)
    for step in run:
        which, ids = some_captions(step, BATCH, tokenizers, names, words, device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            hidden, pooled = text(ids)
        clean.loss(run, hidden.float(), pooled.float(), latents[which])


def trailing(steps: int) -> list[int]:
    """The timesteps that so many trailing steps visit."""
    return [round(1000 - 1000 * i / steps) - 1 for i in range(steps)]


def advance(clean: Clean, sample, guess, timesteps: list[int], step: int):
    """One step of Euler ancestral."""
    sigma = clean.sigmas[timesteps[step]]
    lower = clean.sigmas[timesteps[step + 1]] if step + 1 < len(timesteps) else torch.zeros_like(sigma)
    up = (lower**2 * (sigma**2 - lower**2) / sigma**2).sqrt()
    down = (lower**2 - up**2).sqrt()
    return sample + (sample - guess) / sigma * (down - sigma) + torch.randn(sample.shape).to(sample.device) * up


@torch.no_grad()
def draw(text: TextEncoders, unet, tokenizers, names, words, size: int, device, steps: int, ways: int) -> torch.Tensor:
    """What `steps` trailing steps of Euler ancestral make of some ways to ask for each picture: [ways, N, 4, h, w]."""
    torch.manual_seed(4 + steps)
    clean, known, rng = Clean(unet, size, device), set(names), random.Random(4 + steps)
    timesteps, drawn = trailing(steps), []
    for _ in range(ways):
        for start in range(0, len(names), 64):
            part = range(start, min(start + 64, len(names)))
            texts = [caption(rng, names[i], words[i], known) for i in part]
            with torch.autocast(device.type, dtype=torch.bfloat16):
                hidden, pooled = text(token_ids(tokenizers, texts, device))
            shape = (len(part), 4, size // 8, size // 8)
            sample = torch.randn(shape).to(device) * clean.sigmas[timesteps[0]]
            for step, timestep in enumerate(timesteps):
                at = torch.full((len(part),), timestep, device=device)
                guess = clean(hidden.float(), pooled.float(), sample, at)
                sample = advance(clean, sample, guess, timesteps, step)
            drawn.append(sample.cpu())
    return torch.cat(drawn).view(ways, len(names), 4, size // 8, size // 8)
