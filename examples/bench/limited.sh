#!/bin/sh
# Does the pipe still run, and as fast, where the weights do not fit memory? Draws a picture inside a memory control
# group, file pages and all four tools included, with nothing in the page cache; without a limit, with everything there
# (warm); and without a limit, with nothing there (cold), which tells the limit's share from the disk's. Tells the ratios
# of the times, what was read from disk beside the size of the weights, and whether the pictures are the same.
#
#     sudo examples/bench/limited.sh CHECKPOINT [LIMIT [ROUNDS]]
#
# CHECKPOINT is a folder in diffusers layout, such as quantize-model writes. LIMIT is in bytes or like 4G, the default;
# ROUNDS is 3: with and without the limit in turn, so that other work on the machine falls on both; the least times
# count. Needs root on Linux, for the control group (version 1 or 2), and the tools on PATH.
set -eu
model=$1 limit=${2:-4G} rounds=${3:-3}
work=$(mktemp -d)
group=
trap 'rm -rf "$work"; [ -z "$group" ] || rmdir "$group"' EXIT

root=/sys/fs/cgroup
if [ -e $root/cgroup.controllers ]; then
  group=$root/sdxl-turbo-limited
  mkdir "$group"
  echo "$limit" > "$group/memory.max"
  # Without swap, so that the limit is one.
  [ ! -e "$group/memory.swap.max" ] || echo 0 > "$group/memory.swap.max"
  peak=memory.peak
else
  group=$root/memory/sdxl-turbo-limited
  mkdir "$group"
  echo "$limit" > "$group/memory.limit_in_bytes"
  peak=memory.max_usage_in_bytes
fi

weights() {
  find -L "$model"/text_encoder "$model"/text_encoder_2 "$model"/unet "$model"/vae -name '*.safetensors'
}

# draw PICTURE [GROUP]: adds a line to PICTURE.figures: seconds, bytes read from disk, CPU seconds. A shell has the bytes
# of those it waited for in its own account.
draw() {
  sh -c '
    [ -z "$3" ] || echo $$ > "$3/cgroup.procs"
    begin=$(date +%s.%N)
    encode-text --model "$1" "a red fox" | denoise --seed 1 | decode-latents | to-png > "$2"
    end=$(date +%s.%N)
    cpu=$(awk "{ print (\$16 + \$17) / $(getconf CLK_TCK) }" /proc/$$/stat)
    bytes=$(awk "/^read_bytes/ { print \$2 }" /proc/$$/io)
    echo "$begin $end $bytes $cpu"
  ' draw "$model" "$1" "${2-}" | awk '{ printf "%.2f %.0f %.2f\n", $2 - $1, $3, $4 }' >> "$1.figures"
  tail -n 1 "$1.figures" | awk -v what="$(basename "$1")" '{ printf "%s: %.1f s, CPU time %.1f s, %.2f GB read from disk\n", what, $1, $3, $2 / 1e9 }'
}

# Pages that are in memory already are counted where they came from, so they have to go before a limit.
forget() {
  weights | while read -r file; do dd if="$file" iflag=nocache count=0 2> /dev/null; done
}

for _ in $(seq "$rounds"); do
  weights | while read -r file; do cat "$file"; done > /dev/null
  draw "$work/warm"
  forget
  draw "$work/limited" "$group"
  forget
  draw "$work/cold"
  cmp "$work/warm" "$work/limited"
done
least() { sort -n "$work/$1.figures" | head -n 1; }
size=$(weights | xargs -d '\n' stat -L -c %s | awk '{ sum += $1 } END { printf "%.0f\n", sum }')
echo "$(least warm) $(least limited) $(least cold)" |
  awk -v limit="$limit" -v size="$size" -v peak="$(cat "$group/$peak")" '{
    printf "limit %s, of which %.2f GB were used; the same pictures, byte for byte\n", limit, peak / 1e9
    printf "%.1f s with the limit, %.1f s warm: ratio %.2f; of CPU time %.2f\n", $4, $1, $4 / $1, $6 / $3
    printf "%.1f s cold without a limit: ratio %.2f; of CPU time %.2f\n", $7, $7 / $1, $9 / $3
    printf "%.2f GB read from disk with the limit, weights are %.2f GB: %.2f\n", $5 / 1e9, size / 1e9, $5 / size
  }'
