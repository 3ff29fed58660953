"""An AutoencoderKL of our own whose latents are SDXL's.

The encoder learns TAESDXL's latents of the pictures. The decoder learns to show the picture for these latents, for
noisy ones, and for what the UNet draws in one and four steps, so that it puts right what the UNet leaves soft.
"""

import pathlib

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file

from training import Run

BATCH = 16
SCALING_FACTOR = 0.13025  # SDXL's


def build(size: int) -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96), layers_per_block=1, latent_channels=4, norm_num_groups=8,
        sample_size=size, scaling_factor=SCALING_FACTOR, force_upcast=False)


def load_taesdxl(folder: pathlib.Path) -> AutoencoderTiny:
    """TAESDXL from its published two files, whose decoder counts its clamp as layer 0."""
    state = {f"encoder.layers.{k}": v.float() for k, v in load_file(folder / "taesdxl_encoder.safetensors").items()}
    for key, value in load_file(folder / "taesdxl_decoder.safetensors").items():
        layer, rest = key.split(".", 1)
        state[f"decoder.layers.{int(layer) - 1}.{rest}"] = value.float()
    vae = AutoencoderTiny().eval()
    vae.load_state_dict(state)
    return vae


def signed(pictures: torch.Tensor) -> torch.Tensor:
    """Bytes as numbers from -1 to 1."""
    return pictures.float() / 127.5 - 1


@torch.no_grad()
def target_latents(work: pathlib.Path, taesdxl: pathlib.Path, pictures: torch.Tensor, device) -> torch.Tensor:
    """TAESDXL's latents of the pictures, [N, 4, size / 8, size / 8], in UNet scale."""
    kept = work / f"latents-{pictures.shape[-1]}.pt"
    if not kept.exists():
        vae = load_taesdxl(taesdxl).to(device)
        torch.save(torch.cat([vae.encode(signed(p).to(device)).latents.cpu() for p in pictures.split(32)]), kept)
    return torch.load(kept, weights_only=True)


def train(work: pathlib.Path, pictures, latents, drawn, size: int, steps: int, device) -> AutoencoderKL:
    torch.manual_seed(3)
    vae = build(size).to(device)
    run = Run("vae", work, vae, steps, rate=3e-3)
    for _ in run:
        which = torch.randint(0, len(pictures), (BATCH,))
        picture, clean = signed(pictures[which]).to(device), latents[which].to(device)
        shown_from = clean + 0.2 * (torch.rand(BATCH, 1, 1, 1) * torch.randn(clean.shape)).to(device)
        half = BATCH // 2
        shown_from[:half] = drawn[torch.randint(0, len(drawn), (half,)), which[:half]].to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            seen = vae.encode(picture).latent_dist.parameters
            shown = vae.decode(shown_from / SCALING_FACTOR).sample
        mean, logvar = seen.float().chunk(2, 1)
        encoded = (mean * SCALING_FACTOR - clean).pow(2).mean()
        certain = (logvar + 10).pow(2).mean()
        difference = shown.float() - picture
        decoded = difference.pow(2).mean() + 0.1 * difference.abs().mean()
        run.update(decoded + 0.2 * encoded + 1e-4 * certain, encoded=encoded.item(), decoded=difference.pow(2).mean().item())
    return vae
