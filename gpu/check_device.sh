#!/bin/sh
# Checks and times the kernels on a machine with a GPU: sh gpu/check_device.sh [FOLDER]
#
# Needs python3 with torch, cuda-core, NumPy, pyarrow, pytest and hypothesis; no Spark, Java or
# network. Takes seven minutes at most. Each step writes to FOLDER (build/gpu) as it goes, so that it
# can be cut short; the last lines say which steps failed.
set -u
cd "$(dirname "$0")/.." || exit
out=${1:-build/gpu}
mkdir -p "$out"
export PYTHONPATH="$PWD" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
failed=

# step NAME SECONDS COMMAND...
step() {
    name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout "$seconds" "$@" >"$out/$name.txt" 2>&1
    code=$?
    tail -n 25 "$out/$name.txt"
    if [ $code -ne 0 ]; then
        failed="$failed $name($code)"
    fi
}

{
    date -u
    nvidia-smi
    python3 -c 'import sys, cuda.core, numpy, pyarrow, torch
print(sys.version, "cuda.core", cuda.core.__version__, "numpy", numpy.__version__)
print("pyarrow", pyarrow.__version__, "torch", torch.__version__)'
} >"$out/machine.txt" 2>&1
cat "$out/machine.txt"

# The reference is quicker with the CPU's kernels, and the same without.
python3 spark_ctr/kernels/native/build.py >"$out/native.txt" 2>&1 || tail -n 3 "$out/native.txt"

# 1. Every kernel, and whole programs, have the bits of the CPU.
step exact 120 env SPARK_CTR_GPU=1 python3 -m pytest -q -p no:cacheprovider --durations=5 \
    tests/gpu/test_sources_on_host.py tests/gpu/test_integer_on_host.py \
    tests/gpu/test_embedding_on_host.py tests/gpu/test_elements_on_host.py \
    tests/gpu/test_student_on_host.py tests/gpu/test_cuda_execution.py \
    tests/gpu/test_cuda_predictor.py

# 2. Nothing is read or written beyond its memory, and no threads race.
for tool in memcheck racecheck; do
    step "$tool" 45 compute-sanitizer --tool "$tool" --error-exitcode 9 \
        python3 -m tests.gpu.on_device 6
done

# 3. Times beside torch.
step gpu 200 python3 -m benchmarks.gpu --json "$out/gpu_results.json"

if [ -n "$failed" ]; then
    echo "failed:$failed"
    exit 1
fi
echo "all steps passed"
