"""Embedding tables of many columns, looked up together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.bags import Bags
from spark_ctr.tables import Inputs

INITIAL_STD = 0.01


def embedding_modules(module: nn.Module) -> list[nn.Embedding | nn.EmbeddingBag]:
    """Return the embedding tables in a module, one's own too."""
    return [m for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]


def bags_of(module: nn.Module) -> dict[str, Bags]:
    """Return which rows of each embedding layer in a module are looked up, by layer name."""
    return {
        f"{name}.weights.{g}": bags
        for name, tables in module.named_modules()
        if isinstance(tables, EmbeddingTables)
        for g, bags in enumerate(tables.bags)
        if isinstance(bags, Bags)
    }


class EmbeddingTables(nn.Module):
    """One lookup per distinct dimension for all categorical columns.

    Columns of equal dimension share one weight, each column at its own row offset unless tables
    share their rows. Gradients are row-sparse, so a step touches only the rows of its batch.

    Parameters
    ----------
    inputs : Inputs
        Its tables are embedded; numeric columns are ignored.
    field_dim : int, optional
        Common dimension k of `fields`. Dimensions other than k get a bias-free linear map, shared
        by the columns of that dimension (mixed-dimension embeddings, Ginart et al. 2021).

    Attributes
    ----------
    weights : ModuleList of Embedding
        One per distinct dimension, ascending.
    groups : tuple of tuple of int
        For each weight, the column positions it holds, in row order.
    bags : ModuleList of Bags
        For each weight, which of its rows the columns' ids name.
    """

    def __init__(self, inputs: Inputs, field_dim: int | None = None) -> None:
        super().__init__()
        self.inputs = inputs
        self.field_dim = field_dim
        self.dims = tuple(sorted({table.dim for table in inputs.tables}))
        self.groups = tuple(
            tuple(c for c, table in enumerate(inputs.tables) if table.dim == dim)
            for dim in self.dims
        )
        lookups = [Bags(inputs, columns) for columns in self.groups]
        self.bags = nn.ModuleList(lookups)
        self.weights = nn.ModuleList()
        self.projections = nn.ModuleDict()
        for dim, bags in zip(self.dims, lookups, strict=True):
            # nn.Embedding draws a standard normal first, which takes seconds for many rows.
            rows = sum(bags.rows)
            values = torch.empty(rows, dim).normal_(std=INITIAL_STD)
            weight = nn.Embedding(rows, dim, sparse=True, _weight=values)
            self.weights.append(weight)
            if field_dim is not None and dim != field_dim:
                self.projections[str(dim)] = nn.Linear(dim, field_dim, bias=False)
        self._orders = [bags.order for bags in lookups]
        self._in_order = self._orders == [tuple(range(len(inputs.tables)))]

    @property
    def width(self) -> int:
        """Width of the output of `forward`."""
        return self.inputs.embedded_width

    def forward(self, ids: Tensor) -> Tensor:
        """Look up and concatenate in column order.

        Parameters
        ----------
        ids : Tensor, int32 or int64, [B, inputs.ids_width]

        Returns
        -------
        Tensor, float32, [B, sum(dim)]
        """
        if not self.dims:
            return ids.new_zeros((ids.shape[0], 0), dtype=torch.float32)
        ids = ids.long()
        if self._in_order:
            return self.bags[0](ids, self.weights[0]).flatten(1)
        columns: dict[int, Tensor] = {}
        for bags, weight, order in zip(self.bags, self.weights, self._orders, strict=True):
            found = bags(ids, weight).unbind(1)
            # By index, as torch.fx traces it.
            columns.update((c, found[i]) for i, c in enumerate(order))
        return torch.cat([columns[c] for c in range(len(columns))], 1)

    def fields(self, ids: Tensor) -> Tensor:
        """Look up every column at the common dimension k = `field_dim`.

        Parameters
        ----------
        ids : Tensor, int32 or int64, [B, inputs.ids_width]

        Returns
        -------
        Tensor, float32, [B, C, k]
        """
        return self.project(self(ids))

    def project(self, embedded: Tensor) -> Tensor:
        """Turn the output of `forward` [B, sum(dim)] into fields [B, C, k].

        Raises
        ------
        ValueError
            If the tables were built without `field_dim`.
        """
        if self.field_dim is None:
            raise ValueError("EmbeddingTables was built without field_dim; pass it to get fields")
        k = self.field_dim
        if not self.dims:
            return embedded.reshape(embedded.shape[0], 0, k)
        if self.dims == (k,):
            return embedded.unflatten(1, (-1, k))
        dims = [table.dim for table in self.inputs.tables]
        fields = embedded.split(dims, 1)
        # By index, as torch.fx traces it.
        return torch.stack(
            [
                fields[c] if dim == k else self.projections[str(dim)](fields[c])
                for c, dim in enumerate(dims)
            ],
            1,
        )
