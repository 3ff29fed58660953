"""Pictures of every kind, and what Pillow makes of them.

    python3 pillow.py files|animated|resize|paste

Writes into the current folder. NAME.expected.ppm is NAME the right way up, its transparency on #ff8000, as RGB.
"""
import io, struct, sys, zlib
import numpy as np
from PIL import Image, ImageOps

BACKGROUND = (255, 128, 0)
rng = np.random.default_rng(1)


def smooth(width, height, channels, dtype=np.uint8):
    """Waves, which lossy formats keep well, or of 16 bits each."""
    y, x = np.mgrid[0:height, 0:width]
    top = np.iinfo(dtype).max
    planes = [(np.sin(x / (9 + 4 * c)) * np.cos(y / (7 + 3 * c)) * 0.5 + 0.5) * top for c in range(channels)]
    return np.stack(planes, -1).astype(dtype)


def noise(width, height, channels, dtype=np.uint8):
    return rng.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype, endpoint=True)


def expect(name, image):
    """By Pillow: upright, on the background."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        below = Image.new("RGB", image.size, BACKGROUND)
        below.paste(image, mask=image.getchannel("A"))
        image = below
    image.convert("RGB").save(name + ".expected.ppm")


def save(name, image, **options):
    image.save(name, **options)
    expect(name, Image.open(name))


def png(width, height, depth, kind, rows, extra=()):
    """A PNG of a kind that Pillow does not write; `rows` are whole scan lines."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
            + b"".join(chunk(*e) for e in extra) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def files():
    rgb, rgba = noise(37, 23, 3), noise(37, 23, 4)
    save("rgb8.png", Image.fromarray(rgb))
    save("rgba8.png", Image.fromarray(rgba))
    save("grey8.png", Image.fromarray(rgb[..., 0]))
    save("greyalpha8.png", Image.fromarray(rgba[..., :2].copy(), "LA"))
    save("one.png", Image.fromarray((rgb[..., 0] > 127)))
    save("palette.png", Image.fromarray(rgb).quantize(200))
    save("palette4.png", Image.fromarray(rgb).quantize(9), bits=4)
    save("palette2.png", Image.fromarray(rgb).quantize(4), bits=2)
    save("palette1.png", Image.fromarray(rgb).quantize(2), bits=1)
    save("palettealpha.png", Image.fromarray(rgba).quantize(30))
    save("paletteclear.png", Image.fromarray(rgb).quantize(20), transparency=3)
    save("rgbclear.png", Image.fromarray(rgb), transparency=tuple(int(v) for v in rgb[3, 5]))
    save("greyclear.png", Image.fromarray(rgb[..., 0]), transparency=int(rgb[3, 5, 0]))
    for depth in (2, 4):
        per = 8 // depth
        width, height = 13, 7
        rows = [bytes(rng.integers(0, 256, -(-width // per), np.uint8)) for _ in range(height)]
        with open(f"grey{depth}.png", "wb") as file:
            file.write(png(width, height, depth, 0, rows))
        expect(f"grey{depth}.png", Image.open(f"grey{depth}.png"))
    # 16 bits: Pillow keeps the upper 8 of colours. Of grey it would clip all above 255 to white, which nobody wants:
    # the upper 8 here too.
    for name, kind, channels in (("grey16", 0, 1), ("greyalpha16", 4, 2), ("rgb16", 2, 3), ("rgba16", 6, 4)):
        deep = noise(19, 11, channels, np.uint16)
        with open(name + ".png", "wb") as file:
            file.write(png(19, 11, 16, kind, [row.astype(">u2").tobytes() for row in deep]))
        upper = (deep >> 8).astype(np.uint8)
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        image = Image.frombytes(mode, (19, 11), upper.tobytes())
        if channels in (3, 4):
            opened = Image.open(name + ".png")
            assert (np.asarray(opened) == np.asarray(image)).all(), name
        expect(name + ".png", image)
    with open("interlaced.png", "wb") as file:
        # Adam7 of one pixel: the smallest interlaced picture.
        data = png(1, 1, 8, 2, [b"\x0a\x14\x1e"])
        head = bytearray(data)
        head[28] = 1
        head[29:33] = struct.pack(">I", zlib.crc32(bytes(head[12:29])))
        file.write(bytes(head))
    expect("interlaced.png", Image.open("interlaced.png"))
    waves = smooth(64, 48, 3)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"orientation{orientation}.jpg", Image.fromarray(waves), exif=exif, quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("orientation6.png", Image.fromarray(rgb), exif=exif)
    save("orientation6.webp", Image.fromarray(rgb), exif=exif, lossless=True)
    save("grey.jpg", Image.fromarray(waves[..., 0]), quality=95)
    save("subsampled.jpg", Image.fromarray(waves), quality=95, subsampling=2)
    save("progressive.jpg", Image.fromarray(waves), quality=95, progressive=True)
    # Written as Adobe does, inverted.
    save("cmyk.jpg", Image.fromarray(smooth(64, 48, 4), "CMYK"), quality=95)
    save("restarts.jpg", Image.fromarray(waves), quality=95, restart_marker_rows=1)
    save("lossless.webp", Image.fromarray(rgb), lossless=True)
    save("losslessalpha.webp", Image.fromarray(rgba), lossless=True, exact=True)
    save("lossy.webp", Image.fromarray(waves), quality=90)
    save("rgb.ppm", Image.fromarray(rgb))
    save("grey.pgm", Image.fromarray(rgb[..., 0]))
    for name, bytes_ in (
        ("max100.ppm", b"P6\n# a comment\n5 3 # and another\n100\n" + bytes(rng.integers(0, 101, 45, np.uint8))),
        ("max100.pgm", b"P5 5 3 100\n" + bytes(rng.integers(0, 101, 15, np.uint8))),
        ("max7.pgm", b"P5 5 3 7 " + bytes(rng.integers(0, 8, 15, np.uint8))),
        ("deep.ppm", b"P6 5 3 65535\n" + rng.integers(0, 65536, 45, np.uint16).astype(">u2").tobytes()),
        ("max1000.ppm", b"P6 5 3 1000\n" + rng.integers(0, 1001, 45, np.uint16).astype(">u2").tobytes()),
    ):
        with open(name, "wb") as file:
            file.write(bytes_)
        expect(name, Image.open(name))


def animated():
    frames = [Image.fromarray(noise(16, 16, 3)) for _ in range(3)]
    for name in ("animated.png", "animated.webp", "animated.gif"):
        frames[0].save(name, save_all=True, append_images=frames[1:], duration=100)


def fitted(image, width, height, mode):
    """What diffusers' `VaeImageProcessor.resize` does in its three modes, with `_resize_and_crop` and
    `_resize_and_fill`."""
    if mode == "default":
        return image.resize((width, height), Image.LANCZOS)
    wider = width / height - image.width / image.height
    full_width = wider > 0 if mode == "crop" else wider < 0
    if full_width:
        inner = (width, image.height * width // image.width)
    else:
        inner = (image.width * height // image.height, height)
    small = image.resize(inner, Image.LANCZOS)
    left, top = width // 2 - inner[0] // 2, height // 2 - inner[1] // 2
    out = Image.new("RGB", (width, height))
    out.paste(small, (left, top))
    if mode == "fill" and top > 0:
        out.paste(small.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        out.paste(small.resize((width, top), box=(0, inner[1], width, inner[1])), (0, top + inner[1]))
    elif mode == "fill" and left > 0:
        out.paste(small.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        out.paste(small.resize((left, height), box=(inner[0], 0, inner[0], height)), (left + inner[0], 0))
    return out


def resize():
    sizes = [(133, 97), (64, 64), (31, 200), (257, 8), (3, 5)]
    for i, (width, height) in enumerate(sizes):
        image = Image.fromarray(noise(width, height, 3) if i % 2 else np.maximum(smooth(width, height, 3), noise(width, height, 3) // 3))
        image.save(f"p{i}.source.ppm")
        for size in [(128, 96), (64, 64), (72, 200), (256, 8), (8, 264)]:
            for mode in ("default", "crop", "fill"):
                try:
                    fitted(image, *size, mode).save(f"p{i}.{mode}.{size[0]}x{size[1]}.ppm")
                except ValueError:
                    pass  # So thin that nothing is left.


def paste():
    below, above = (Image.fromarray(noise(64, 64, 3)) for _ in range(2))
    mask = Image.fromarray(np.arange(64 * 64, dtype=np.uint32).astype(np.uint8).reshape(64, 64))
    below.save("below.ppm")
    above.save("above.ppm")
    mask.convert("RGB").save("mask.ppm")
    below.paste(above, mask=mask)
    below.save("pasted.ppm")


globals()[sys.argv[1]]()
