"""Quantisation of trained CTR models."""

from spark_ctr.quantization.mixed_precision_quantizer import (
    MixedPrecisionQuantizer,
    QuantizedCTRClassificationModel,
)

__all__ = ["MixedPrecisionQuantizer", "QuantizedCTRClassificationModel"]
