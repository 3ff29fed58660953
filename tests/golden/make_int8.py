"""Expected values for int8 checkpoints: diffusers on the tiny checkpoint, with int8 simulated in torch.

    cargo run --release -p turbo-testkit --example tiny-checkpoint -- CHECKPOINT
    python3 tests/golden/make_int8.py CHECKPOINT tests/golden/tiny.safetensors tests/golden

Writes int8.safetensors, the expected values, and int8_lora.safetensors, a LoRA of four layers. The formulas: a weight w of
a layer becomes q = round(w / s) with s = max |w| / 127 over its output row, and counts as q s from then on; the numbers x
of a position that go into a linear layer become round(x / t) t with t = max |x| / 127 over the position. All else is
float32. Which layers: matrices and convolutions but for those named EXACT; positions stay floats in front of those named
FLOAT and of convolutions.

Prefixes: none, all of that; `weights/`, where all positions stay floats; `KIND/`, where they become int8 in front of the
layers of that kind in BLOCK only. Of these none reads what another one makes: float32 that is summed in another order
rounds a number in ten thousand the other way, and behind one more such layer nearly all differ. `lora/` is KINDS[0] with
the LoRA, whose layers keep float positions. All but the first two prefixes are of one step.

Needs torch, diffusers, transformers and safetensors.
"""

import re
import sys

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

EXACT = re.compile(r"conv_in$|conv_out$|down_blocks\.0\.resnets\.0\.conv2$|up_blocks\.2\.resnets\.2\.conv_shortcut$|"
                   r"time_emb_proj$|(time|add)_embedding\.linear_[12]$|text_projection$")
FLOAT = re.compile(r"attn2\.to_[kv]$|up_blocks\.0\.attentions\.0\.transformer_blocks\.0\.ff\.net\.2$")
BLOCK = "up_blocks.1.attentions.2."
KINDS = {"attn1.to": "attn1.to_[qkv]", "attn1.to_out.0": "", "attn2.to_q": "", "attn2.to_out.0": "", "ff.net.0.proj": "",
         "ff.net.2": "", "proj_in": "", "proj_out": ""}
LORA = {f"{BLOCK}transformer_blocks.0.attn1.to_q": 4, f"{BLOCK}transformer_blocks.0.ff.net.0.proj": 2,
        "mid_block.attentions.0.transformer_blocks.0.ff.net.2": 3, "up_blocks.0.resnets.0.conv1": 2}

checkpoint, source, target = sys.argv[1:]
torch.set_grad_enabled(False)
embeds = load_file(source)
pipe = StableDiffusionXLPipeline.from_pretrained(checkpoint, variant="fp16", torch_dtype=torch.float32, add_watermarker=False)
pipe.set_progress_bar_config(disable=True)


def quantized(x, dims):
    scale = (x.abs().amax(dims, keepdim=True) / 127).clamp(min=1e-30)
    return torch.round(x / scale) * scale


on = {"activations": ".", "lora": False}  # which layers' positions become int8
lora = {}
torch.manual_seed(5)
for part in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2):
    for name, layer in part.named_modules():
        if not isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) or EXACT.search(name):
            continue
        weight = layer.weight.data = quantized(layer.weight.data, tuple(range(1, layer.weight.ndim)))
        pair = None
        if part is pipe.unet and name in LORA:
            rank = LORA[name]
            down = torch.randn(rank, *weight.shape[1:]) / weight[0].numel() ** 0.5
            up = torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2)) * 0.2
            lora |= {f"unet.{name}.lora_A.weight": down.half(), f"unet.{name}.lora_B.weight": up.half()}
            pair = down.half().float(), up.half().float()

        def before(layer, inputs, name=name, pair=pair, whole=weight.clone()):
            added = on["lora"] and pair is not None
            if pair is not None:
                down, up = pair
                layer.weight.data = whole + (up.flatten(1) @ down.flatten(1)).reshape(whole.shape) if added else whole
            keeps = isinstance(layer, torch.nn.Conv2d) or FLOAT.search(name) or added
            if re.search(on["activations"], name) and not keeps:
                return (quantized(inputs[0], (-1,)), *inputs[1:])

        layer.register_forward_pre_hook(before)

kept = {}


def latents(steps=2):
    return pipe(prompt_embeds=embeds["text/0/prompt_embeds"], pooled_prompt_embeds=embeds["text/0/pooled_prompt_embeds"],
                num_inference_steps=steps, guidance_scale=0.0, width=64, height=96, output_type="latent",
                generator=torch.Generator("cpu").manual_seed(42)).images.contiguous()


def values(prefix):
    ids = [embeds[f"text/0/input_ids_{n}"].reshape(1, -1) for n in (1, 2)]
    first = pipe.text_encoder(ids[0], output_hidden_states=True)
    second = pipe.text_encoder_2(ids[1], output_hidden_states=True)
    kept[f"{prefix}prompt_embeds"] = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1).contiguous()
    kept[f"{prefix}pooled_prompt_embeds"] = second[0].contiguous()
    kept[f"{prefix}latents"] = latents()


values("")
on["activations"] = "nothing"
values("weights/")
kept["weights/step"] = latents(1)
for kind, pattern in KINDS.items():
    on["activations"] = f"^{re.escape(BLOCK)}(.*\\.)?({pattern or re.escape(kind)})$"
    kept[f"{kind}/step"] = latents(1)
on["activations"] = f"^{re.escape(BLOCK)}(.*\\.)?({KINDS['attn1.to']})$"
on["lora"] = True
kept["lora/step"] = latents(1)
for a, b in [("latents", "weights/latents"), ("lora/step", "attn1.to/step"), *((f"{k}/step", "weights/step") for k in KINDS)]:
    print(f"{a} from {b}: {((kept[a] - kept[b]).norm() / kept[b].norm()).item():.5f}")
save_file(kept, f"{target}/int8.safetensors")
save_file(lora, f"{target}/int8_lora.safetensors")
