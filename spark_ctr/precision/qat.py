"""Quantisation-aware networks: layers that compute on quantised weights and train FP32 masters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from spark_ctr.kernels.levels import MOST_INPUTS
from spark_ctr.networks.layers.bags import Bags
from spark_ctr.networks.layers.embedding import EmbeddingTables, bags_of
from spark_ctr.networks.network import Network
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.index4 import index4_factor, index4_fake_quantise
from spark_ctr.precision.index8 import index8_fake_quantise, index8_scale
from spark_ctr.precision.levels import Levels

INT8 = "int8"
BINARY = "binary"


class Index8Linear(nn.Module):
    """A linear layer whose weight and inputs are fake-quantised to 8 bits in every forward.

    The steps of the inputs go into the weight before it is rounded, so that an output is a sum of
    whole numbers times one scale.

    Parameters
    ----------
    linear : nn.Linear
        The layer to copy weight and bias from.
    activations : bool
        Whether the inputs have 8 bits too; see `spark_ctr.precision.levels.Levels.fit`.
    """

    def __init__(self, linear: nn.Linear, activations: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(linear.weight.detach().clone())
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        few = linear.in_features <= MOST_INPUTS
        self.levels = Levels(linear.in_features) if activations and few else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, float32 [..., N], of inputs [..., K]."""
        weight = index8_fake_quantise(*self.whole())
        if self.levels is not None:
            x, weight = self.levels(x), weight * self.levels.inverse
        return functional.linear(x, weight, self.bias)

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return the weight that is rounded, float32 [N, K], and its scales [N, 1]."""
        weight = self.weight if self.levels is None else self.weight * self.levels.step
        return weight, index8_scale(weight, by_output=True)


class Index8Embedding(nn.Embedding):
    """Stacked embedding tables, fake-quantised with one scale for each block of rows.

    The scales are those of the weight that is copied; what grows beyond them is clipped.

    Parameters
    ----------
    embedding : nn.Embedding
        The weight [sum(rows), dim] that holds the blocks one after the other.
    rows : list of int
        Rows of each block: a column's table, or the table that columns share.
    blocks : list of int
        Block of each slot that is looked up.
    coarse : list of (int, int), optional
        Rows [first, last) of each block that have 4 bits, with a factor a row.
    """

    blocks: Tensor | None
    scale: Tensor
    factor: Tensor | None

    def __init__(
        self,
        embedding: nn.Embedding,
        rows: list[int],
        blocks: list[int],
        coarse: Sequence[Sequence[int]] | None = None,
    ) -> None:
        weight = embedding.weight.detach().clone()
        super().__init__(
            embedding.num_embeddings,
            embedding.embedding_dim,
            sparse=embedding.sparse,
            _weight=weight,
        )
        self.rows = rows
        tables = weight.split(rows)
        scales = [index8_scale(table) for table in tables]
        self.register_buffer("scale", torch.stack(scales))
        each_its_own = blocks == list(range(len(rows)))
        self.register_buffer(
            "blocks", None if each_its_own else torch.tensor(blocks), persistent=False
        )
        none = all(first == last for first, last in coarse or ())
        self.coarse = None if none else [(first, last) for first, last in coarse or ()]
        factor = limits = None
        if self.coarse is not None:
            factor = torch.ones(len(weight), dtype=torch.uint8)
            parts = zip(factor.split(rows), tables, scales, self.coarse, strict=True)
            for of_table, table, scale, (first, last) in parts:
                of_table[first:last] = index4_factor(table[first:last], scale)
            starts = torch.tensor([0, *rows[:-1]]).cumsum(0)
            limits = starts[:, None] + torch.tensor(self.coarse)
        self.register_buffer("factor", factor)
        self.register_buffer("limits", limits, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ids [B, slots], offset into the stacked blocks; float32 [B, slots, dim]."""
        values, scale = super().forward(ids), self._of_slots(self.scale)[:, None]
        fine = index8_fake_quantise(values, scale)
        if self.factor is None:
            return fine
        first, last = self._of_slots(self.get_buffer("limits")).unbind(1)
        coarse = index4_fake_quantise(values, scale, self.factor[ids][..., None])
        return torch.where(((ids >= first) & (ids < last))[..., None], coarse, fine)

    def _of_slots(self, of_blocks: Tensor) -> Tensor:
        return of_blocks if self.blocks is None else of_blocks[self.blocks]


def quantisable_layers(network: Network) -> list[str]:
    """Return the names of every FP32 linear and embedding layer, in module order."""
    return [name for name, layer in network.named_modules() if is_fp32(layer)]


def is_fp32(layer: nn.Module) -> bool:
    """Return whether a module is a linear or embedding layer that is not quantised yet."""
    return type(layer) in (nn.Linear, nn.Embedding)


def prepare(
    network: Network,
    plan: Mapping[str, str],
    calibration: tuple[Tensor, Tensor] | None = None,
    *,
    activations: bool = True,
    coarse: Mapping[str, Sequence[Sequence[int]]] | None = None,
) -> Network:
    """Copy a network with the layers of a plan quantised.

    Parameters
    ----------
    network : Network
        The FP32 network; left as it is.
    plan : mapping of str to {"int8", "binary"}
        Precision by layer name, from `spark_ctr.precision.sensitivity.choose_plan`. Layers not
        named stay FP32. Embeddings cannot be binary.
    calibration : (Tensor [B, ids_width] int, Tensor [B, M] float32), optional
        Ids and numeric values of some rows, to which the steps of the inputs of 8-bit layers and
        the values of the input signs of 1-bit layers are fitted; without it they are 1 and +-1.
    activations : bool
        Whether the inputs of 8-bit linear layers have 8 bits too.
    coarse : mapping of str to list of (int, int), optional
        Rows of embedding layers that have 4 bits: [first, last) of each block, as from
        `spark_ctr.precision.rare_rows.rare_rows`.

    Returns
    -------
    Network
        Same class, names and training mode; forward and backward as for the FP32 network.

    Raises
    ------
    ValueError
        If the plan names no such layer or an unknown precision.
    """
    copied = copy.deepcopy(network)
    unknown = sorted(set(plan) - set(quantisable_layers(copied)))
    if unknown:
        raise ValueError(
            f"the plan names layers {unknown} that network '{network.name}' does not have; "
            f"it has {quantisable_layers(network)}"
        )
    seen = None if calibration is None else LayerInputs(copied, list(plan), *calibration)
    bags = bags_of(copied)
    layers: dict[str, nn.Module] = {}
    for name, precision in plan.items():
        layer, of = copied.get_submodule(name), bags.get(name)
        if precision == INT8 and isinstance(layer, nn.Embedding) and of is not None:
            layers[name] = Index8Embedding(layer, of.rows, of.blocks, (coarse or {}).get(name))
        else:
            layers[name] = _quantised(name, layer, precision, activations)
    for name, layer in layers.items():
        copied.set_submodule(name, layer.train(network.training))
    if seen is not None:
        for name, layer in layers.items():
            if isinstance(layer, BinaryLinear):
                layer.fit_input(seen.of[name])
            elif isinstance(layer, Index8Linear) and layer.levels is not None:
                layer.levels.fit(seen.of[name], _known_steps(copied, seen, name))
    return copied


def _quantised(name: str, layer: nn.Module, precision: str, activations: bool) -> nn.Module:
    if precision == INT8 and isinstance(layer, nn.Linear):
        return Index8Linear(layer, activations)
    if precision == BINARY and isinstance(layer, nn.Linear):
        return BinaryLinear(layer)
    kinds = "'int8' or 'binary'" if isinstance(layer, nn.Linear) else "'int8'"
    raise ValueError(f"layer '{name}' cannot be '{precision}'; the plan may say {kinds}")


class LayerInputs:
    """What some layers are given, and what all tables give, in evaluation mode.

    Parameters
    ----------
    network : Network
    names : list of str
        Of the layers.
    ids, numeric : Tensor
        Rows to run the network over.

    Attributes
    ----------
    of : dict of str to Tensor, [rows, K]
        Inputs by layer; of embedding layers and of what is not called there are none.
    embedded : dict of str to Tensor, [rows, W]
        Outputs of each `EmbeddingTables` by its name.
    """

    @torch.no_grad()
    def __init__(self, network: Network, names: list[str], ids: Tensor, numeric: Tensor) -> None:
        found: dict[str, list[Tensor]] = {}
        self.embedded: dict[str, Tensor] = {}
        handles = []
        for name, module in network.named_modules():
            if isinstance(module, EmbeddingTables):
                handles.append(module.register_forward_hook(self._keep_embedded(name)))
            elif name in names and isinstance(module, nn.Linear):
                found[name] = []
                handles.append(module.register_forward_pre_hook(_keep(found[name])))
        training = network.training
        network.eval()(ids, numeric)
        network.train(training)
        for handle in handles:
            handle.remove()
        self.of = {name: torch.cat(parts) for name, parts in found.items() if parts}

    def _keep_embedded(self, name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def hook(_: nn.Module, arguments: tuple[Tensor], output: Tensor) -> None:
            self.embedded[name] = output

        return hook


def _keep(parts: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def hook(_: nn.Module, arguments: tuple[Tensor]) -> None:
        parts.append(arguments[0].flatten(0, -2))

    return hook


def _known_steps(network: Network, seen: LayerInputs, name: str) -> Tensor | None:
    """Return the steps of a layer's first inputs where they are the rows of tables as they are.

    0 stands for a column of several slots, whose rows are pooled.
    """
    x = seen.of[name]
    for tables, embedded in seen.embedded.items():
        width = embedded.shape[1]
        if x.shape[0] == len(embedded) and width > 0 and torch.equal(x[:, :width], embedded):
            return _table_steps(network.get_submodule(tables))
    return None


def _table_steps(tables: nn.Module) -> Tensor:
    assert isinstance(tables, EmbeddingTables)
    columns = tables.inputs.tables
    steps: dict[int, Tensor] = {}
    for weight, bags in zip(tables.weights, tables.bags, strict=True):
        assert isinstance(bags, Bags)
        first = 0
        for c in bags.order:
            one = columns[c].slots == 1 and isinstance(weight, Index8Embedding)
            step = weight.get_buffer("scale")[bags.blocks[first]] if one else torch.zeros(())
            steps[c] = step.expand(columns[c].dim)
            first += columns[c].slots
    return torch.cat([steps[c] for c in range(len(columns))])
