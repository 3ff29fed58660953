#!/usr/bin/env python3
"""Measures every stage of the pipe, and other software on the same checkpoint.

    examples/bench/run.py CHECKPOINT OUT [--sizes 512 1024] [--isas auto avx2] [--peers diffusers openvino sdcpp candle]

CHECKPOINT is a folder in diffusers layout; examples/bench/README.md tells how to make one. Each measurement is a line
of OUT/results.jsonl, written when it is done. Started again, it measures only what is not there; `--again` measures
anew what the other options name. Then it draws OUT/table.md and OUT/chart.svg (table.py). On a machine that others use
too, `--rounds 3` measures all systems in turn three times over, so that a busy minute does not fall on one of them.

Python 3.8 or newer, nothing else. Linux: memory is read from /proc.
"""

import argparse
import array
import datetime
import json
import os
import pathlib
import random
import re
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

import table

HERE = pathlib.Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PEERS = {
    # name: its number types
    "diffusers": ["f32", "bf16"],
    "openvino": ["f32", "bf16", "int8", "int8-bf16"],
    "sdcpp": ["f16"],
    "candle": ["f32"],
}
PROMPTS = ["a photo of a red fox in the snow", "a lighthouse on a cliff at dusk, oil on canvas"]
TOOLS = ["encode-text", "denoise", "decode-latents", "to-png"]


def git(*words):
    return subprocess.run(["git", *words], cwd=PROJECT, stdout=subprocess.PIPE, text=True).stdout.strip()


def merge(one, two):
    """A measurement and its repetition: all times, and the most memory."""
    both = {**two, "rounds": one.get("rounds", 1) + 1}
    for name in ["seconds", "first_pngs_s", "from_starts_s"]:
        if name in two:
            both[name] = one[name] + two[name]
    if "seconds" in two:
        both["median_s"] = statistics.median(both["seconds"])
    for name in [name for name in two if name.startswith("peak_")] + ["load"]:
        both[name] = max(one[name], two[name])
    for name in ["open_s", "first_s", "cpu_s"]:
        if name in one and name in two:
            both[name] = min(one[name], two[name])
    for name in ["first_pngs_s", "from_starts_s"]:
        if name in two:
            both["from_start_s"] = statistics.median(both[name])
    if "gflops" in two:
        both["gflops"] = {name: max(rate, one["gflops"].get(name, 0)) for name, rate in two["gflops"].items()}
        both["read_gbs"] = max(one.get("read_gbs", 0), two["read_gbs"])
    return both


class Results:
    """The lines of results.jsonl. A later line replaces an earlier one of the same measurement."""

    def __init__(self, folder, again):
        self.again, self.round = again, 1
        self.path = folder / "results.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.known = {table.key(r): r for r in table.read(folder)}
        self.revision = git("rev-parse", "--short", "HEAD") + ("+" if git("diff", "HEAD", "--", "shared", "tools") else "")

    def lack(self, what):
        """Whether something is to be measured in this round."""
        known = self.known.get(table.key(what))
        return known is None or known.get("rounds", 1) < self.round or self.again and self.round == 1

    def add(self, **record):
        record["date"] = datetime.date.today().isoformat()
        if record["system"] == "ours":
            record["revision"] = self.revision
        record["load"] = os.getloadavg()[0]
        known = self.known.get(table.key(record))
        if self.round > 1 and known:
            record = merge(known, record)
        self.known[table.key(record)] = record
        with open(self.path, "a") as f:
            f.write(json.dumps(record) + "\n")
        print(json.dumps(record), file=sys.stderr)


# Our own tools


class Memory(threading.Thread):
    """The greatest memory beside file pages (RssAnon) of each process, and of all together, also with file pages
    (RssFile), sampled every 20 ms."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.peaks = dict.fromkeys(pids, 0)
        self.together = self.with_files = 0
        self.running = True
        self.start()

    def run(self):
        while self.running:
            now = files = 0
            for pid in self.peaks:
                try:
                    with open(f"/proc/{pid}/status") as f:
                        found = dict(re.findall(r"(RssAnon|RssFile):\s+(\d+)", f.read()))
                    anon = int(found["RssAnon"]) * 1024
                except (OSError, KeyError):  # gone, or about to be
                    continue
                self.peaks[pid] = max(self.peaks[pid], anon)
                now += anon
                files += int(found["RssFile"]) * 1024
            self.together = max(self.together, now)
            self.with_files = max(self.with_files, now + files)
            time.sleep(0.02)

    def stop(self):
        self.running = False
        self.join()


def frame(kind, tensors):
    """A frame of the stream, as shared/wire/PROTOCOL.md has it: names and shapes, filled with normal numbers."""
    header, body = {"__metadata__": {"format": "pt", "version": "1", "kind": kind}}, b""
    for name, shape in tensors.items():
        count = 1
        for n in shape:
            count *= n
        data = array.array("f", (random.gauss(0, 1) for _ in range(count))).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def cpu_between(before):
    """CPU time of the child processes that ended since the usage `before`."""
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(now.ru_utime + now.ru_stime - before.ru_utime - before.ru_stime, 4)


def warm(folder):
    """Reads the checkpoint, so that it is in the page cache."""
    for path in pathlib.Path(folder).rglob("*.safetensors"):
        with open(path, "rb", buffering=0) as f:
            while f.read(1 << 24):
                pass


# Of which folder of a checkpoint a stage reads which tensors, by the beginnings of their names; all but a few rows of the
# tables of tokens are left alone.
READS = {
    "text": [("text_encoder", ("text_model.encoder.",)), ("text_encoder_2", ("text_model.encoder.", "text_projection"))],
    "unet": [("unet", ("",))],
    "vae": [("vae", ("decoder.", "post_quant_conv."))],
    "vae-encode": [("vae", ("encoder.", "quant_conv."))],
    "tiny-vae": [("taesdxl", ("decoder.",))],
    "tiny-vae-encode": [("taesdxl", ("encoder.",))],
}


def weight_bytes(checkpoint, stage):
    """Bytes of the weights that a stage reads, by the headers of their files."""
    total = 0
    for folder, beginnings in READS[stage]:
        files = list((pathlib.Path(checkpoint) / folder).glob("*.safetensors"))
        half = [path for path in files if ".fp16." in path.name]
        for path in half or files:
            with open(path, "rb") as f:
                header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
            for name, tensor in header.items():
                if name.startswith(beginnings) and name != "__metadata__":
                    begin, end = tensor["data_offsets"]
                    total += end - begin
    return total


class Ours:
    def __init__(self, args, isa):
        self.args, self.isa = args, isa
        self.env = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
        if isa != "auto":
            self.env["TURBO_ISA"] = isa

    def model(self, dtype):
        """The flags for a row of the table: a number type on the checkpoint, or its int8 weights with default types."""
        checkpoint, dtype = (self.args.int8, "auto") if dtype == "int8" else (self.args.checkpoint, dtype)
        return ["--model", str(checkpoint), "--dtype", dtype, "--threads", str(self.args.threads)]

    def tool(self, name, *words):
        return [str(self.args.bin / name), *map(str, words), "--progress", "json"]

    def peaks(self):
        """What nothing can be faster than, by this project's own loops: the instruction set's name, GFLOP/s of the multiply
        units for each number type, GB/s at which memory is read, and which type is the default one for each stage."""
        command = ["cargo", "bench", "--locked", "-q", "-p", "turbo-kernels", "--", "only the peak"]
        out = subprocess.run(command, cwd=PROJECT, env=self.env, check=True, stdout=subprocess.PIPE, text=True).stdout
        name = re.search(r"instruction set (\S+?),", out)[1]
        products, convolutions = re.search(r"faster floats: (\w+), .* (\w+)", out).groups()
        types = {"text": products.lower(), "unet": products.lower(), "vae": convolutions.lower()}
        found = re.findall(r"(\w+): peak (\d+) G(?:FL)?OP/s", out)
        # Whatever way there is to multiply int8: there is one at most.
        rates = {"int8" if kind.startswith("Int8") else kind.lower(): int(rate) for kind, rate in found}
        read = float(re.search(r"read: ([\d.]+) GB/s", out)[1])
        return {"isa_name": name, "gflops": rates, "read_gbs": read, "default_types": types}

    def stage(self, command, stream, step=lambda event: event["compute_s"]):
        """One tool over a stream of frames: the first opens the model and is told apart from the others."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryFile() as file:
            file.write(stream)
            file.seek(0)
            tool = subprocess.Popen(
                command, stdin=file, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=self.env, text=True
            )
            memory = Memory([tool.pid])
            lines = tool.stderr.read()
            memory.stop()
        if tool.wait() != 0:
            raise RuntimeError(lines)
        events = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        seconds = [step(event) for event in events]
        return {
            "open_s": events[0]["open_s"],
            "first_s": seconds[0],
            "seconds": seconds[1:],
            "median_s": statistics.median(seconds[1:]),
            # Of the whole process, opening included, shared among its frames.
            "cpu_s": round(cpu_between(before) / len(events), 4),
            "peak_anon_bytes": memory.peaks[tool.pid],
            "peak_rss_bytes": events[-1]["max_rss_bytes"],
        }

    def text(self, size, dtype):
        prompts = "".join(f"{PROMPTS[0]} {n}\n" for n in range(self.args.runs + 1))
        return self.stage(self.tool("encode-text", *self.model(dtype)), prompts.encode())

    def unet(self, size, dtype):
        shapes = {"prompt_embeds": [1, 77, self.args.width], "pooled_prompt_embeds": [1, self.args.pooled]}
        stream = b"".join(frame("text-embeddings", shapes) for _ in range(self.args.runs + 1))
        command = self.tool("denoise", *self.model(dtype), "--seed", 1, "--width", size, "--height", size)
        return self.stage(command, stream, lambda event: event["step_s"][0])

    def vae(self, size, dtype, *which):
        shapes = {"latents": [1, 4, size // 8, size // 8]}
        stream = b"".join(frame("latents", shapes) for _ in range(self.args.runs + 1))
        return self.stage(self.tool("decode-latents", *self.model(dtype), *which), stream)

    def tiny_vae(self, size, dtype):
        return self.vae(size, dtype, "--vae", self.args.tiny_vae)

    def vae_encode(self, size, dtype, *which):
        stream = os.urandom(size * size * 3 * (self.args.runs + 1))
        command = self.tool("encode-image", *self.model(dtype), *which, "--raw", f"{size}x{size}", "-")
        return self.stage(command, stream)

    def tiny_vae_encode(self, size, dtype):
        return self.vae_encode(size, dtype, "--vae", self.args.tiny_vae)

    def picture(self, size, dtype):
        """The pipe: from its start to the first PNG, and from a second prompt to the second PNG."""
        runs = [self.pipe(size, dtype) for _ in range(self.args.runs)]
        firsts, seconds, anon, together, with_files, cpu = zip(*runs)
        return {
            "first_pngs_s": firsts,
            "from_start_s": statistics.median(firsts),
            "seconds": seconds,
            "median_s": statistics.median(seconds),
            # Each process at its own greatest, added up; and the greatest of all together, which is less.
            "peak_anon_bytes": max(anon),
            "peak_anon_together_bytes": max(together),
            "peak_rss_bytes": max(with_files),
            "cpu_s": min(cpu),
        }

    def pipe(self, size, dtype):
        """Two prompts through the four tools, the second when the first is drawn: their times, the memory, and the CPU time
        of a picture."""
        model = self.model(dtype)
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/errors", "w+b") as errors:
            commands = [
                self.tool("encode-text", *model),
                self.tool("denoise", *model, "--seed", 1, "--width", size, "--height", size),
                self.tool("decode-latents", *model),
                self.tool("to-png", "-o", f"{folder}/%d.png"),
            ]
            tools, times = [], []
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            try:
                begin = time.perf_counter()
                for n, command in enumerate(commands):
                    last = n == len(commands) - 1
                    tools.append(
                        subprocess.Popen(
                            command,
                            stdin=tools[-1].stdout if tools else subprocess.PIPE,
                            stdout=None if last else subprocess.PIPE,
                            stderr=subprocess.PIPE if last else errors,
                            env=self.env,
                        )
                    )
                    if n > 0:
                        tools[n - 1].stdout.close()
                memory = Memory([tool.pid for tool in tools])
                for prompt in PROMPTS:
                    tools[0].stdin.write(f"{prompt}\n".encode())
                    tools[0].stdin.flush()
                    # to-png tells of each picture when it is written.
                    event = tools[-1].stderr.readline()
                    if not event.startswith(b"{"):
                        errors.seek(0)
                        raise RuntimeError((errors.read() + event).decode())
                    times.append(round(time.perf_counter() - begin, 4))
                    begin = time.perf_counter()
                memory.stop()
                tools[0].stdin.close()
                if any([tool.wait() for tool in tools]):
                    raise RuntimeError("a tool of the pipe failed")
            finally:
                for tool in tools:
                    if tool.poll() is None:
                        tool.kill()
        cpu = cpu_between(before) / len(PROMPTS)
        return *times, sum(memory.peaks.values()), memory.together, memory.with_files, cpu

    def measure(self, results):
        args = self.args
        stages = {"text": self.text, "unet": self.unet, "vae": self.vae, "vae-encode": self.vae_encode}
        stages["picture"] = self.picture
        if args.tiny_vae:
            stages.update({"tiny-vae": self.tiny_vae, "tiny-vae-encode": self.tiny_vae_encode})
        name, types = self.isa, ["f32"]
        if not args.quick:
            peak = {"system": "ours", "isa": self.isa, "stage": "peak"}
            if results.lack(peak):
                results.add(**peak, **self.peaks())
            known = results.known[table.key(peak)]
            name, types = known["isa_name"], [kind for kind in known["gflops"] if kind != "int8"]
        warm(args.checkpoint)
        for size in args.sizes:
            for stage, run in stages.items():
                # The text encoders do not know the picture's size.
                if args.stages and stage not in args.stages or stage == "text" and size != args.sizes[0]:
                    continue
                int8 = ["int8"] if stage in table.INT8_STAGES else []
                for dtype in {"picture": ["auto", "f32"]}.get(stage, types) + int8:
                    what = {"system": "ours", "isa": self.isa, "stage": stage, "dtype": dtype, "size": size}
                    if not results.lack(what):
                        continue
                    checkpoint = args.checkpoint
                    if dtype == "int8":
                        checkpoint = self.int8()
                    record = {**what, "isa_name": name, "threads": args.threads}
                    if stage in READS and os.path.isdir(checkpoint):
                        record["weight_bytes"] = weight_bytes(checkpoint, stage)
                    try:
                        results.add(**record, **run(size, dtype))
                    except (RuntimeError, OSError) as e:
                        print(f"run.py: left out {what}: {e}", file=sys.stderr)

    def int8(self):
        """The folder of the checkpoint with int8 weights, which is made if it is not there, and read once."""
        if not self.args.int8.exists():
            part = self.args.int8.with_name(self.args.int8.name + ".part")
            command = [self.args.bin / "quantize-model", self.args.checkpoint, "-o", part]
            subprocess.run(command, check=True)
            part.rename(self.args.int8)
        warm(self.args.int8)
        return self.args.int8


# Other software


def measure_peer(args, name, isa, results):
    """One process for each measurement; it prints lines of JSON."""
    env = dict(os.environ)
    if isa == "avx2":
        # What PyTorch, oneDNN (which OpenVINO has inside) and MKL have to pin an instruction set.
        env.update(ATEN_CPU_CAPABILITY="avx2", ONEDNN_MAX_CPU_ISA="AVX2", MKL_ENABLE_INSTRUCTIONS="AVX2")
    stages = table.STAGES
    if name == "candle":
        stages = ["unet", "vae"]
    elif name == "sdcpp":
        stages = ["picture"]  # which tells of the others too
    if not args.tiny_vae:
        stages = [stage for stage in stages if not stage.startswith("tiny-vae")]
    warm(args.checkpoint)
    for dtype in PEERS[name]:
        bf16 = dtype.endswith("bf16")
        if isa == "avx2" and (bf16 or name in ("sdcpp", "candle")):
            continue  # no bfloat16 in AVX2; the others cannot be pinned
        if bf16 and not any("BF16" in has for has in machine(args)["instructions"]):
            continue  # neither has this CPU
        for size in args.sizes:
            for stage in stages:
                if args.stages and stage not in args.stages or stage == "text" and size != args.sizes[0]:
                    continue
                what = {"system": name, "isa": isa, "stage": stage, "dtype": dtype, "size": size}
                if not results.lack(what):
                    continue
                command = [str(HERE / "peers/run.sh"), name, args.checkpoint, "--cache", str(args.cache)]
                command += ["--stage", stage, "--dtype", dtype, "--size", str(size)]
                command += ["--runs", str(args.runs), "--threads", str(args.threads)]
                if args.tiny_vae:
                    command += ["--tiny-vae", args.tiny_vae]
                print("+", *command, file=sys.stderr)
                try:
                    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=args.patience)
                except subprocess.TimeoutExpired:
                    print(f"run.py: left out {what}: not done in {args.patience} s", file=sys.stderr)
                    continue
                if done.returncode != 0:
                    print(f"run.py: left out {what}: exit status {done.returncode}", file=sys.stderr)
                    continue
                for line in done.stdout.splitlines():
                    if line.startswith("{"):
                        record = json.loads(line)
                        if "from_start_s" in record:
                            record["from_starts_s"] = [record["from_start_s"]]
                        results.add(system=name, isa=isa, **record)


def machine(args):
    with open("/proc/cpuinfo") as f:
        info = f.read()
    with open("/proc/meminfo") as f:
        memory = int(f.readline().split()[1]) * 1024
    flags = set(re.search(r"flags\s*:(.*)", info)[1].split()) if "flags" in info else set()
    names = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16"}
    found = re.search(r"model name\s*:\s*(.*)", info)
    return {
        "stage": "machine",
        "system": "ours",
        "cpu": found[1].strip() if found else os.uname().machine,
        "family": " ".join(re.search(rf"{word}\s*:\s*(\d+)", info)[1] for word in ["cpu family", "model"] if found),
        "instructions": [name for flag, name in names.items() if flag in flags],
        "cores": os.cpu_count(),
        "threads": args.threads,
        "memory_bytes": memory,
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", help="a folder in diffusers layout")
    p.add_argument("out", type=pathlib.Path, help="folder for the results")
    p.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    p.add_argument("--isas", nargs="+", default=["auto", "avx2"], help="auto, or what TURBO_ISA takes")
    p.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    p.add_argument("--stages", nargs="+", choices=table.STAGES, help="default: all")
    p.add_argument("--without-ours", action="store_true", help="measure the peers only")
    p.add_argument("--int8", type=pathlib.Path, help="the checkpoint with int8 weights; without it, OUT/int8 is made")
    p.add_argument("--again", action="store_true", help="measure what is there already")
    p.add_argument("--runs", type=int, default=5, help="measured runs, after one that warms up (default: 5)")
    p.add_argument("--rounds", type=int, default=1, help="repetitions of it all, system by system (default: 1)")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--patience", type=int, default=3600, help="seconds for one measurement of a peer (default: 3600)")
    p.add_argument("--bin", type=pathlib.Path, help="folder of the tools; without it, they are built")
    p.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/sdxl-turbo-bench")
    p.add_argument("--quick", action="store_true", help="a few seconds, to see that everything works: two runs, no peak")
    args = p.parse_args()
    if args.quick:
        args.runs, args.isas, args.peers = 2, ["auto"], []
    if args.bin is None:
        subprocess.run(["cargo", "build", "--release", "--locked", "-q"], cwd=PROJECT, check=True)
        args.bin = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")) / "release"
    checkpoint = pathlib.Path(args.checkpoint)
    args.width, args.pooled, args.tiny_vae = 2048, 1280, None
    if checkpoint.exists():
        args.checkpoint = str(checkpoint.resolve())
        unet = json.loads((checkpoint / "unet/config.json").read_text())
        args.width = unet["cross_attention_dim"]
        args.pooled = unet["projection_class_embeddings_input_dim"] - 6 * unet["addition_time_embed_dim"]
        if (checkpoint / "taesdxl").exists():
            args.tiny_vae = str(checkpoint.resolve() / "taesdxl")

    if args.int8 is None:
        args.int8 = args.out / "int8"
    args.int8 = args.int8.resolve()

    results = Results(args.out, args.again)
    results.add(**machine(args))
    for results.round in range(1, args.rounds + 1):
        if not args.without_ours:
            for isa in args.isas:
                Ours(args, isa).measure(results)
        for name in args.peers:
            for isa in args.isas:
                if isa in ("auto", "avx2"):
                    measure_peer(args, name, isa, results)
    table.write(args.out)


main()
