"""Makes the test vectors beside this file with Hugging Face's safetensors package.

    python make.py [FOLDER]

Needs numpy and safetensors 0.8. No file has more than one metadata key, because the
package writes several in an order that changes from run to run. PROTOCOL.md lists the hashes.
"""

import pathlib
import sys

import numpy as np
from safetensors import TensorSpec, serialize
from safetensors.numpy import save

folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)


def ramp(shape, start, step, dtype=np.float32):
    """start, start + step, ...: exact in every type used here."""
    count = int(np.prod(shape))
    return (start + step * np.arange(count)).astype(dtype).reshape(shape)


# What a script writes that knows nothing of this protocol: no metadata at all.
foreign = save(
    {
        "prompt_embeds": ramp((1, 3, 8), -1.0, 0.125),
        "pooled_prompt_embeds": ramp((1, 4), 2.0, -0.5),
    }
)

# Two prompts, a negative pair, half precision.
negative = save(
    {
        "prompt_embeds": ramp((2, 3, 4), -1.5, 0.125, np.float16),
        "pooled_prompt_embeds": ramp((2, 2), 0.25, 0.25, np.float16),
        "negative_prompt_embeds": ramp((2, 3, 4), 8.0, -1.0, np.float16),
        "negative_pooled_prompt_embeds": ramp((2, 2), -0.5, 0.25, np.float16),
    },
    {"kind": "text-embeddings"},
)

# bfloat16, which numpy does not have: the upper halves of float32 words.
words = (ramp((1, 4, 2, 3), -6.0, 0.5).view(np.uint32) >> 16).astype("<u2")
latents = serialize(
    {
        "latents": TensorSpec(
            dtype="bfloat16",
            shape=words.shape,
            data_ptr=words.ctypes.data,
            data_len=words.nbytes,
        )
    },
    {"kind": "latents"},
)

# An image with a tensor that the kind does not know, and a prompt that JSON has to escape.
image = save(
    {
        "image": ramp((1, 2, 2, 3), 0, 20, np.uint8),
        "depth": ramp((1, 2, 2), 0.0, 0.25, np.float64),
    },
    {"prompt": 'ein "Fuchs" \\ 狐\n🦊'},
)

for name, data in {
    "foreign-text-embeddings.safetensors": foreign,
    "negative-f16.safetensors": negative,
    "latents-bf16.safetensors": latents,
    "image-extra.safetensors": image,
    "four-frames.stream": foreign + negative + latents + image,
}.items():
    (folder / name).write_bytes(data)
