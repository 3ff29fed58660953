"""In the place of `denoise`: draws a sun over the sea, whatever the prompt, without any network.

    encode-text "noon" "dusk" | python3 toy_denoise.py | decode-latents | to-png -o 'sun-%d.png'

The seed moves the sun and the number of steps dims the day, so that settings can be seen to arrive. A frame that
`encode-image --join` has put a picture into gets the sun over that, as far as the strength says and the mask allows.
"""

import numpy

from frames import read_frames, write_frame

# The four latent channels of a plain colour, by its red, green and blue (0 to 1) and a constant: least squares over what
# the encoder of TAESDXL makes of 125 colours.
LATENTS_OF_RGB = numpy.array([[-0.21, -3.22, 0.69, -1.97], [1.64, 1.28, 2.95, 0.64], [2.35, 1.62, -3.10, 0.24]])
LATENTS_OF_BLACK = numpy.array([-2.40, 0.55, 0.57, 0.26])


def sun_over_sea(height, width, seed, steps):
    """A picture [height, width, 3], 0 to 255."""
    y, x = numpy.mgrid[0:height, 0:width] / max(height, width)
    horizon = 0.6 * height / max(height, width)
    day = 1 / steps
    sky = numpy.stack([90 + 120 * y, 130 + 60 * y, 230 - 60 * y], axis=-1)
    sea = numpy.array([20, 70, 120]) + 0 * sky
    picture = numpy.where((y < horizon)[..., None], sky, sea) * day
    center = 0.2 + 0.6 * numpy.random.default_rng(seed).random()
    sun = (x - center * width / max(height, width)) ** 2 + (y - horizon / 2) ** 2 < 0.12**2
    picture[sun] = [250, 220, 90]
    return picture


def over_picture(latents, tensors, strength):
    """The latents over those of a picture: the mean of its distribution, all of it or only where the mask is 1."""
    mean = tensors["image_mean"]
    return mean + strength * tensors.get("mask", numpy.float32(1)) * (latents - mean)


def to_latents(picture):
    """The latents [1, 4, height, width] of a picture with a pixel for each 8 x 8 of the real one."""
    latents = picture / 255 @ LATENTS_OF_RGB + LATENTS_OF_BLACK
    return latents.transpose(2, 0, 1)[None].astype(numpy.float32)


for index, (metadata, tensors) in enumerate(read_frames()):
    seed = int(metadata.get("seed", index))
    steps = int(metadata.get("steps", 1))
    width = int(metadata.get("width", 512))
    height = int(metadata.get("height", 512))
    if "image_mean" in tensors:
        height, width = (8 * side for side in tensors["image_mean"].shape[2:])
    latents = to_latents(sun_over_sea(height // 8, width // 8, seed, steps))
    if "image_mean" in tensors:
        latents = over_picture(latents, tensors, float(metadata.get("strength", 0.5)))
    # Everything that came with the prompt travels on.
    metadata |= {"kind": "latents", "producer": "toy_denoise.py"}
    metadata |= {"seed": str(seed), "steps": str(steps), "width": str(width), "height": str(height)}
    write_frame({"latents": latents.astype(numpy.float32)}, metadata)
