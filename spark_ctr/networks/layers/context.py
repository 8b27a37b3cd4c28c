"""Columns that the context of a row enhances: blocks between the columns and a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.layers.factors import Factors, FactorsSize
from spark_ctr.networks.layers.field_groups import FieldGroups
from spark_ctr.settings import Setting, choice, columns, integer
from spark_ctr.tables import Inputs


class ContextUnits(nn.Module):
    """The units of some columns among those of all.

    Parameters
    ----------
    names : sequence of str
        Column of each unit.
    context : sequence of str
        The columns; none: all.

    Attributes
    ----------
    width : int
        How many units they are.

    Raises
    ------
    ValueError
        If there is no such column.
    """

    def __init__(self, names: Sequence[str], context: Sequence[str]) -> None:
        super().__init__()
        missing = [name for name in context if name not in names]
        if missing:
            raise ValueError(
                f"contextCols names {missing}, and the network's columns are "
                f"{list(dict.fromkeys(names))}"
            )
        chosen = [not context or name in context for name in names]
        positions = [i for i, is_chosen in enumerate(chosen) if is_chosen]
        self.width = len(positions)
        self._all = all(chosen)
        self.register_buffer("chosen", torch.tensor(chosen), persistent=False)
        self.register_buffer("positions", torch.tensor(positions), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the units [B, width] of x [B, units]."""
        return x if self._all else x[:, self.get_buffer("positions")]

    def learning(self, x: Tensor) -> Tensor:
        """Return x [B, units], of which these units alone pass a gradient on."""
        # What serves is spared the copy.
        return torch.where(self.get_buffer("chosen"), x, x.detach()) if self.training else x


class Enhancement(nn.Module):
    """Map of the columns side by side to as many units.

    Parameters
    ----------
    inputs : Inputs
    context : sequence of str
        Columns, categorical or numeric, that decide; none: all.
    units : int
        Width of the layer in between.

    Raises
    ------
    ValueError
        If `inputs` has no such column.
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], units: int) -> None:
        super().__init__()
        self.context = ContextUnits(_units(inputs), context)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, inputs.width] to [B, inputs.width]."""
        raise NotImplementedError


class EmbeddingGate(Enhancement):
    """A factor for each unit by all columns, of which those of the context alone learn by it.

    References
    ----------
    Chang et al., "PEPNet", KDD 2023 (EPNet).
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], units: int) -> None:
        super().__init__(inputs, context, units)
        self.factors = Factors(inputs.width, units, inputs.width)

    def forward(self, x: Tensor) -> Tensor:
        """See `Enhancement.forward`."""
        return x * self.factors(self.context.learning(x))


class FieldGate(Enhancement):
    """A factor for each column, by the means of the context's columns.

    Squeeze and excitation, but for the outer ReLU: `Factors` start at 1.

    References
    ----------
    Huang et al., "FiBiNET", RecSys 2019, section 3.3 (SENET layer).
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], units: int) -> None:
        super().__init__(inputs, context, units)
        self.groups = FieldGroups(inputs)
        self.context = ContextUnits(self.groups.names, context)
        self.factors = Factors(self.context.width, units, len(self.groups.names))

    def forward(self, x: Tensor) -> Tensor:
        """See `Enhancement.forward`."""
        fields = self.groups.split(x)
        means = torch.cat([of_group.mean(2) for of_group in fields], 1)
        factors = self.factors(self.context(means)).split(list(self.groups.counts), 1)
        scaled = [of_group * factors[g].unsqueeze(2) for g, of_group in enumerate(fields)]
        return self.groups.join(scaled)


class MaskBlock(Enhancement):
    """ReLU(LN(W (LN(x) * m))), with a free factor m for each unit that the context decides.

    Each field is normalised by itself; a number stays what it is.

    References
    ----------
    Wang et al., "MaskNet", DLP-KDD 2021 (MaskBlock on feature embedding).
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], units: int) -> None:
        super().__init__(inputs, context, units)
        self.groups = FieldGroups(inputs)
        self.norms = nn.ModuleList(_norm(dim) for dim in self.groups.dims)
        self.mask = Factors(self.context.width, units, inputs.width, bounded=False)
        self.linear = nn.Linear(inputs.width, inputs.width)
        self.norm = nn.LayerNorm(inputs.width)

    def forward(self, x: Tensor) -> Tensor:
        """See `Enhancement.forward`."""
        fields = self.groups.split(x)
        normed = [norm(fields[g]) for g, norm in enumerate(self.norms)]
        masked = self.groups.join(normed) * self.mask(self.context(x))
        return F.relu(self.norm(self.linear(masked)))


class ContextualFields(Enhancement):
    """z = x * m, then LN(W_2 ReLU(W_1 z_f) + z_f) for each field f, W shared by fields of a width.

    The free factors m are the context's; a number stays z_f.

    References
    ----------
    Wang et al., "ContextNet", 2021 (contextual embedding, PFFN).
    """

    def __init__(self, inputs: Inputs, context: Sequence[str], units: int) -> None:
        super().__init__(inputs, context, units)
        self.groups = FieldGroups(inputs)
        self.mask = Factors(self.context.width, units, inputs.width, bounded=False)
        self.point_wise = nn.ModuleList(
            nn.Identity() if dim == 1 else _PointWise(dim) for dim in self.groups.dims
        )

    def forward(self, x: Tensor) -> Tensor:
        """See `Enhancement.forward`."""
        fields = self.groups.split(x * self.mask(self.context(x)))
        return self.groups.join([layer(fields[g]) for g, layer in enumerate(self.point_wise)])


class _PointWise(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, z: Tensor) -> Tensor:
        # torch multiplies what is not contiguous in another order where weights have gradients.
        z = z.contiguous()
        return self.norm(self.outer(F.relu(self.inner(z))) + z)


def _units(inputs: Inputs) -> list[str]:
    names = [table.name for table in inputs.tables for _ in range(table.dim)]
    return [*names, *inputs.numeric]


def _norm(dim: int) -> nn.Module:
    return nn.Identity() if dim == 1 else nn.LayerNorm(dim)


ENHANCEMENTS: dict[str, type[Enhancement]] = {
    "senet": FieldGate,
    "epnet": EmbeddingGate,
    "maskblock": MaskBlock,
    "contextnet": ContextualFields,
}
_NONE, _HIDDEN, _BOTH = "none", "ppnet", "pepnet"


def context_settings(hidden_layers: bool = True) -> dict[str, Setting]:
    """Declare the settings of a network whose columns, and hidden layers if any, are enhanced."""
    hidden = (_HIDDEN, _BOTH) if hidden_layers else ()
    words = "'senet' a factor for each column; 'epnet' a gate for each unit of the columns; "
    words += "'maskblock', 'contextnet' maps of masked columns"
    words += "; 'ppnet' a gate for each hidden unit; 'pepnet' both gates" if hidden else ""
    return {
        "context_enhancement": choice(
            _NONE, *ENHANCEMENTS, *hidden, doc=f"how the context of a row enhances it: {words}"
        ),
        "context_columns": columns(
            doc="columns, categorical or numeric, that are the context; none: all columns"
        ),
        "context_units": integer(32, at_least=1, doc="units by which the context decides"),
    }


class RowContext(nn.Module):
    """What the context of a row does to its columns, and what it is to hidden layers.

    Parameters
    ----------
    inputs : Inputs
    config : dict
        Of a network with `context_settings`.

    Raises
    ------
    ValueError
        If the context has columns that `inputs` has not.
    """

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__()
        kind, context = config["context_enhancement"], config["context_columns"]
        of_columns = ENHANCEMENTS.get("epnet" if kind == _BOTH else kind)
        self.columns: Any = None
        if of_columns is not None:
            self.columns = of_columns(inputs, context, config["context_units"])
        gates = kind in (_HIDDEN, _BOTH)
        self.hidden = ContextUnits(_units(inputs), context) if gates else None
        self._widths = [inputs.embedded_width, len(inputs.numeric)]

    def forward(self, embedded: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return embedded [B, E] and numeric [B, M] enhanced, and what gates hidden layers read."""
        x = torch.cat([embedded, numeric], 1)
        if self.columns is not None:
            x = self.columns(x)
            embedded, numeric = x.split(self._widths, 1)
        return embedded, numeric, None if self.hidden is None else self.hidden.learning(x)


def row_context(inputs: Inputs, config: dict[str, Any]) -> RowContext | None:
    """Return what the settings of a network say, None for nothing.

    Raises
    ------
    ValueError
        As of `RowContext`, and for a context that nothing reads.
    """
    if config["context_enhancement"] != _NONE:
        return RowContext(inputs, config)
    if config["context_columns"]:
        raise ValueError(
            f"contextCols are {config['context_columns']}, and contextEnhancement is 'none': say "
            f"what they enhance, by one of {', '.join(map(repr, (*ENHANCEMENTS, _HIDDEN, _BOTH)))}"
        )
    return None


def hidden_gates(inputs: Inputs, config: dict[str, Any]) -> FactorsSize | None:
    """Return the size of the gates of hidden layers, None where there are none."""
    gates = config["context_enhancement"] in (_HIDDEN, _BOTH)
    return FactorsSize(inputs.width, config["context_units"]) if gates else None
