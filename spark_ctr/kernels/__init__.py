"""Packed inference kernels on the CPU: NumPy, with numkong's SIMD code where it can be imported."""

from spark_ctr.kernels.binary import binary_linear, binary_matmul
from spark_ctr.kernels.index8 import index8_embedding, index8_linear
from spark_ctr.kernels.signs import pack_signs, unpack_signs

__all__ = [
    "binary_linear",
    "binary_matmul",
    "index8_embedding",
    "index8_linear",
    "pack_signs",
    "unpack_signs",
]
