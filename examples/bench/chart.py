"""The chart: for each system two bars, seconds and gigabytes, each on a linear scale, with its number."""

from html import escape

# Stage: words, colour. Told apart in grey too.
PARTS = [("text", "text encoders", "#9db4d6"), ("unet", "UNet, one step", "#3a6fb0"), ("vae", "VAE decode", "#e0a458")]
MEMORY = "#5b8c6b"
ROW, BAR, LEFT, WIDE, GAP, TOP = 34, 18, 290, 420, 84, 98


def text(x, y, words, **style):
    style = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{style}>{escape(words)}</text>'


def bar(x, y, width, colour):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{BAR}" fill="{colour}"/>'


def svg(title, systems):
    total = lambda r: sum(r[part] or 0 for part, _, _ in PARTS)
    # Those of which a network is missing come last: their bars are shorter than they should be.
    systems = sorted(systems, key=lambda r: (None in (r["unet"], r["vae"]), total(r)))
    most_time = max(map(total, systems), default=1) or 1
    most_memory = max((r["anon"] for r in systems), default=1) or 1
    right = LEFT + WIDE + GAP
    narrow = 190
    width, height = right + narrow + 90, TOP + ROW * len(systems) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        text(16, 26, title, font_size=16, font_weight="bold"),
        text(LEFT, 54, "seconds with the models open (less is better)", font_weight="bold"),
        text(right, 54, "memory beside file pages, GB", font_weight="bold"),
    ]
    x = LEFT
    for _, words, colour in PARTS:
        out += [f'<rect x="{x}" y="66" width="12" height="12" fill="{colour}"/>', text(x + 17, 77, words)]
        x += 34 + 7 * len(words)
    for n, r in enumerate(systems):
        y = TOP + n * ROW
        weight = "bold" if r["ours"] else "normal"
        out.append(text(LEFT - 10, y + 14, f"{r['system']}, {r['dtype']}", text_anchor="end", font_weight=weight))
        x, missing = LEFT, []
        for part, words, colour in PARTS:
            if r[part] is None:
                missing.append(words.split(",")[0])
                continue
            wide = r[part] / most_time * WIDE
            out.append(bar(x, y, wide, colour))
            if wide > 34:
                ink = "#fff" if part == "unet" else "#222"
                out.append(text(x + wide / 2, y + 13, f"{r[part]:.1f}", text_anchor="middle", font_size=11, fill=ink))
            x += wide
        out.append(text(x + 6, y + 14, f"{total(r):.1f}", font_weight=weight))
        if missing:
            out.append(text(LEFT, y + BAR + 11, f"without {' and '.join(missing)}", font_size=10, fill="#666"))
        wide = r["anon"] / most_memory * narrow
        out.append(bar(right, y, wide, MEMORY))
        out.append(text(right + wide + 6, y + 14, f"{r['anon'] / 1e9:.1f}", font_weight=weight))
        if not r["whole"]:
            out.append(text(right, y + BAR + 11, "its largest stage alone", font_size=10, fill="#666"))
    foot = "Bars begin at 0. Ours: all processes of the pipe added up; others: one process with all models."
    out.append(text(16, height - 12, foot, font_size=11, fill="#666"))
    return "\n".join(out) + "\n</svg>\n"
