"""One batch of training rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Batch:
    """Rows of a click log, column by column; T tasks have a label each.

    Attributes
    ----------
    ids : Tensor, int32, [B, inputs.ids_width]
        The ids of each categorical column's slots, columns in order.
    numeric : Tensor, float32, [B, M]
        Standardised numeric columns.
    label : Tensor, float32, [B, T]
        1 for a click, else 0; those of one task may be given as [B].
    weight : Tensor, float32, [B]
        Weight of the row in the loss.
    known : Tensor, bool, [B, T], optional
        Which labels are known; what stands for the others is 0. By default all are.
    teacher : Tensor, float32, [B, T], optional
        Logits of the teacher for all rows of the log, without the shift of negative sampling.
    unlabelled : Batch, optional
        Further rows without labels, whose `teacher` is given; the labels are 0, none is known.
    label_weight : Tensor, float32, [B, T], optional
        Factor on the weight of the row for each label; by default 1.
    """

    ids: Tensor
    numeric: Tensor
    label: Tensor
    weight: Tensor
    known: Tensor | None = None
    teacher: Tensor | None = None
    unlabelled: Batch | None = None
    label_weight: Tensor | None = None

    def __post_init__(self) -> None:
        if self.label.ndim == 1:
            self.label = self.label[:, None]

    @property
    def rows(self) -> int:
        """Number of rows B."""
        return self.label.shape[0]

    @property
    def counted(self) -> Tensor | None:
        """What each label counts for [B, T], 0 where it is not known; None: all count alike."""
        if self.known is None or self.label_weight is None:
            return self.known if self.label_weight is None else self.label_weight
        return self.known * self.label_weight

    def to(self, device: torch.device) -> Batch:
        """Return the batch on `device`, itself if it is there already."""
        if self.label.device == device:
            return self
        return Batch(
            self.ids.to(device, non_blocking=True),
            self.numeric.to(device, non_blocking=True),
            self.label.to(device, non_blocking=True),
            self.weight.to(device, non_blocking=True),
            None if self.known is None else self.known.to(device, non_blocking=True),
            None if self.teacher is None else self.teacher.to(device, non_blocking=True),
            None if self.unlabelled is None else self.unlabelled.to(device),
            None if self.label_weight is None else self.label_weight.to(device, non_blocking=True),
        )
