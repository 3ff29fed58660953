"""Reads and writes the tools' streams: frames back to back, each one safetensors file.

Needs numpy and safetensors. The format is described in shared/wire/PROTOCOL.md.
"""

import json
import sys

import numpy
from safetensors.numpy import load, save

HEADER_LIMIT = 1 << 20


def read_frames(stream=sys.stdin.buffer):
    """Yields the metadata (a dict of strings) and the tensors (a dict of arrays) of each frame.

    Frames come one at a time, so that a stream of any length fits. One that is cut, or is none, ends the program, as it
    ends the tools. numpy has no bfloat16; for frames with it take `load` from safetensors.torch.
    """
    number = 0
    while prefix := stream.read(8):
        size = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or size > HEADER_LIMIT:
            fail(number, f"expected the length of a header, found {prefix!r}")
        header = exactly(stream, size, number)
        entries = json.loads(header)
        metadata = entries.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        yield metadata, load(prefix + header + exactly(stream, end, number))
        number += 1


def write_frame(tensors, metadata, stream=sys.stdout.buffer):
    """Writes a frame, and flushes it, so that the next tool begins at once."""
    tensors = {name: numpy.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    stream.write(save(tensors, metadata))
    stream.flush()


def exactly(stream, size, number):
    found = stream.read(size)
    if len(found) < size:
        fail(number, f"expected {size} bytes, found the end of the input after {len(found)}")
    return found


def fail(number, what):
    sys.exit(f"{sys.argv[0]}: frame {number}: {what}")
