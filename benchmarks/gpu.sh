#!/usr/bin/env bash
# Measure every row of "On a GPU" in docs/results.md, and print the rows: at most 8 minutes on a GPU like the H200.
#
#   benchmarks/gpu.sh          # figures go to gpu.json, in $OUT if that is set, else here
#   benchmarks/gpu.sh --tiny   # toy sizes, also without a GPU: shows that the steps work, measures nothing
#
# Each step has a limit, and what it measured until then is kept; the others follow all the same. ARCHIVE names the
# tiles that `finetune` trains on; their content changes no time. PYTHON names the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
out=${OUT:-.}
steps=$(mktemp -d)
trap 'rm -rf "$steps"' EXIT
export XLA_PYTHON_CLIENT_PREALLOCATE=false # the rows have processes of their own

step() { # NAME LIMIT_S SCRIPT FLAGS...: run a benchmark, then write all that is known so far
  local name=$1 limit=$2 start=$SECONDS status=0
  shift 2
  echo "== $name: benchmarks/$*" >&2
  timeout --kill-after=5 "$limit" "$python" "benchmarks/$1" "${@:2}" --json="$steps/$name.json" \
    >"$steps/$name.log" 2>&1 || status=$?
  [ "$status" = 0 ] || tail -n 5 "$steps/$name.log" >&2
  "$python" benchmarks/gpu_rows.py --add "$name" --steps="$steps" --json="$out/gpu.json" \
    --seconds=$((SECONDS - start)) --status="$status" --command="benchmarks/$*"
}

rm -f "$out/gpu.json"
if [ "${1:-}" = --tiny ]; then
  toy=(--num_pairs=20 --product_side=64)
  step mgue 300 allpairs.py --way=mgue --way=mgue_xla --num_images=300 --precision=bfloat16_3x "${toy[@]}"
  step bcgue 300 allpairs.py --way=bcgue --way=bcgue_xla --num_images_classifier=100 --precision=bfloat16 "${toy[@]}"
  step fused 300 fused.py --tiny --calls=1
  step kmeans 300 kmeans.py --size=60,15,8
  step finetune 300 training.py --archive=digits --image-size=16 --batch-size=16 --pairs=40 --turns=1 --matrix=64 \
    --no-memory --ways anneal
else
  step mgue 150 allpairs.py --way=mgue --way=mgue_xla --num_images=100000,1000000 --precision=bfloat16_3x \
    --timeout_s=60
  step bcgue 90 allpairs.py --way=bcgue --way=bcgue_xla --num_images_classifier=60000 --precision=bfloat16 \
    --timeout_s=60
  step fused 110 fused.py
  step kmeans 40 kmeans.py
  step finetune 80 training.py --archive="${ARCHIVE:-digits}" --image-size=128 --turns=5 --matrix=8192 --no-memory \
    --ways anneal "anneal bfloat16"
fi
"$python" benchmarks/gpu_rows.py --json="$out/gpu.json"
