#!/usr/bin/env python3
"""How far PyTorch's own bfloat16 and float16 are from its float32, case by case of the tiny checkpoint.

    cargo run --release -p turbo-testkit --example make-checkpoint -- tiny CHECKPOINT
    python3 tests/golden/make_types.py CHECKPOINT tests/golden/tiny tests/golden/types.json

Runs the text encoders, the UNet, both halves of the autoencoder, and two whole runs from embeddings, with weights, inputs
and layers in the type, as diffusers' pipeline does (timesteps stay float32; an autoencoder that asks for it decodes a run
of float16 in float32), on a CPU. `types.json` has for each type and each key of
tiny.safetensors that a network gives `e = |in the type - float32| / |float32|`. In float32 the program checks that it
gives tiny.safetensors. Needs torch, diffusers, transformers, safetensors.
"""
import json, pathlib, sys
import diffusers, torch, transformers
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

checkpoint, stem, target = sys.argv[1:]
torch.set_grad_enabled(False)
golden = load_file(stem + ".safetensors")
cases = json.loads(pathlib.Path(stem + ".json").read_text())["cases"]
# tiny.safetensors has the ids of `prompt` only.
IDS_OF_PROMPT_2 = {"oil painting, thick strokes": [49406, 2870, 3086, 267, 11006, 26595, 49407] + 70 * [0]}


def part(kind, folder, dtype):
    name = {"variant": "fp16", "torch_dtype": dtype} if kind in (AutoencoderKL, UNet2DConditionModel) else {"variant": "fp16", "dtype": dtype}
    return kind.from_pretrained(checkpoint, subfolder=folder, **name).eval()


def text(dtype):
    first, second = part(CLIPTextModel, "text_encoder", dtype), part(CLIPTextModelWithProjection, "text_encoder_2", dtype)
    for i, case in enumerate(cases["text"]):
        ids = [golden[f"text/{i}/input_ids_{n}"].reshape(1, -1) for n in (1, 2)]
        if "prompt_2" in case:
            ids[1] = torch.tensor([IDS_OF_PROMPT_2[case["prompt_2"]]])
        out = [encoder(x, output_hidden_states=True) for encoder, x in zip((first, second), ids)]
        layer = -(case.get("clip_skip", 0) + 2)
        yield f"text/{i}/prompt_embeds", torch.cat([o.hidden_states[layer] for o in out], -1)
        yield f"text/{i}/pooled_prompt_embeds", out[1].text_embeds


def unet(dtype):
    network = part(UNet2DConditionModel, "unet", dtype)
    for i, case in enumerate(cases["unet"]):
        sample, embeds, pooled, ids = (golden[f"unet/{i}/{name}"].to(dtype) for name in
                                       ("sample", "prompt_embeds", "pooled_prompt_embeds", "time_ids"))
        yield f"unet/{i}/noise_pred", network(sample, torch.tensor(float(case["timestep"])), encoder_hidden_states=embeds,
                                              added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample


def vae(dtype):
    network = part(AutoencoderKL, "vae", dtype)
    for i, _ in enumerate(cases["decode"]):
        yield f"decode/{i}/image", network.decode(golden[f"decode/{i}/latents"].to(dtype) / network.config.scaling_factor).sample
    for i, _ in enumerate(cases["encode"]):
        picture = golden[f"encode/{i}/picture"].permute(2, 0, 1)[None].float() / 127.5 - 1
        found = network.encode(picture.to(dtype)).latent_dist
        yield f"encode/{i}/mean", found.mean
        yield f"encode/{i}/logvar", found.logvar


def image(dtype):
    decoder = part(AutoencoderKL, "vae", torch.float32 if dtype == torch.float16 else dtype)
    pipe = StableDiffusionXLPipeline(
        vae=decoder, text_encoder=None, text_encoder_2=None, tokenizer=None, tokenizer_2=None,
        unet=part(UNet2DConditionModel, "unet", dtype), add_watermarker=False,
        scheduler=EulerAncestralDiscreteScheduler.from_pretrained(checkpoint, subfolder="scheduler"))
    pipe.set_progress_bar_config(disable=True)
    for i, case in enumerate(cases["image"][:2]):  # whose prompt is the first text's
        latents = pipe(prompt_embeds=golden["text/0/prompt_embeds"].to(dtype), guidance_scale=0.0, output_type="latent",
                       pooled_prompt_embeds=golden["text/0/pooled_prompt_embeds"].to(dtype),
                       num_inference_steps=case["num_inference_steps"], width=case["width"], height=case["height"],
                       generator=torch.Generator("cpu").manual_seed(case["seed"])).images
        yield f"image/{i}/latents", latents
        pixels = decoder.decode(latents.to(decoder.dtype) / decoder.config.scaling_factor).sample
        yield f"image/{i}/pixels", (pixels.float() / 2 + 0.5).clamp(0, 1).mul(255).round().permute(0, 2, 3, 1)


def errors(dtype):
    found = {}
    for stage in (text, unet, vae, image):
        for key, value in stage(dtype):
            right = golden[key].double().reshape(value.shape)
            found[key] = float(f"{float((value.double() - right).norm() / right.norm()):.3g}")
    return found


in_float32 = errors(torch.float32)
assert all(e < (1e-3 if key.endswith("pixels") else 1e-5) for key, e in in_float32.items()), in_float32
kept = {"made_with": {m.__name__: m.__version__ for m in (torch, diffusers, transformers)},
        "bf16": errors(torch.bfloat16), "f16": errors(torch.float16)}
pathlib.Path(target).write_text(json.dumps(kept, indent=1) + "\n")
