#!/usr/bin/env python3
"""What 10, 1,000 and 100,000 hosts do with a file of records: a simulation of parallel.sh and slurm.sh.

    scale.py                                    the table that SCALE.md shows
    scale.py --joblog FILE [--dies HOST=TIME]   a run of parallel.sh beside its simulation; status 1 if they are apart

Records are cut into jobs, and hosts that are free take the next one. A host draws a job's pictures one after the other,
at its own speed. A host that dies leaves the pictures that it has finished; the rest of its job is given out again.
The machine where parallel.sh runs encodes all prompts and writes all PNGs, which is a queue that all hosts stand in.
"""

import argparse
import heapq
import math
import random
import sys
from collections import deque
from dataclasses import dataclass, field

# Measured; SCALE.md says how.
PICTURE_SECONDS = [3.76, 9.50, 14.4]  # CPUs with AMX, with AVX-512 BF16, with AVX2; two cores each
OPEN_SECONDS = 1.0  # of a job, before its first picture
HEAD_CORES = 2
HEAD_JOB = 0.07  # CPU seconds where parallel.sh runs: for GNU parallel and opening the text encoders, a job,
HEAD_PICTURE = 0.33 + 0.022  # and for a prompt and a PNG
RECORD, EMBEDDINGS, IMAGE, PNG = 100, 636_248, 786_800, 650_000  # bytes
WEIGHTS = 6.9e9
# Assumed.
HOURS_BETWEEN_FAILURES = 500.0
SECONDS_TO_NOTICE = 60.0
SECONDS_TO_REPAIR = 600.0
PICTURES_PER_HOST = 80


@dataclass
class Host:
    picture: float  # seconds
    opening: float = OPEN_SECONDS  # seconds, a job
    dies: float = math.inf  # when, for good


@dataclass
class Result:
    seconds: float = 0.0
    jobs: list = field(default_factory=list)  # finished by each host
    deaths: int = 0
    lost: int = 0  # pictures that a dying host had begun
    head: float = 0.0  # seconds in which the head was busy


def simulate(hosts, jobs, head_job=0.0, head_picture=0.0, hours=math.inf, notice=SECONDS_TO_NOTICE, seed=1):
    """`jobs` are numbers of pictures; head_job and head_picture, seconds of all the head's cores; `hours`, from one failure
    of a host to its next; `notice`, seconds until a death is seen."""
    chance = random.Random(seed)
    waiting = deque(jobs)
    result = Result(jobs=[0] * len(hosts))
    head_free = 0.0
    idle = []
    # What happens next: (time, kind, host, pictures).
    free, returned = 0, 1
    events = [(0.0, free, host, 0) for host in range(len(hosts))]

    def start(now, host):
        nonlocal head_free
        me, pictures = hosts[host], waiting.popleft()
        work = head_job + pictures * head_picture
        began = max(now, head_free)
        head_free = began + work
        result.head += work
        seconds = me.opening + pictures * me.picture
        death = min(me.dies - began, chance.expovariate(1 / (hours * 3600)) if hours < math.inf else math.inf)
        if death >= seconds:
            heapq.heappush(events, (began + seconds, free, host, pictures))
            return
        done = min(pictures - 1, max(0, int((death - me.opening) / me.picture)))
        result.deaths += 1
        result.lost += 1
        heapq.heappush(events, (began + death + notice, returned, host, pictures - done))
        if me.dies == math.inf:
            heapq.heappush(events, (began + death + SECONDS_TO_REPAIR, free, host, 0))

    while events:
        now, kind, host, pictures = heapq.heappop(events)
        if kind == returned:
            waiting.append(pictures)
            if idle:
                start(now, idle.pop())
            continue
        if pictures:
            result.jobs[host] += 1
            result.seconds = now
        if now >= hosts[host].dies:
            continue
        if waiting:
            start(now, host)
        else:
            idle.append(host)
    assert not waiting, "no host is left"
    return result


def table():
    print(f"{'hosts':>7} {'way':<28} {'pictures':>9} {'minutes':>8} {'at best':>8} {'of best':>8} {'died':>5} {'lost':>5}"
          f" {'head':>5} {'MB/s out':>9} {'MB/s in':>8} {'files/s':>8}")
    for count in [10, 40, 1_000, 100_000]:
        hosts = [Host(PICTURE_SECONDS[k % len(PICTURE_SECONDS)]) for k in range(count)]
        pictures = count * PICTURES_PER_HOST
        best = pictures / sum(1 / host.picture for host in hosts)

        def row(way, size, head_job=0.0, head_picture=0.0, sent=0, came=0):
            jobs = [size] * (pictures // size)
            run = simulate(hosts, jobs, head_job, head_picture, HOURS_BETWEEN_FAILURES)
            rate = pictures / run.seconds
            head = f"{run.head / run.seconds:>5.0%}" if head_job else f"{'-':>5}"
            print(f"{count:>7,} {way:<28} {pictures:>9,} {run.seconds / 60:>8.1f} {best / 60:>8.1f}"
                  f" {best / run.seconds:>8.0%} {run.deaths:>5} {run.lost:>5} {head} {rate * sent / 1e6:>9.2f}"
                  f" {rate * came / 1e6:>8.2f} {rate:>8.1f}")

        head = HEAD_JOB / HEAD_CORES, HEAD_PICTURE / HEAD_CORES
        row("parallel.sh, 8 a job", 8, *head, EMBEDDINGS, IMAGE)
        row("slurm.sh, a task a host", PICTURES_PER_HOST, sent=RECORD, came=PNG)
        row("slurm.sh, 10 tasks a host", PICTURES_PER_HOST // 10, sent=RECORD, came=PNG)


def replay(path, dies, tolerance):
    """Prints what each host of a joblog did beside what the simulation gives it; whether they agree."""
    with open(path, encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.read().splitlines()[1:]]
    runs = [(row[1], float(row[2]), float(row[3])) for row in rows]
    begin = min(start for _, start, _ in runs)
    took = max(start + seconds for _, start, seconds in runs) - begin
    names = sorted({name for name, _, _ in runs})
    # A job counts as one picture: what is in it the joblog does not say.
    hosts = []
    for name in names:
        own = [seconds for host, _, seconds in runs if host == name]
        hosts.append(Host(sum(own) / len(own), 0.0, dies.get(name, math.inf) - begin))
    run = simulate(hosts, [1] * len(runs), notice=0.0)  # a connection that is closed is seen at once
    print(f"{'host':<12} {'s a job':>8} {'jobs':>5} {'simulated':>9}")
    good = abs(run.seconds - took) <= tolerance * took
    for name, host, simulated in zip(names, hosts, run.jobs):
        jobs = sum(1 for other, _, _ in runs if other == name)
        print(f"{name:<12} {host.picture:>8.2f} {jobs:>5} {simulated:>9}")
        good &= abs(jobs - simulated) <= max(1, tolerance * jobs)
    print(f"seconds: {took:.2f}, simulated {run.seconds:.2f}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--joblog", help="of a run of parallel.sh")
    parser.add_argument("--dies", action="append", default=[], metavar="HOST=TIME", help="a host that was killed in it, when")
    parser.add_argument("--tolerance", type=float, default=0.25, help="how far apart they may be (default 0.25)")
    flags = parser.parse_args()
    if not flags.joblog:
        table()
        return 0
    dies = {host: float(time) for host, time in (text.split("=") for text in flags.dies)}
    return 0 if replay(flags.joblog, dies, flags.tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
