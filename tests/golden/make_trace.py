"""Expected values for `denoise --trace` and `denoise --images`: diffusers on the tiny checkpoint, step by step.

    cargo run --release -p turbo-testkit --example tiny-checkpoint -- CHECKPOINT
    python3 tests/golden/make_trace.py CHECKPOINT tests/golden/tiny.safetensors tests/golden/trace.safetensors

Needs torch, diffusers, transformers and safetensors. The prompt is the embeddings text/0 of tiny.safetensors.
"""

import sys

import torch
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

WIDTH, HEIGHT = 64, 96
# Name: steps, guidance scale, seed.
RUNS = {"plain": (4, 0.0, 42), "guided": (2, 2.5, 7)}
IMAGES, IMAGES_SEED, IMAGES_STEPS = 3, 100, 2

checkpoint, source, target = sys.argv[1:]
torch.set_grad_enabled(False)
embeds = load_file(source)
unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet", variant="fp16", torch_dtype=torch.float32)
pipe = StableDiffusionXLPipeline.from_pretrained(checkpoint, unet=unet, variant="fp16", torch_dtype=torch.float32,
                                                 add_watermarker=False)
pipe.set_progress_bar_config(disable=True)
kept = {}


def draw(steps, guidance, generator, images=1):
    return pipe(prompt_embeds=embeds["text/0/prompt_embeds"], pooled_prompt_embeds=embeds["text/0/pooled_prompt_embeds"],
                num_inference_steps=steps, guidance_scale=guidance, width=WIDTH, height=HEIGHT, generator=generator,
                num_images_per_prompt=images, output_type="latent").images


class Watched(EulerAncestralDiscreteScheduler):
    """Keeps what each step takes and gives."""

    def step(self, model_output, timestep, sample, generator=None, return_dict=True):
        index = 0 if self.step_index is None else self.step_index
        result = super().step(model_output, timestep, sample, generator=generator, return_dict=True)
        for key, value in [("noise_pred", model_output), ("sample", sample), ("latents", result.prev_sample),
                           ("pred_original_sample", result.pred_original_sample), ("timestep", timestep.reshape(1)),
                           ("sigma", self.sigmas[index].reshape(1))]:
            kept[f"{run}/{index}/{key}"] = value.float().clone().contiguous()
        return result if return_dict else (result.prev_sample,)


plain = pipe.scheduler
pipe.scheduler = Watched.from_config(plain.config)
for run, (steps, guidance, seed) in RUNS.items():
    draw(steps, guidance, torch.Generator("cpu").manual_seed(seed))

pipe.scheduler = plain
generators = [torch.Generator("cpu").manual_seed(IMAGES_SEED + index) for index in range(IMAGES)]
kept["images/latents"] = draw(IMAGES_STEPS, 0.0, generators, IMAGES).contiguous()

save_file(kept, target)
