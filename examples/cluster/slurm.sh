#!/usr/bin/env bash
#SBATCH --job-name=sdxl-turbo --cpus-per-task=2 --mem=9G --time=01:00:00
#SBATCH --requeue --open-mode=append
# Draws a share of the records of a JSON-lines file as one task of a Slurm job array.
#
#     sbatch --array=0-9 examples/cluster/slurm.sh RECORDS FOLDER [FLAGS OF DENOISE...]
#
# Task t of n draws each n-th record, from t on, into FOLDER, which all nodes share. A task that is requeued, because its
# node died or it was preempted, draws what is missing; so does the same command given again. Every record needs an "id",
# which names its picture, and a "seed". Memory is that of the processes and of the weights they map (5.1 GB for the UNet).
set -euo pipefail
records=$1 folder=$2
shift 2
task=${SLURM_ARRAY_TASK_ID:-0} tasks=${SLURM_ARRAY_TASK_COUNT:-1}
threads=${SLURM_CPUS_PER_TASK:-$(nproc)}
pictures="$folder/{id}.png"
mkdir -p "$folder"
awk -v task="$task" -v tasks="$tasks" 'NF && n++ % tasks == task' "$records" |
  encode-text --jsonl --skip-existing "$pictures" --threads "$threads" |
  denoise --threads "$threads" "$@" |
  decode-latents --threads "$threads" |
  to-png --skip-existing -o "$pictures"
