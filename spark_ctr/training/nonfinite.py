"""What a loss that is not a finite number comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch

_ROWS_SHOWN = 3


def explain(
    value: float, network: Network, batch: Batch, where: str, learning_rate: float
) -> FloatingPointError:
    """Return the error that stops a training.

    Parameters
    ----------
    value : float
        The loss.
    network : Network
        After the step.
    batch : Batch
        That gave the loss, on the CPU.
    where : str
        Epoch, step and source of the batch.
    learning_rate : float

    Returns
    -------
    FloatingPointError
        Names the likely cause and shows the first rows that have it.
    """
    columns = ~torch.isfinite(batch.numeric)
    if columns.any():
        names = [n for n, bad in zip(network.inputs.numeric, columns.any(0), strict=True) if bad]
        cause = f"numeric column(s) {names} hold nan or infinity; impute them upstream"
        bad = columns.any(1)
    elif not torch.isfinite(batch.label).all() or not torch.isfinite(batch.weight).all():
        cause = "a label or weight is nan or infinite; drop such rows upstream"
        bad = ~(torch.isfinite(batch.label).all(1) & torch.isfinite(batch.weight))
    elif batch.teacher is not None and not torch.isfinite(batch.teacher).all():
        cause = "logits of the teacher are nan or infinite; does it read nan or infinity?"
        bad = ~torch.isfinite(batch.teacher).all(1)
    elif batch.unlabelled is not None and not _is_finite(batch.unlabelled):
        where += ", rows without labels"
        return explain(value, network, batch.unlabelled, where, learning_rate)
    else:
        cause = (
            f"all columns are finite, so the learning rate {learning_rate:g} is likely too large; "
            "lower it or set clipNorm (clip_norm), the largest norm of the gradient"
        )
        bad = torch.zeros(batch.rows, dtype=torch.bool)
    shown = bad.nonzero()[:_ROWS_SHOWN, 0].tolist()
    rows = "".join(f"\n  row {i} of the batch: {_row(network, batch, i)}" for i in shown)
    more = f"\n  and {int(bad.sum()) - len(shown)} more" if bad.sum() > len(shown) else ""
    return FloatingPointError(f"loss is {value} in {where}: {cause}{rows}{more}")


def _is_finite(batch: Batch) -> bool:
    columns = (batch.numeric, batch.label, batch.weight, batch.teacher)
    return all(bool(torch.isfinite(each).all()) for each in columns if each is not None)


def _row(network: Network, batch: Batch, row: int) -> str:
    def named(names: list[str], values: Tensor) -> str:
        return ", ".join(f"{n}={v:g}" for n, v in zip(names, values[row].tolist(), strict=True))

    ids = named([table.name for table in network.inputs.slot_tables], batch.ids)
    numbers = named(list(network.inputs.numeric), batch.numeric)
    labels = ", ".join(f"{label:g}" for label in batch.label[row].tolist())
    return f"ids ({ids}), numbers ({numbers}), label {labels}, weight {batch.weight[row]:g}"
