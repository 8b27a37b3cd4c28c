"""What NVRTC makes of the CUDA sources, architecture by architecture; nothing runs."""

import functools
import re
from collections import Counter

import pytest

from spark_ctr.kernels.cuda import (
    ARCHITECTURES,
    THREADS,
    CompileError,
    CompilerMissingError,
    compile_kernels,
)
from tests.gpu.sass import disassembler, kernels_of, registers_and_memory

KERNELS = {
    "binary_linear": ("binary_linear_float32", "binary_linear_levels", "binary_linear_signs"),
    "binary_oracle": ("binary_oracle",),
    "elements": (
        *("check_ids", "copy_float32", "pair_float32", "quantise_levels", "relu_float32"),
        *("sum_float32", "take_float32"),
    ),
    "embedding": ("embedding_float32", "embedding_levels"),
    "integer_linear": ("integer_linear_float32", "integer_linear_levels", "integer_linear_signs"),
    "pack_signs": ("pack_signs_float16", "pack_signs_float32"),
    "student": ("student_float32",),
}
# Four blocks of 128 threads share the 65,536 registers of a multiprocessor.
MOST_REGISTERS = 65536 // (4 * THREADS)
# These wait for memory alone: three of four of the 2,048 threads of a multiprocessor have room.
MOST_OF_ELEMENTS = 65536 // (3 * 2048 // 4) // 8 * 8
# 2 x 8 tiles of a warp, and of bits 2 more with the column of ones. One instruction each: no
# exclusive or, which would be two.
PRODUCTS = {
    "binary_linear": ["BMMA.168256.AND.POPC"] * (2 * 8 + 2),
    "integer_linear": ["IMMA.16832.U8.S8"] * (2 * 8),
}
# Multiplications, and as many additions: a lane has 2 x 8 x 4 outputs, levels take one more.
ROUNDED = {
    "binary_linear_float32": 64,
    "binary_linear_levels": 128,
    "integer_linear_float32": 64,
    "integer_linear_levels": 128,
    "integer_linear_signs": 64,
}


@functools.cache
def compiled(name, arch):
    try:
        return compile_kernels(name, arch)
    except CompilerMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def disassembled(tmp_path_factory):
    """Function of a source and an architecture that returns the kernels by name."""
    if disassembler() is None:
        pytest.skip("nvdisasm is not installed")
    folder = tmp_path_factory.mktemp("cubin")
    return functools.cache(lambda name, arch: kernels_of(compiled(name, arch).cubin, folder))


def fused(kernel):
    """Count the fused multiplications of a kernel, by opcode."""
    return Counter(opcode for opcode in kernel.opcodes if opcode.startswith("FFMA"))


@pytest.fixture(scope="module")
def division(tmp_path_factory):
    """Fused multiplications of one rounded division, by architecture."""
    compiled("pack_signs", "sm_90")
    folder = tmp_path_factory.mktemp("division")
    code = "__global__ void divide(float *x) { x[0] = __fdiv_rn(x[1], __int2float_rn(int(x[2]))); }"
    (folder / "division.cu").write_text(f'extern "C" {code}')
    found = {}
    for arch in ARCHITECTURES:
        cubin = compile_kernels("division", arch, folder=folder).cubin
        found[arch] = fused(kernels_of(cubin, folder)["divide"])
    return found


@pytest.fixture
def compiler():
    """Skip where nothing can be compiled, so that what fails does so for its source."""
    compiled("pack_signs", "sm_90")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_compiles_without_warnings_and_spills(name, arch):
    result = compiled(name, arch)
    assert (result.name, result.arch) == (name, arch)
    assert result.cubin[:4] == b"\x7fELF"
    assert "warning" not in result.log
    used = registers_and_memory(result.log)
    assert set(used) == set(KERNELS[name])
    most = MOST_OF_ELEMENTS if name == "elements" else MOST_REGISTERS
    for registers, local in used.values():
        assert registers <= most and local == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_tensor_cores_multiply_in_the_inner_loop(disassembled, name, arch):
    kernels = disassembled(name, arch)
    assert set(kernels) == set(KERNELS[name])
    for kernel in kernels.values():
        products = [opcode for opcode in kernel.opcodes if "MMA" in opcode]
        # None outside the loop.
        assert products == PRODUCTS[name]
        (inner,) = (loop for loop in kernel.loops if any("MMA" in opcode for opcode in loop))
        assert [opcode for opcode in inner if "MMA" in opcode] == products
        # Both operands come in wide loads: 4 of two words, 4 of four.
        loads = sorted(opcode for opcode in inner if opcode.startswith("LD"))
        assert [re.sub(r"\.CONSTANT$", "", load) for load in loads] == (
            ["LDG.E.128"] * 4 + ["LDG.E.64"] * 4
        )


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_student_multiplies_from_shared_memory(disassembled, arch):
    (kernel,) = disassembled("student", arch).values()
    for products in PRODUCTS.values():
        assert [o for o in kernel.opcodes if o in products] == products
        (inner,) = (loop for loop in kernel.loops if [o for o in loop if "MMA" in o] == products)
        loads = sorted(opcode for opcode in inner if opcode.startswith("LD"))
        assert [re.sub(r"\.CONSTANT$", "", load) for load in loads] == (
            ["LDG.E.128"] * 4 + ["LDS.64"] * 4
        )
        # Rows are not copied again before each product, which is twice as many.
        assert len(inner) < 70
    # What a layer makes goes there too: levels by words, signs by two.
    assert kernel.opcodes.count("STS") == 16
    assert "STS.64" in kernel.opcodes and "STG.E" in kernel.opcodes
    # Of the ids, and of each layer.
    assert sum(opcode.startswith("BAR.SYNC") for opcode in kernel.opcodes) == 2
    assert not [opcode for opcode in kernel.opcodes if opcode.startswith("POPC")]


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_counting_is_left_to_the_tensor_cores(disassembled, arch):
    for kernel in disassembled("binary_linear", arch).values():
        assert not [opcode for opcode in kernel.opcodes if opcode.startswith("POPC")]
    (oracle,) = disassembled("binary_oracle", arch).values()
    assert any(opcode.startswith("POPC") for opcode in oracle.opcodes)
    assert not any("MMA" in opcode for opcode in oracle.opcodes)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_no_local_memory_and_no_fused_rounding(disassembled, name, arch, division):
    for kernel in disassembled(name, arch).values():
        assert not [opcode for opcode in kernel.opcodes if re.match(r"LDL|STL", opcode)]
        # A mean divides once, and a division is made of them.
        looks_up = name in ("embedding", "student")
        assert fused(kernel) == (division[arch] if looks_up else Counter())


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", PRODUCTS)
def test_outputs_are_rounded_twice(disassembled, name, arch):
    for kernel, count in ROUNDED.items():
        if kernel in KERNELS[name]:
            opcodes = disassembled(name, arch)[kernel].opcodes
            # .FTZ would flush subnormal numbers.
            assert opcodes.count("FMUL") == opcodes.count("FADD") == count


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_elements_are_rounded_as_on_the_cpu(disassembled, arch):
    kernels = disassembled("elements", arch)
    # Sums and differences, and products, of four elements of a thread.
    assert kernels["pair_float32"].opcodes.count("FADD") == 4 + 4
    assert kernels["pair_float32"].opcodes.count("FMUL") == 4
    for kernel in kernels.values():
        # .FTZ would flush subnormal numbers.
        assert not [o for o in kernel.opcodes if re.match(r"F(ADD|MUL|MNMX|SETP)\b.*FTZ", o)]
    # The maximum that keeps NaN.
    assert "FMNMX" not in kernels["relu_float32"].opcodes


def test_an_error_carries_the_log(compiler, tmp_path):
    (tmp_path / "wrong.cu").write_text('extern "C" __global__ void f() { undefined_name(); }')
    with pytest.raises(CompileError, match=r"(?s)wrong\.cu for sm_90.*undefined_name"):
        compile_kernels("wrong", "sm_90", folder=tmp_path)


@pytest.mark.parametrize("arch", ["sm_75", "sm_1", "no architecture"])
def test_architectures_without_the_product_are_refused(compiler, arch):
    with pytest.raises(CompileError, match=f"for {arch}"):
        compile_kernels("binary_linear", arch)


def test_unknown_sources_are_refused():
    with pytest.raises(FileNotFoundError):
        compile_kernels("no_such_kernel", "sm_90")
