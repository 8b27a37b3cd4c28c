"""Programs on CUDA devices: compiling the sources in ``gpu/``, buffers, launch geometry.

Linux only. Nothing here needs a device, and only `compile_kernels` imports ``cuda.core`` (the
``gpu`` extra); the rest is NumPy. ``gpu/NOTES.md`` has the layout of the buffers.
"""

from spark_ctr.kernels.cuda.axes import AXES, copy_axes, pair_axes, take_positions
from spark_ctr.kernels.cuda.compiler import (
    ARCHITECTURES,
    CompiledKernels,
    CompileError,
    CompilerMissingError,
    compile_kernels,
)
from spark_ctr.kernels.cuda.cubins import machine_code
from spark_ctr.kernels.cuda.device import (
    Argument,
    CudaDevice,
    CudaError,
    Device,
    Memory,
    NoDevice,
    OutOfDeviceMemory,
    Stream,
    open_device,
)
from spark_ctr.kernels.cuda.embedding import COLUMN, EmbeddingColumn, embedding_columns
from spark_ctr.kernels.cuda.geometry import (
    THREADS,
    element_blocks,
    linear_blocks,
    oracle_blocks,
    row_chunks,
    student_blocks,
    sum_blocks,
    warp_blocks,
)
from spark_ctr.kernels.cuda.ids import IdColumn, IdRanges, id_ranges
from spark_ctr.kernels.cuda.integer_weights import IntegerLayer, level_inverse
from spark_ctr.kernels.cuda.rows import (
    from_device_rows,
    level_row_words,
    levels_from_device_rows,
    levels_to_device_rows,
    row_words,
    to_device_rows,
)
from spark_ctr.kernels.cuda.sources import source_folder
from spark_ctr.kernels.cuda.student import (
    LOOK_UP,
    MOST_SHARED,
    STUDENT,
    STUDENT_LAYER,
    StudentFinish,
    StudentLayer,
    level_sources,
    student_layers,
    student_memory,
)
from spark_ctr.kernels.cuda.weights import FloatLayer, SignLayer

__all__ = [
    "ARCHITECTURES",
    "AXES",
    "COLUMN",
    "LOOK_UP",
    "MOST_SHARED",
    "STUDENT",
    "STUDENT_LAYER",
    "THREADS",
    "Argument",
    "CompileError",
    "CompiledKernels",
    "CompilerMissingError",
    "CudaDevice",
    "CudaError",
    "Device",
    "EmbeddingColumn",
    "FloatLayer",
    "IdColumn",
    "IdRanges",
    "IntegerLayer",
    "Memory",
    "NoDevice",
    "OutOfDeviceMemory",
    "SignLayer",
    "Stream",
    "StudentFinish",
    "StudentLayer",
    "compile_kernels",
    "copy_axes",
    "element_blocks",
    "embedding_columns",
    "from_device_rows",
    "id_ranges",
    "level_inverse",
    "level_row_words",
    "level_sources",
    "levels_from_device_rows",
    "levels_to_device_rows",
    "linear_blocks",
    "machine_code",
    "open_device",
    "oracle_blocks",
    "pair_axes",
    "row_chunks",
    "row_words",
    "source_folder",
    "student_blocks",
    "student_layers",
    "student_memory",
    "sum_blocks",
    "take_positions",
    "to_device_rows",
    "warp_blocks",
]
