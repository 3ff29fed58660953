#!/usr/bin/env python3
"""Makes blue-fox.safetensors, a textual inversion: a word for a picture that the demo checkpoint does not know.

    python3 word.py OUT.safetensors [--picture fox]

The picture is one of the demo's own with red and blue exchanged. All networks are frozen; what is learnt are the
vectors that stand for the word in both text encoders, so that the UNet draws the picture in one step. Needs what
requirements.txt has.
"""

import argparse
import pathlib
import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from autoencoder import SCALING_FACTOR
from style import HERE, CHECKPOINT, part
from text import LENGTH
from unet import Clean

# The word stands where a name stands, behind these.
BEFORE = ["a ", "the ", "a picture of a ", ""]


def target(name: str) -> torch.Tensor:
    """The latents of the picture `name` with red and blue exchanged, in UNet scale."""
    vae, names = part(AutoencoderKL, "vae"), (HERE / "prompts.txt").read_text().splitlines()
    latents = load_file(HERE / "pictures.safetensors")["latents"].float()[names.index(name)][None]
    with torch.no_grad():
        picture = vae.decode(latents / SCALING_FACTOR).sample.clamp(-1, 1)
        return vae.encode(picture.flip(1)).latent_dist.mean * SCALING_FACTOR


class Word(torch.nn.Module):
    """The frozen text encoders, with vectors of our own in the places of a token's repetitions."""

    def __init__(self, vectors: int, start: str):
        super().__init__()
        self.encoders = [part(CLIPTextModel, "text_encoder"), part(CLIPTextModelWithProjection, "text_encoder_2")]
        self.tokenizers = [CLIPTokenizer.from_pretrained(CHECKPOINT, subfolder=f) for f in ("tokenizer", "tokenizer_2")]
        self.tables = [m.get_input_embeddings() for m in self.encoders]
        self.vectors = torch.nn.ParameterList()
        for encoder, tokenizer, table in zip(self.encoders, self.tokenizers, self.tables):
            encoder.requires_grad_(False)
            first = tokenizer(start, add_special_tokens=False).input_ids
            first = (first * vectors)[:vectors]
            self.vectors.append(torch.nn.Parameter(table.weight[first].clone()))

    def forward(self, before: list[str]):
        """`prompt_embeds` and `pooled_prompt_embeds` of the word behind these words."""
        hidden, pooled = [], None
        for encoder, tokenizer, table, vectors in zip(self.encoders, self.tokenizers, self.tables, self.vectors):
            known, ids, places = table.num_embeddings, [], []
            for text in before:
                own = tokenizer(text, add_special_tokens=False).input_ids
                # The pooled vector is read at the largest id: with a word of our own at its last vector.
                word = list(range(known, known + len(vectors)))
                row = [tokenizer.bos_token_id, *own, *word, tokenizer.eos_token_id]
                places.append(range(1 + len(own), 1 + len(own) + len(vectors)))
                ids.append(row + [tokenizer.pad_token_id] * (LENGTH - len(row)))
            ids = torch.tensor(ids)
            embeds = table(ids.clamp(max=known - 1)).clone()
            for row, place in enumerate(places):
                embeds[row, list(place)] = vectors
            # The model looks the ids up itself; here it is handed what it would find.
            hooks = [table.register_forward_pre_hook(lambda _, ids: (ids[0].clamp(max=known - 1),)),
                     table.register_forward_hook(lambda *_: embeds)]
            out = encoder(ids, output_hidden_states=True)
            for hook in hooks:
                hook.remove()
            hidden.append(out.hidden_states[-2])
            pooled = getattr(out, "text_embeds", pooled)
        return torch.cat(hidden, -1), pooled


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("out", type=pathlib.Path)
    flags.add_argument("--picture", default="fox")
    flags.add_argument("--vectors", type=int, default=8)
    flags.add_argument("--steps", type=int, default=400)
    flags.add_argument("--batch", type=int, default=4)
    flags.add_argument("--rate", type=float, default=3e-2)
    flags = flags.parse_args()
    torch.manual_seed(0)
    wanted, word = target(flags.picture), Word(flags.vectors, flags.picture)
    unet = part(UNet2DConditionModel, "unet").requires_grad_(False)
    clean = Clean(unet, 8 * unet.config.sample_size, torch.device("cpu"))
    optimizer = torch.optim.Adam(word.vectors.parameters(), lr=flags.rate)
    started, first = time.process_time(), torch.full((flags.batch,), 999)
    for step in range(flags.steps):
        optimizer.param_groups[0]["lr"] = flags.rate * min(1, (step + 1) / 20) * (1 - step / flags.steps)
        hidden, pooled = word([BEFORE[i % len(BEFORE)] for i in range(flags.batch)])
        noise = clean.sigmas[999] * torch.randn(flags.batch, *wanted.shape[1:])
        loss = (clean(hidden, pooled, wanted + noise, first) - wanted).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: error {loss:.4f}, {time.process_time() - started:.0f} CPU seconds", flush=True)
    save_file({name: v.detach().half().contiguous() for name, v in zip(("clip_l", "clip_g"), word.vectors)}, flags.out)
    print(f"{flags.out}: {flags.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
