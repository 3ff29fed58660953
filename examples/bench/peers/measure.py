"""What the peers' programs share: one measurement of one stage in one process, told as one line of JSON.

Standard library only.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import threading
import time

AUTOENCODER = ["vae", "vae-encode", "tiny-vae", "tiny-vae-encode"]
PROMPT = "a photo of a red fox in the snow"


def options(dtypes, stages):
    p = argparse.ArgumentParser()
    p.add_argument("checkpoint", help="folder in diffusers layout, float16")
    p.add_argument("--stage", choices=stages, required=True)
    p.add_argument("--dtype", choices=dtypes, required=True)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--tiny-vae", help="folder of TAESDXL")
    p.add_argument("--cache", default="/tmp/turbo-bench-cache", help="folder for converted models")
    return p.parse_args()


def process_started():
    """When this process was started, in seconds since the epoch."""
    with open("/proc/self/stat") as f:
        ticks = int(f.read().rpartition(")")[2].split()[19])
    with open("/proc/uptime") as f:
        up = float(f.read().split()[0])
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK")


class Memory(threading.Thread):
    """The greatest memory of this process beside file pages (RssAnon), and with them (VmHWM)."""

    def __init__(self):
        super().__init__(daemon=True)
        self.anon = 0
        self.start()

    def sample(self):
        with open("/proc/self/status") as f:
            status = dict(line.split(":", 1) for line in f if ":" in line)
        kib = lambda key: int(status[key].split()[0]) * 1024
        self.anon = max(self.anon, kib("RssAnon"))
        return kib("VmHWM")

    def run(self):
        while True:
            self.sample()
            time.sleep(0.02)


def report(args, packages, open_stage):
    """Opens a stage with `open_stage()`, which gives a function to time, prints the figures, and gives them.

    `packages`: those whose versions are told.
    """
    memory = Memory()
    begin = time.perf_counter()
    step = open_stage()
    opened = time.perf_counter() - begin
    seconds, busy = [], []
    first = None
    for _ in range(args.runs + 1):
        begin, cpu = time.perf_counter(), time.process_time()
        step()
        seconds.append(time.perf_counter() - begin)
        busy.append(time.process_time() - cpu)
        if first is None:
            first = time.time() - process_started()
    figures = {
        "stage": args.stage,
        "dtype": args.dtype,
        "size": args.size,
        "threads": args.threads,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "open_s": round(opened, 3),
        "first_s": round(seconds[0], 3),
        "from_start_s": round(first, 3),
        "seconds": [round(s, 4) for s in seconds[1:]],
        "median_s": round(statistics.median(seconds[1:]), 4),
        # Of all threads: far below threads x seconds where other work had the cores.
        "cpu_s": round(statistics.median(busy[1:]), 4),
        "peak_rss_bytes": memory.sample(),
        "peak_anon_bytes": memory.anon,
    }
    print(json.dumps(figures), flush=True)
    return figures
