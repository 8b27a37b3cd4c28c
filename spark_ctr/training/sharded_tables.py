"""Embedding tables whose rows are spread over the processes that train together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.row_gradients import RowOrder


class ShardedEmbedding(nn.Embedding):
    """The rows of a process of a table, which looks up the other rows where they are.

    Row i lies on process i modulo the number of processes, so that the frequent rows, which are
    first, are spread. A batch's rows cross once each, however often it names them, and so do their
    gradients on the way back. All processes must look up, and go back, at the same time.

    Parameters
    ----------
    table : nn.Embedding
        The whole table, the same on every process.
    ranks : Ranks
    """

    def __init__(self, table: nn.Embedding, ranks: Ranks) -> None:
        rows = table.weight.detach()[ranks.rank :: ranks.size].clone()
        super().__init__(len(rows), table.embedding_dim, sparse=True, _weight=rows)
        self.whole_rows = table.num_embeddings
        self._ranks = ranks

    def forward(self, rows: Tensor) -> Tensor:
        """Look up rows of the whole table, int64 [...]; float32 [..., dim]."""
        size = self._ranks.size
        most = -(-self.whole_rows // size)
        flat = rows.flatten()
        # Sorted by owner first.
        order = RowOrder(flat % size * most + flat // size)
        ends = torch.searchsorted(order.rows, torch.arange(size + 1, device=rows.device) * most)
        sizes = ends.diff()
        asked_sizes = torch.empty_like(sizes)
        self._ranks.deal(sizes, [1] * size, asked_sizes, [1] * size)
        asks, asked = sizes.tolist(), asked_sizes.tolist()
        wanted = order.rows.new_empty(sum(asked))
        self._ranks.deal(order.rows % most, asks, wanted, asked)
        found = _LookUp.apply(self.weight, order, wanted, asks, asked, self._ranks)
        return found.view(*rows.shape, self.embedding_dim)

    @torch.no_grad()
    def whole(self) -> nn.Embedding:
        """Return the whole table; all processes must ask."""
        weight = self.weight.new_empty(self.whole_rows, self.embedding_dim)
        for rank in range(self._ranks.size):
            part = weight[rank :: self._ranks.size]
            part.copy_(self._ranks.told(self.weight, torch.empty_like(part), rank))
        return nn.Embedding(self.whole_rows, self.embedding_dim, sparse=True, _weight=weight)


class ShardedTables:
    """The tables of a network, spread while a training lasts.

    They are those of `EmbeddingTables` with row-sparse gradients: a network's other embeddings may
    be used in other ways than by looking up.

    Parameters
    ----------
    network : Module
        Equal on all processes. Its tables are replaced by this process's part of them.
    ranks : Ranks
        One alone keeps the tables as they are.
    """

    def __init__(self, network: nn.Module, ranks: Ranks) -> None:
        self._network = network
        self._ranks = ranks
        self._names: set[str] = set()
        self._replace(nn.Embedding, lambda table: ShardedEmbedding(table, ranks))

    def gather(self) -> None:
        """Give every process the whole tables."""
        self._replace(ShardedEmbedding, ShardedEmbedding.whole)

    def split(self, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Part what is equal on all processes from rows of this process's part of the tables.

        Parameters
        ----------
        state : mapping of str to Tensor
            Named ``PART.PARAMETER`` or ``PART.PARAMETER:MOMENT``.
        """
        own = {key for key in state if _parameter(key) in self._names}
        return (
            {key: value for key, value in state.items() if key not in own},
            {key: value for key, value in state.items() if key in own},
        )

    def assemble(
        self, state: Mapping[str, Tensor], shards: Iterable[tuple[int, int, Mapping[str, Tensor]]]
    ) -> dict[str, Tensor]:
        """Put together what this process needs of a state, of however many processes it is.

        Parameters
        ----------
        state : mapping of str to Tensor
            Of whole tables, or without them.
        shards : iterable of (rank, size, mapping of str to Tensor)
            Rows of the tables' parts, as `split` on `size` processes returned them.
        """
        whole, tables = self.split(state)
        for rank, size, rows in [(0, 1, tables), *shards] if tables else shards:
            for key, part in rows.items():
                if key not in whole:
                    count = len(self._network.get_parameter(_parameter(key)))
                    whole[key] = part.new_empty((count, *part.shape[1:]))
                at = torch.arange(len(part)) * size + rank
                mine = at % self._ranks.size == self._ranks.rank
                whole[key][at[mine] // self._ranks.size] = part[mine]
        return whole

    def _replace(self, kind: type[nn.Embedding], by: Any) -> None:
        if self._ranks.size == 1:
            return
        for name, tables in self._network.named_modules():
            if not isinstance(tables, EmbeddingTables):
                continue
            for g, table in enumerate(tables.weights):
                if type(table) is kind and table.sparse and table.weight.requires_grad:
                    tables.weights[g] = by(table)
                    self._names.add(f"{name}.weights.{g}.weight".removeprefix("."))


def _parameter(key: str) -> str:
    return key.partition(".")[2].partition(":")[0]


class _LookUp(torch.autograd.Function):
    """Rows that other processes hold, and their gradients' way there."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        order: RowOrder,
        wanted: Tensor,
        asks: list[int],
        asked: list[int],
        ranks: Ranks,
    ) -> Tensor:
        ctx.order, ctx.wanted, ctx.asks, ctx.asked, ctx.ranks = order, wanted, asks, asked, ranks
        ctx.shape = weight.shape
        found = weight.new_empty(sum(asks), weight.shape[1])
        ranks.deal(weight.index_select(0, wanted), asked, found, asks)
        return found.index_select(0, order.places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values = grad.new_empty(len(ctx.wanted), ctx.shape[1])
        ctx.ranks.deal(ctx.order.sums(grad.contiguous()), ctx.asks, values, ctx.asked)
        rows = torch.sparse_coo_tensor(
            ctx.wanted[None], values, ctx.shape, check_invariants=False, is_coalesced=False
        )
        return rows, None, None, None, None, None
