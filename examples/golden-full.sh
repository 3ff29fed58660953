#!/usr/bin/env bash
# Compares every stage on the published shapes with what diffusers computed, and prints the errors and the times.
#
#     examples/golden-full.sh CHECKPOINT GOLDEN_STEM [DEVICE] [DTYPE] [STAGE]...
#
# CHECKPOINT is a folder in diffusers layout; GOLDEN_STEM.safetensors has the expected values and GOLDEN_STEM.json
# the cases. DEVICE: cpu (default) or candle. DTYPE: f32 (default), bf16, f16, auto. STAGE: text, unet, decode, encode.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --release --locked -q -p turbo-sdxl --example golden_full -- "$@"
