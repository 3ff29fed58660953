#!/usr/bin/env python3
"""Large pictures in tiles, as diffusers encodes and decodes them, with both autoencoders.

    python3 make_tiles.py TINY_CHECKPOINT_DIR TAESDXL_DIR OUT_STEM

Both folders are what make-checkpoint of turbo-testkit writes (`tiny`, and `taesdxl` of `full`). Pictures are
`picture()`, latents `values()`. Kept per case `i`: `i/mean` and `i/logvar`, or `i/encoded`, of the picture; and
`i/decoded`, every ninth pixel of what `values()` decode to, before clamping. Needs torch, diffusers, safetensors.
"""
import json, pathlib, sys
import diffusers, numpy as np, torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import save_file

tiny, taesdxl, stem = sys.argv[1:]
torch.set_grad_enabled(False)
# Tiles at the ends are a sliver, or small, or whole.
CASES = [{"vae": "full", "width": 208, "height": 152}, {"vae": "full", "width": 96, "height": 200},
         {"vae": "tiny", "width": 640, "height": 456}, {"vae": "tiny", "width": 512, "height": 520}]


def picture(width, height):
    """[height, width, 3], bytes."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    return ((x * 7 + y * 13 + c * 61 + x * y // 64) % 256).astype(np.uint8)


def values(*shape):
    n = int(np.prod(shape))
    return ((torch.arange(n) * 31 % 61) / 30.0 - 1.0).reshape(shape)


saved = dict(variant="fp16", torch_dtype=torch.float32)
vaes = {"full": AutoencoderKL.from_pretrained(tiny, subfolder="vae", **saved).eval(),
        "tiny": AutoencoderTiny.from_pretrained(taesdxl, **saved).eval()}
kept = {}
for i, case in enumerate(CASES):
    vae, width, height = vaes[case["vae"]], case["width"], case["height"]
    image = torch.from_numpy(picture(width, height)).permute(2, 0, 1)[None] / 255 * 2 - 1
    latents = values(1, 4, height // 8, width // 8)

    def run():
        if case["vae"] == "tiny":
            out = {"encoded": vae.encode(image).latents}
        else:
            posterior = vae.encode(image).latent_dist
            out = {"mean": posterior.mean, "logvar": posterior.logvar}
        decoded = vae.decode(latents / vae.config.scaling_factor).sample
        return out | {"decoded": decoded[:, :, ::9, ::9]}

    vae.disable_tiling()
    whole = run()
    vae.enable_tiling()
    tiled = run()
    for name, value in tiled.items():
        off = float((value - whole[name]).norm() / whole[name].norm())
        print(i, case, name, tuple(value.shape), f"tiles change {off:.1e}")
        # So that a whole picture cannot pass for tiles.
        assert off > 1e-3
        kept[f"{i}/{name}"] = value.contiguous()
save_file(kept, stem + ".safetensors")
versions = {m.__name__: m.__version__ for m in (torch, diffusers, np)}
pathlib.Path(stem + ".json").write_text(json.dumps({"made_with": versions, "cases": CASES}, indent=1) + "\n")
