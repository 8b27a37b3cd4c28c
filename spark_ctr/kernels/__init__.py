"""Packed inference kernels on the CPU: NumPy, with numkong's SIMD code where it can be imported.

A layer is a class: built once from its packed weights, which it prepares, then called with inputs.
"""

from spark_ctr.kernels.binary import BinaryLinear, SignMatrix
from spark_ctr.kernels.index4 import pack_index4, unpack_index4
from spark_ctr.kernels.index8 import Index8Linear, index8_values
from spark_ctr.kernels.levels import IntegerLinear, quantise
from spark_ctr.kernels.signs import pack_signs, unpack_signs

__all__ = [
    "BinaryLinear",
    "Index8Linear",
    "IntegerLinear",
    "SignMatrix",
    "index8_values",
    "pack_index4",
    "pack_signs",
    "quantise",
    "unpack_index4",
    "unpack_signs",
]
