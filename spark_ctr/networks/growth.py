"""A network whose tables have grown, from the weights of an earlier one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.tables import Inputs, Table

# In a map of rows: a value that had no row to itself.
_NEW = -1


@torch.no_grad()
def grown_state(earlier: Network, network: Network) -> dict[str, Tensor]:
    """Return the weights with which a network computes what an earlier one computed.

    A table's row of the missing value, its private rows and its hashed rows are those of the
    earlier table. A value with a private row of late starts at the mean of the hashed rows: with
    one hashed row, what it had before. Where hashed rows count with a sign, that mean over the
    signs is zero, and so is the new row. All other weights are copied.

    Parameters
    ----------
    earlier : Network
        Trained; left as it is.
    network : Network
        Of the same kind, settings (dropout aside) and columns; left as it is. Its tables must be
        the earlier ones or have grown from them, as `Table.vocabulary` and `Table.earlier` tell;
        where a vocabulary is unknown, tables of equal size are taken to be the same.

    Returns
    -------
    dict of str to Tensor
        For `network.load_state_dict`; shares no memory with `earlier`.

    Raises
    ------
    ValueError
        If the networks differ in kind, settings or columns, or a table has not grown from the
        earlier one.
    """
    _check_alike(earlier, network)
    sources = _row_sources(earlier.inputs, network.inputs)
    tables = _table_keys(network)
    before = earlier.state_dict()
    state: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if key in tables:
            state[key] = _grown_weight(before[key], [sources[block] for block in tables[key]])
        elif key in before and before[key].shape == value.shape:
            state[key] = before[key].clone()
        else:
            raise ValueError(
                f"weight {key!r} of network {network.name!r} depends on the number of rows or is "
                "new: only tables that are EmbeddingTables can grow; fit without initialModel"
            )
    return state


def _check_alike(earlier: Network, network: Network) -> None:
    def facts(of: Network) -> dict[str, Any]:
        config = {key: value for key, value in of.config.items() if key != "dropout"}
        return {
            "network": of.name,
            **config,
            "categorical columns and dimensions": [(t.name, t.dim) for t in of.inputs.tables],
            "numeric columns": list(of.inputs.numeric),
        }

    before, now = facts(earlier), facts(network)
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            raise ValueError(
                f"a network can start from an earlier one of the same settings and columns, but "
                f"{key} was {before.get(key)!r} in initialModel and is {now.get(key)!r}: keep it, "
                "or fit without initialModel"
            )


class _RowSource:
    """Of each row of a block, the row of the earlier block that it comes from, or `_NEW`.

    Parameters
    ----------
    earlier, now : list of Table
        The tables that share the block, in the same order; one for a block of its own.
    """

    def __init__(self, earlier: list[Table], now: list[Table]) -> None:
        self.rows = earlier[0].rows
        self.signed = earlier[0].signed
        if all(_same_vocabulary(a, b) for a, b in zip(earlier, now, strict=True)):
            self.source = torch.arange(self.rows)
            self.first_bucket = self.rows
            return
        parts, start = [], 0
        for before, table in zip(earlier, now, strict=True):
            end = start + 1 + before.private
            new = torch.full((table.private - before.private,), _NEW)
            parts += [torch.arange(start, end), new]
            start = end
        self.first_bucket = start
        self.source = torch.cat([*parts, torch.arange(start, self.rows)])
        if len(self.source) != now[0].rows:
            raise ValueError(
                f"the table of column {now[0].name!r} has {now[0].rows} rows where "
                f"{len(self.source)} follow from initialModel: encode with the model of "
                "HashedEmbeddingEncoder(initialModel=...)"
            )

    def grow(self, block: Tensor) -> Tensor:
        """Return the rows of the grown block, from those of the earlier one [rows, dim]."""
        grown = block[self.source.clamp_min(0)]
        buckets = block[self.first_bucket :]
        if len(buckets) and (self.source == _NEW).any():
            start = torch.zeros_like(block[0]) if self.signed else buckets.mean(0)
            grown[self.source == _NEW] = start
        return grown


def _same_vocabulary(earlier: Table, table: Table) -> bool:
    """Whether the rows are the same; if not, they must have grown."""
    unknown = not (earlier.vocabulary and table.vocabulary)
    if earlier.rows == table.rows and (unknown or earlier.vocabulary == table.vocabulary):
        return True
    if earlier.vocabulary and earlier.vocabulary in (table.earlier, table.vocabulary):
        return False
    raise ValueError(
        f"column {table.name!r} is encoded by rows that do not go on from those of initialModel: "
        "fit HashedEmbeddingEncoder with the encoder of initialModel as its own initialModel"
    )


def _row_sources(earlier: Inputs, now: Inputs) -> dict[str, _RowSource]:
    """Return the sources of every block, by `_block`."""
    blocks: dict[str, tuple[list[Table], list[Table]]] = {}
    for before, table in zip(earlier.tables, now.tables, strict=True):
        if before.shared != table.shared:
            raise ValueError(f"column {table.name!r} shares its table with others only now")
        both = blocks.setdefault(_block(table), ([], []))
        both[0].append(before)
        both[1].append(table)
    return {block: _RowSource(*both) for block, both in blocks.items()}


def _block(table: Table) -> str:
    return f"shared {table.shared}" if table.shared else f"column {table.name}"


def _table_keys(network: Network) -> dict[str, list[str]]:
    """Return the blocks of each weight of tables, by its key in the state."""
    keys: dict[str, list[str]] = {}
    for name, module in network.named_modules():
        if isinstance(module, EmbeddingTables):
            for g, columns in enumerate(module.groups):
                blocks = [_block(module.inputs.tables[c]) for c in columns]
                keys[f"{name}.weights.{g}.weight"] = list(dict.fromkeys(blocks))
    return keys


def _grown_weight(weight: Tensor, sources: list[_RowSource]) -> Tensor:
    blocks = weight.split([source.rows for source in sources])
    return torch.cat([s.grow(block) for s, block in zip(sources, blocks, strict=True)])
