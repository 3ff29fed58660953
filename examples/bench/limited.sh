#!/bin/sh
# Does denoise still run where the weights do not fit memory? Runs a step inside a memory control group, file pages
# included, and compares its latents with those of a run without a limit.
#
#     sudo examples/bench/limited.sh CHECKPOINT [LIMIT]
#
# LIMIT is in bytes or like 2G, the default. Needs root on Linux, for the control group, and the tools on PATH.
set -eu
model=$1 limit=${2:-2G}
work=$(mktemp -d)
group=
trap 'rm -rf "$work"; [ -z "$group" ] || rmdir "$group"' EXIT

root=/sys/fs/cgroup
if [ -e $root/cgroup.controllers ]; then
  group=$root/sdxl-turbo-limited
  mkdir "$group"
  echo "$limit" > "$group/memory.max"
  peak=memory.peak
else
  group=$root/memory/sdxl-turbo-limited
  mkdir "$group"
  echo "$limit" > "$group/memory.limit_in_bytes"
  peak=memory.max_usage_in_bytes
fi

encode-text --model "$model" "a red fox" > "$work/text"
denoise --model "$model" --seed 1 < "$work/text" > "$work/free"
# Pages that are in memory already are counted where they came from, so they have to go first.
for file in "$model"/unet/*.safetensors; do
  dd if="$file" iflag=nocache count=0 2> "$work/dd" || cat "$work/dd"
done
echo "limit $limit"
time sh -c 'echo $$ > "$0/cgroup.procs" && exec denoise --model "$1" --seed 1 --progress json < "$2" > "$3"' \
  "$group" "$model" "$work/text" "$work/limited"
echo "peak of the group: $(cat "$group/$peak") bytes"
cmp "$work/free" "$work/limited" && echo "the same latents, byte for byte"
