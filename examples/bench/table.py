#!/usr/bin/env python3
"""Draws a run's results: table.md and chart.svg beside results.jsonl; and where asked, a README's block and picture.

    examples/bench/table.py RUN [--readme README.md]

The block stands between the lines `<!-- bench: begin ... -->` and `<!-- bench: end -->`. Standard library only.
"""

import argparse
import json
import pathlib
import re
import sys

import chart

# Arithmetic of each stage in GFLOP, counted from the published shapes: two for a multiplication with its addition,
# direct convolutions, 77 tokens, batch 1.
GFLOP = {
    ("text", 512): 110.1,
    ("text", 1024): 110.1,
    ("unet", 512): 1588.8,
    ("unet", 1024): 6761,
    ("vae", 512): 2514.5,
    ("vae", 1024): 10470,
    ("vae-encode", 512): 1116.7,
    ("vae-encode", 1024): 4879,
    ("tiny-vae", 512): 141.4,
    ("tiny-vae", 1024): 565.6,
    ("tiny-vae-encode", 512): 122.3,
    ("tiny-vae-encode", 1024): 489.3,
}
# What of it is products of int8 where the weights are int8 and the CPU multiplies int8: linear layers, but for those that
# keep float activations (shared/weights/src/names/int8.rs).
GFLOP_INT8 = {("text", 512): 108.9, ("text", 1024): 108.9, ("unet", 512): 1058.7, ("unet", 1024): 4234.9}
# Stages whose weights quantize-model makes int8; the autoencoder is copied.
INT8_STAGES = ["text", "unet", "picture"]
STAGES = {
    "text": "both text encoders",
    "unet": "UNet, one step",
    "vae": "VAE decode",
    "vae-encode": "VAE encode",
    "tiny-vae": "TAESDXL decode",
    "tiny-vae-encode": "TAESDXL encode",
    "picture": "whole pipe",
}
# The stages that a picture passes.
PIPE = ["text", "unet", "vae"]
SYSTEMS = {
    "ours": "this project",
    "openvino": "OpenVINO",
    "diffusers": "diffusers (PyTorch)",
    "sdcpp": "stable-diffusion.cpp",
    "candle": "candle-transformers",
}
TYPES = {
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "auto": "default types",
    "int8": "int8 weights",
    "int8-bf16": "int8 weights, bfloat16",
}


def key(r):
    return tuple(r.get(name) for name in ["system", "isa", "stage", "dtype", "size"])


def read(folder):
    """The lines of results.jsonl; none where there are none yet."""
    path = pathlib.Path(folder) / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def seconds(s):
    return f"{s:.2f} s" if s < 10 else f"{s:.1f} s" if s < 100 else f"{s:.0f} s"


def size_of(n):
    return f"{n / 1e9:.1f} GB" if n >= 0.995e9 else f"{n / 1e6:.0f} MB"


def rows(header, lines):
    out = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return out + ["| " + " | ".join(line) + " |" for line in lines]


class Run:
    def __init__(self, folder):
        self.all = {key(r): r for r in read(folder)}
        self.machine = self.all[("ours", None, "machine", None, None)]
        sizes = sorted({r["size"] for r in self.all.values() if r.get("size")})
        self.sizes = sizes

    def get(self, system, isa, stage, dtype, size):
        """A measurement; of the text encoders, which were measured once, for whatever size."""
        sizes = self.sizes if stage == "text" else [size]
        return next((r for s in sizes if (r := self.all.get((system, isa, stage, dtype, s)))), None)

    def isas(self):
        """The instruction sets that this project was measured on, each with its own name."""
        return {r["isa"]: r["isa_name"] for r in self.all.values() if r["system"] == "ours" and "isa_name" in r}

    def peak(self, isa):
        """The rates that nothing can be faster than, as far as they were measured."""
        return self.all.get(("ours", isa, "peak", None, None), {"gflops": {}})

    def floor(self, r):
        """The least seconds that a measured stage of ours can take; None where that is not known.

        The longer of its products at the rate of their types, and its weights at the rate of reading memory, which older
        runs lack.
        """
        peak, stage = self.peak(r["isa"]), r["stage"]
        rates, dtype, size = peak["gflops"], r["dtype"], r["size"]
        if stage == "picture":
            types = {part: self.default_type(r["isa"], part) if dtype in ("auto", "int8") else dtype for part in PIPE}
            if dtype == "int8":
                types.update(text="int8", unet="int8")
            parts = [self.get("ours", r["isa"], part, types[part], size) for part in PIPE]
            floors = [self.floor(part) if part else None for part in parts]
            return None if None in floors else sum(floors)
        work = GFLOP.get((stage, size))
        floats = self.default_type(r["isa"], stage) if dtype == "int8" else dtype
        if work is None or floats not in rates:
            return None
        int8 = GFLOP_INT8[stage, size] if dtype == "int8" and "int8" in rates else 0
        products = (work - int8) / rates[floats] + (int8 / rates["int8"] if int8 else 0)
        read = r["weight_bytes"] / peak["read_gbs"] / 1e9 if "weight_bytes" in r and "read_gbs" in peak else 0
        return max(products, read)

    def default_type(self, isa, stage):
        """The type of floats that `--dtype auto` takes; None where it is not known."""
        peak = self.peak(isa)
        only = list(peak["gflops"])[0] if len(peak["gflops"]) == 1 else None
        return peak.get("default_types", {}).get(stage, only)

    def words(self):
        m = self.machine
        dates = sorted({r["date"] for r in self.all.values()})
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        has = f" with {', '.join(m['instructions'])}" if m["instructions"] else ""
        revisions = sorted({r["revision"] for r in self.all.values() if r.get("revision")})
        runs = sorted({len(r["seconds"]) for r in self.all.values() if "seconds" in r})
        runs = " to ".join(map(str, dict.fromkeys([runs[0], runs[-1]]))) if runs else "no"
        text = (
            f"{m['cpu']} (family and model {m['family']}){has}, {m['cores']} cores, {m['memory_bytes'] / 2**30:.0f} GiB; "
            f"{when}, revision {', '.join(revisions)}. Batch 1, {m['threads']} threads, weights in the page cache, "
            f"medians of {runs} runs after one that warms up."
        )
        load = self.load()
        if load > m["threads"] + 1.5:
            text += f" **The machine was busy with other work (load up to {load:.0f}): read the times as upper bounds.**"
        return text

    def load(self):
        """The greatest while something was measured."""
        return max((r["load"] for r in self.all.values() if r["stage"] not in ("machine", "peak")), default=0)

    def own(self, isa):
        """This project on one instruction set: time, share of the floor and memory for each size."""
        lines = []
        for stage, words in STAGES.items():
            for dtype in ["auto", "bf16", "f32", "int8"]:
                found = [self.get("ours", isa, stage, dtype, size) for size in self.sizes]
                if not any(found):
                    continue
                if stage == "picture":
                    many = [("from start to first PNG", "from_start_s"), ("the next prompt, models open", "median_s")]
                    for what, field in many:
                        cells = [f"{words}, {TYPES[dtype]}: {what}"]
                        for r in found:
                            # Added up over the processes of the pipe; the same for both lines.
                            memory = size_of(r["peak_anon_bytes"]) if r and field == "from_start_s" else ""
                            share = self.share(r) if r and field == "median_s" else ""
                            cells += [seconds(r[field]) if r else "", share, memory]
                        lines.append(cells)
                    continue
                cells = [f"{words}, {TYPES[dtype]}"]
                for r in found:
                    cells += [seconds(r["median_s"]), self.share(r), size_of(r["peak_anon_bytes"])] if r else ["", "", ""]
                lines.append(cells)
        header = ["stage"]
        for size in self.sizes:
            header += [f"{size}x{size}", "of the floor", "memory"]
        peak = self.peak(isa)
        units = {kind: "GOP/s" if kind == "int8" else "GFLOP/s" for kind in peak["gflops"]}
        rates = ", ".join(f"{rate} {units[kind]} in {TYPES[kind].split()[0]}" for kind, rate in peak["gflops"].items())
        rates = f": the multiply units reach {rates} in this project's register loop" if rates else ""
        read = f"; memory is read at {peak['read_gbs']:.0f} GB/s" if "read_gbs" in peak else ""
        return [f"**`{self.isas()[isa]}`**{rates}{read}.", "", *rows(header, lines), ""]

    def caption(self):
        products = "what the stage's products take at the multiply units' rate, with direct convolutions"
        if any("read_gbs" in self.peak(isa) for isa in self.isas()):
            products = f"the longer of two: {products}; and what its weights take at the rate of reading memory"
        return (
            "**Of the floor**: the floor, which stands in brackets, over the time taken; at 100 % nothing is left to gain. "
            f"The floor is {products}. Above 100 % Winograd's convolutions save products."
        )

    def share(self, r):
        """How much of the floor's speed a stage reaches, and its floor."""
        floor = self.floor(r)
        return f"{100 * floor / r['median_s']:.0f} % ({seconds(floor)})" if floor else ""

    def systems(self, size, isa):
        """One dictionary for each system and type: the times of its stages, and its memory."""
        found = []
        for system, name in SYSTEMS.items():
            versions = next((r["versions"] for r in self.all.values() if r["system"] == system and "versions" in r), {})
            for dtype in ["bf16", "f16", "f32", "int8-bf16", "int8"]:
                get = lambda stage, types=(dtype,): next(
                    (r for t in types if (r := self.get(system, isa, stage, t, size))), None
                )
                # The whole pipe was measured with the default types, which are bfloat16 where the CPU has it.
                picture = get("picture", (dtype, "auto") if dtype == "bf16" else (dtype,))
                stages = {stage: get(stage) for stage in ["unet", "vae"]}
                words = TYPES[dtype]
                if system == "ours" and dtype == "bf16":
                    # The faster type of the VAE is the one that `--dtype auto` takes.
                    both = filter(None, [stages["vae"], get("vae", ("f32",))])
                    stages["vae"] = min(both, key=lambda r: r["median_s"], default=None)
                    if stages["vae"] and stages["vae"]["dtype"] == "f32":
                        words += ", VAE float32"
                if system == "ours" and dtype == "int8":
                    stages["vae"] = get("vae", (self.default_type(isa, "vae"),))  # copied as it is
                stages["text"] = get("text")
                if not (stages["unet"] or stages["vae"] and (system != "ours" or dtype == "f32")):
                    continue
                times = {stage: r["median_s"] if r else None for stage, r in stages.items()}
                parts = [r for r in stages.values() if r]
                memory = picture or max(parts, key=lambda r: r["peak_anon_bytes"])
                found.append(
                    {
                        "system": name,
                        "versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
                        "ours": system == "ours",
                        "dtype": words,
                        **times,
                        "open": picture["open_s"] if picture and "open_s" in picture else sum(r["open_s"] for r in parts),
                        "first": picture["from_start_s"] if picture else None,
                        "next": picture["median_s"] if picture else None,
                        "anon": memory["peak_anon_bytes"],
                        "rss": memory.get("peak_rss_bytes") if picture or system != "ours" else None,
                        "whole": picture is not None,
                    }
                )
        return found

    def peers(self, size, isa):
        lines = []
        time = lambda s: "" if s is None else seconds(s)
        for r in self.systems(size, isa):
            note = "" if r["whole"] else ", largest stage"
            name = f"{r['system']}, {r['dtype']}"
            lines.append(
                [
                    f"**{name}**" if r["ours"] else name,
                    *(time(r[stage]) for stage in ["open", "text", "unet", "vae", "next", "first"]),
                    size_of(r["anon"]) + note,
                    size_of(r["rss"]) if r["rss"] else "",
                ]
            )
        header = ["", "opening", "text encoders", "UNet, one step", "VAE decode", "a picture, models open", "first picture, from start"]
        return [*rows([*header, "memory beside file pages", "with file pages"], lines), ""]

    def busy(self, size, isa):
        """CPU time of all threads for each stage, where this project's was measured: what says something of a machine that
        others used."""
        lines, threads = [], self.machine["threads"]
        if not any("cpu_s" in (self.get("ours", isa, "unet", dtype, size) or {}) for dtype in TYPES):
            return []
        for system, name in SYSTEMS.items():
            for dtype in ["bf16", "f16", "f32", "int8-bf16", "int8"]:
                found = [self.get(system, isa, stage, dtype, size) for stage in PIPE]
                # stable-diffusion.cpp's log has no CPU time of its stages.
                if system == "sdcpp" or not any(r and "cpu_s" in r for r in found):
                    continue
                words = f"{name}, {TYPES[dtype]}"
                cells = [f"**{words}**" if system == "ours" else words]
                for r in found:
                    floor = self.floor(r) if r and system == "ours" else None
                    share = f" ({100 * floor * threads / r['cpu_s']:.0f} %)" if floor else ""
                    cells.append(seconds(r["cpu_s"]) + share if r and "cpu_s" in r else "")
                lines.append([*cells, size_of(max(r["peak_anon_bytes"] for r in found if r))])
        return [*rows(["", *(STAGES[stage] for stage in PIPE), "memory, largest stage"], lines), ""]

    def autoencoders(self, size, isa):
        """Time, CPU time of all threads and memory of encoding and decoding, where encoding was measured."""
        stages, lines, encodes = ["vae-encode", "vae", "tiny-vae-encode", "tiny-vae"], [], False
        for system, name in SYSTEMS.items():
            for dtype in ["bf16", "f32"]:
                found = [self.get(system, isa, stage, dtype, size) for stage in stages]
                if not any(found):
                    continue
                encodes = encodes or any(found[::2])
                words = f"{name}, {TYPES[dtype]}"
                cells = [f"**{words}**" if system == "ours" else words]
                for r in found:
                    cpu = f" ({seconds(r['cpu_s'])})" if r and "cpu_s" in r else ""
                    cells += [seconds(r["median_s"]) + cpu, size_of(r["peak_anon_bytes"])] if r else ["", ""]
                lines.append(cells)
        header = [""]
        for stage in stages:
            header += [STAGES[stage], "memory"]
        return [*rows(header, lines), ""] if encodes else []

    def markdown(self):
        out = [self.words(), ""]
        for isa in self.isas():
            out += self.own(isa)
        if any(self.peak(isa)["gflops"] for isa in self.isas()):
            out += [self.caption(), ""]
        for isa, name in self.isas().items():
            for size in self.sizes:
                if sum(not r["ours"] for r in self.systems(size, isa)) == 0:
                    continue
                only = "" if isa == "auto" else f", all pinned to {name}"
                out += [f"Beside other software on the same checkpoint, {size}x{size}{only}:", "", *self.peers(size, isa)]
        if self.load() > self.machine["threads"] + 1.5:
            for isa in self.isas():
                for size in self.sizes:
                    lines = self.busy(size, isa)
                    if lines:
                        out += [f"CPU time of all threads, {size}x{size}, in brackets of the floor's:", "", *lines]
        for isa, name in self.isas().items():
            for size in self.sizes:
                lines = self.autoencoders(size, isa)
                only = "" if isa == "auto" else f", all pinned to {name}"
                if lines:
                    out += [f"Autoencoders, {size}x{size}{only}, in brackets the CPU time of all threads:", "", *lines]
        versions = dict.fromkeys(r["versions"] for size in self.sizes for r in self.systems(size, "auto"))
        versions = ", ".join(filter(None, versions))
        out += [f"Versions: {versions}.", ""] if versions else []
        return "\n".join(out)


def draw(folder):
    """What a run's files are to hold, by name."""
    run = Run(folder)
    size = run.sizes[0]
    title = f"One picture of {size}x{size}, one step, {run.machine['threads']} threads, {run.machine['cpu']}"
    return {"table.md": run.markdown(), "chart.svg": chart.svg(title, run.systems(size, "auto"))}


def write(folder):
    for name, text in draw(folder).items():
        (pathlib.Path(folder) / name).write_text(text)
        print(pathlib.Path(folder) / name)


def with_block(text, block):
    """`text` with `block` between its marks."""
    marks = r"(<!-- bench: begin[^\n]*-->\n).*?(<!-- bench: end -->)"
    new, count = re.subn(marks, lambda found: found[1] + block + found[2], text, flags=re.S)
    if count != 1:
        raise SystemExit(f"table.py: expected one block between bench: begin and bench: end, found {count}")
    return new


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=pathlib.Path, help="folder with results.jsonl")
    p.add_argument("--readme", type=pathlib.Path, help="replace the block in this file")
    p.add_argument("--check", action="store_true", help="write nothing; fail if there were something to write")
    args = p.parse_args()
    files = {args.run / name: text for name, text in draw(args.run).items()}
    if args.readme:
        place = args.run.resolve().relative_to(args.readme.resolve().parent)
        block = f"![Time and memory of each system]({place}/chart.svg)\n\n{files[args.run / 'table.md']}"
        files[args.readme] = with_block(args.readme.read_text(), block)
    for path, text in files.items():
        if args.check and path.read_text() != text:
            raise SystemExit(f"{path} is not what the results draw: run {' '.join(sys.argv).replace(' --check', '')}")
        if not args.check:
            path.write_text(text)
            print(path)


if __name__ == "__main__":
    main()
