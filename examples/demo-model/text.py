"""Both text encoders, first trained by themselves: to say what the picture is before a UNet is there to draw it.

The last 16 of the 32 rows stand for the 4 x 4 patches of the latents, and a linear reading of a row is asked to be
its patch. The encoders so learn in minutes, in large matrix products, what would take a UNet hours.
"""

import pathlib
import random

import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from captions import caption
from training import Run

LENGTH, ROWS, BATCH = 32, 16, 128
WIDTHS, LAYERS, POOLED = (64, 256), (2, 4), 256


class TextEncoders(torch.nn.Module):
    """SDXL's two encoders side by side."""

    def __init__(self, pieces: int):
        super().__init__()
        # As in CLIP's files, eos_token_id 2 means: the place of the largest id, which is the end's.
        common = {"vocab_size": pieces, "max_position_embeddings": LENGTH, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
        one, two = ({"hidden_size": w, "intermediate_size": 4 * w, "num_attention_heads": w // 64, "num_hidden_layers": n}
                    for w, n in zip(WIDTHS, LAYERS))
        self.text_encoder = CLIPTextModel(CLIPTextConfig(**common, **one, hidden_act="quick_gelu", projection_dim=WIDTHS[0]))
        self.text_encoder_2 = CLIPTextModelWithProjection(
            CLIPTextConfig(**common, **two, hidden_act="gelu", projection_dim=POOLED))

    def forward(self, ids: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """`prompt_embeds` [B, 32, 320] and `pooled_prompt_embeds` [B, 256], as SDXL's pipeline takes them."""
        one = self.text_encoder(ids[0], output_hidden_states=True)
        two = self.text_encoder_2(ids[1], output_hidden_states=True)
        return torch.cat([one.hidden_states[-2], two.hidden_states[-2]], -1), two.text_embeds


def token_ids(tokenizers, texts: list[str], device) -> list[torch.Tensor]:
    return [torch.tensor(t(texts, padding="max_length", max_length=LENGTH, truncation=True).input_ids, device=device)
            for t in tokenizers]


def some_captions(step: int, batch: int, tokenizers, names, words, device) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Which pictures step number `step` is about, drawn by lot, and the token ids of a caption for each."""
    rng, known = random.Random(step), set(names)
    which = torch.randint(0, len(names), (batch,))
    return which, token_ids(tokenizers, [caption(rng, names[i], words[i], known) for i in which], device)


def patches(latents: torch.Tensor) -> torch.Tensor:
    """[N, 4, h, w] as ROWS rows of values."""
    n, c, h, w = latents.shape
    return latents.view(n, c, 4, h // 4, 4, w // 4).permute(0, 2, 4, 1, 3, 5).reshape(n, ROWS, -1)


def pretrain(work: pathlib.Path, tokenizers, pieces: int, names, words, latents, steps: int, device) -> TextEncoders:
    torch.manual_seed(1)
    text = TextEncoders(pieces)
    rows = patches(latents).to(device)
    mean = rows.mean(0)
    u = torch.linalg.svd((rows - mean).flatten(1).cpu(), full_matrices=False).U
    code = (u[:, :POOLED] * len(u) ** 0.5).to(device)  # the pictures' principal components, for the pooled vector
    head = torch.nn.Linear(sum(WIDTHS), rows.shape[-1])
    both = torch.nn.ModuleDict({"text": text, "head": head}).to(device)
    run = Run("text", work, both, steps, rate=1e-2)
    for step in run:
        which, ids = some_captions(step, BATCH, tokenizers, names, words, device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            hidden, pooled = text(ids)
            guess = head(hidden[:, -ROWS:])
        picture = (guess.float() + mean - rows[which]).pow(2).mean()
        principal = (pooled.float() - code[which]).pow(2).mean()
        run.update(picture + 0.1 * principal, picture=picture.item(), principal=principal.item())
    return text
