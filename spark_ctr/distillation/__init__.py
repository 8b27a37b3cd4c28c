"""Knowledge distillation of CTR models."""

from spark_ctr.distillation.layerwise_distiller import LayerwiseDistiller

__all__ = ["LayerwiseDistiller"]
