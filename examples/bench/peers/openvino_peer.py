#!/usr/bin/env python3
"""OpenVINO: the networks of diffusers, converted once with its own converter, compiled for the CPU.

    openvino_peer.py CHECKPOINT --stage text|unet|vae|vae-encode|tiny-vae|tiny-vae-encode|picture
        --dtype f32|bf16|int8|int8-bf16 [--size 512] [--cache DIR]

The first call converts, in a process of its own: `--stage convert` writes the converted models to the cache folder, in
float16 as OpenVINO's exporters do. With `int8` their weights are then made int8, by NNCF as its documentation says (and
as FastSD CPU's files are): for each output channel a scale and a zero point, no activations. `int8` computes in float32,
`int8-bf16` in bfloat16.
"""

import pathlib
import subprocess
import sys

import numpy as np
import openvino as ov

import measure

args = measure.options(["f32", "bf16", "int8", "int8-bf16"], ["convert", "compress", "text", "unet", "picture", *measure.AUTOENCODER])
cache = pathlib.Path(args.cache) / "openvino"
int8 = args.dtype.startswith("int8")


def convert(name, make, inputs, dims):
    """Converts what `make()` gives, with free sizes, unless it is there."""
    if (cache / f"{name}.xml").exists():
        return
    import torch

    print("converting", name, file=sys.stderr)
    with torch.no_grad():
        model = ov.convert_model(make().eval(), example_input=inputs(torch), input=dims)
    cache.mkdir(parents=True, exist_ok=True)
    save(model, name)


def save(model, name):
    """Under another name until it is whole."""
    ov.save_model(model, cache / f"part-{name}.xml", compress_to_fp16=True)
    (cache / f"part-{name}.bin").rename(cache / f"{name}.bin")
    (cache / f"part-{name}.xml").rename(cache / f"{name}.xml")


def compress_all():
    """Writes copies of the converted models whose weights are int8, those that are not there."""
    import nncf

    for path in sorted(cache.glob("*.xml")):
        name = f"{path.stem}-int8"
        if path.stem.endswith("-int8") or path.stem.startswith("part-") or (cache / f"{name}.xml").exists():
            continue
        print("compressing", path.stem, file=sys.stderr)
        save(nncf.compress_weights(ov.Core().read_model(path)), name)


def convert_all():
    import torch
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    # Read as float32, since the tracer does not take the UNet in half precision.
    saved = dict(variant="fp16", torch_dtype=torch.float32)

    class UNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = UNet2DConditionModel.from_pretrained(args.checkpoint, subfolder="unet", **saved)

        def forward(self, sample, t, embeds, pooled, ids):
            added = {"text_embeds": pooled, "time_ids": ids}
            return self.net(sample, t, embeds, added_cond_kwargs=added, return_dict=False)[0]

    class Decoder(torch.nn.Module):
        def __init__(self, vae):
            super().__init__()
            self.vae = vae

        def forward(self, latents):
            return self.vae.decode(latents, return_dict=False)[0]

    class Encoder(torch.nn.Module):
        def __init__(self, vae):
            super().__init__()
            self.vae = vae

        def forward(self, picture):
            if isinstance(self.vae, AutoencoderTiny):
                return self.vae.encode(picture, return_dict=False)[0]
            return self.vae.encode(picture, return_dict=False)[0].parameters

    class Text(torch.nn.Module):
        def __init__(self, kind, folder):
            super().__init__()
            self.net = kind.from_pretrained(args.checkpoint, subfolder=folder, **saved)

        def forward(self, ids):
            out = self.net(ids, output_hidden_states=True)
            return out.hidden_states[-2], out[0]

    convert(
        "unet",
        UNet,
        lambda torch: (
            torch.zeros(1, 4, 64, 64),
            torch.tensor(999.0),
            torch.zeros(1, 77, 2048),
            torch.zeros(1, 1280),
            torch.zeros(1, 6),
        ),
        [[1, 4, -1, -1], [], [1, 77, 2048], [1, 1280], [1, 6]],
    )
    autoencoders = {"vae": lambda: AutoencoderKL.from_pretrained(args.checkpoint, subfolder="vae", **saved)}
    if args.tiny_vae:
        autoencoders["tiny-vae"] = lambda: AutoencoderTiny.from_pretrained(args.tiny_vae, variant="fp16")
    for name, make in autoencoders.items():
        convert(name, lambda: Decoder(make()), lambda torch: (torch.zeros(1, 4, 64, 64),), [[1, 4, -1, -1]])
        convert(f"{name}-encode", lambda: Encoder(make()), lambda torch: (torch.zeros(1, 3, 512, 512),), [[1, 3, -1, -1]])
    for name, kind in [("text_encoder", CLIPTextModel), ("text_encoder_2", CLIPTextModelWithProjection)]:
        convert(
            name,
            lambda: Text(kind, name),
            lambda torch: (torch.ones(1, 77, dtype=torch.int64),),
            [[1, 77]],
        )


def compiled(name):
    core = ov.Core()
    model = core.read_model(cache / (f"{name}-int8.xml" if int8 else f"{name}.xml"))
    if name.endswith("-encode"):
        model.reshape({model.inputs[0]: [1, 3, args.size, args.size]})
    elif name == "unet" or name in measure.AUTOENCODER:
        model.reshape({model.inputs[0]: [1, 4, side, side]})
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if args.dtype.endswith("bf16") else "f32",
        "INFERENCE_NUM_THREADS": args.threads,
    }
    return core.compile_model(model, "CPU", settings)


def noise(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


side = args.size // 8
time_ids = np.array([[args.size, args.size, 0, 0, args.size, args.size]], np.float32)


def open_text():
    first, second = compiled("text_encoder"), compiled("text_encoder_2")
    ids = np.full((1, 77), 49407, np.int64)
    ids[0, :9] = [49406, 320, 1125, 539, 320, 736, 3240, 530, 518]

    def step():
        a, b = first([ids]), second([ids])
        return np.concatenate([a[0], b[0]], axis=-1), b[1]

    return step


def open_unet():
    net = compiled("unet")
    inputs = [noise(1, 4, side, side), np.float32(999), noise(1, 77, 2048), noise(1, 1280), time_ids]
    return lambda: net(inputs)[0]


def open_autoencoder():
    net = compiled(args.stage)
    encodes = args.stage.endswith("-encode")
    inputs = noise(1, 3, args.size, args.size) if encodes else noise(1, 4, side, side)
    return lambda: net([inputs])[0]


def open_picture():
    from PIL import Image

    text, unet, vae = open_text(), compiled("unet"), compiled("vae")
    latents = noise(1, 4, side, side)
    sigma = 14.6146

    def step():
        embeds, pooled = text()
        sample = latents * np.float32(sigma)
        eps = unet([latents, np.float32(999), embeds, pooled, time_ids])[0]
        image = vae([(sample - np.float32(sigma) * eps) / np.float32(0.13025)])[0]
        pixels = ((image[0] / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
        Image.fromarray(pixels.transpose(1, 2, 0)).save(cache / "picture.png")

    return step


def prepare(*words):
    """Runs a preparation in a process of its own, whose memory is not that of what is measured."""
    command = [sys.executable, __file__, args.checkpoint, "--dtype", "f32", "--cache", args.cache, *words]
    subprocess.run(command, stdout=sys.stderr, check=True)


if args.stage == "convert":
    convert_all()
elif args.stage == "compress":
    compress_all()
else:
    needed = {"text": ["text_encoder", "text_encoder_2"], "picture": ["text_encoder", "text_encoder_2", "unet", "vae"]}
    needed = needed.get(args.stage, [args.stage])
    if not all((cache / f"{name}.xml").exists() for name in needed):
        prepare("--stage", "convert", *(["--tiny-vae", args.tiny_vae] if args.tiny_vae else []))
    if int8 and not all((cache / f"{name}-int8.xml").exists() for name in needed):
        prepare("--stage", "compress")
    stages = {"text": open_text, "unet": open_unet, "picture": open_picture}
    packages = ["openvino", "nncf"] if int8 else ["openvino"]
    measure.report(args, packages, stages.get(args.stage, open_autoencoder))
