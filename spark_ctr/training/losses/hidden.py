"""Term "hidden": how far layers are from another network's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.ensemble import members_of
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.network import Network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.settings import Setting, choice
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import weighted_mean
from spark_ctr.training.losses.term import Outputs, Term

LAYERS = choice("hidden", "cross", "embedding")


def _pairing(value: Any) -> str | list[int]:
    wanted = "'uniform', 'learned' or a list of the teacher's layers, counted from 1"
    if isinstance(value, str):
        if value in ("uniform", "learned"):
            return value
        raise ValueError(wanted)
    items = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, list | tuple):
        raise TypeError(wanted)
    if not all(type(item) is int for item in items):
        raise ValueError(wanted)
    return list(items)


PAIRING = Setting(
    "uniform",
    _pairing,
    "which of the teacher's layers each layer follows: 'uniform', in proportion to depth; a list "
    "of the teacher's layers, counted from 1; or 'learned', a mixture of all",
)


def match_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """Pair student layer l = 1..L_s with teacher layer round(l * L_t / L_s).

    Returns
    -------
    list of int
        Teacher layers counted from 1, halves rounded up, none if either network has no layers.
    """
    if student_layers < 1 or teacher_layers < 1:
        return []
    return [
        max(1, math.floor(layer * teacher_layers / student_layers + 0.5))
        for layer in range(1, student_layers + 1)
    ]


def matched_layers(
    student: Network, teacher: Network, pairing: str | Sequence[int] = PAIRING.default
) -> dict[str, str]:
    """Return the teacher's layer that each of the student's hidden layers follows.

    Of a learned pairing it is "learned" for every layer.

    Raises
    ------
    ValueError
        If a given pairing does not fit the layers.
    """
    followed = _followed(PAIRING.value("pairing", pairing), *map(layer_widths, (student, teacher)))
    return {s: "learned" if pairing == "learned" else of[0] for s, of in followed.items()}


class HiddenDistance(Term):
    """Distance of layers, linearly projected and layer-normalised, from a network's.

    decay * sum_l b_l sum_m s_lm mean (LN(W_lm h^l) - LN(h_frozen^m))^2

    The mean is weighted by row and runs over the units of the frozen network's layer, so that b_l
    means the same at every width. LN has no affine part. The maps W_lm are trained along. `decay`
    falls from 1 in the first epoch by 1 / `decay_epochs` per epoch to 0. A layer follows one of
    the frozen network's (s_lm = 1), or, where the pairing is learned, all of them by the shares
    s_l = softmax(a_l), which start equal and are trained along.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`; only layer widths are read here.
    of : str
        Name of the frozen network.
    layers : {"hidden", "cross", "embedding"}
        Layers of the perceptron, of the cross network, or the embedded columns, side by side; of
        an `Ensemble` those of its members side by side.
    pairing : {"uniform", "learned"} or sequence of int
        "uniform": see `match_layers`, nothing where a network has no such layers; or the number
        of the frozen network's layer, from 1, for each layer.
    layer_weights : float or sequence of float
        b_l over the weight, one for all layers or one each.
    decay_epochs : int
        Epochs until layers no longer count.
    seed : int
        Seed of the initial W_lm.

    Raises
    ------
    ValueError
        If the number of `layer_weights` or the pairing does not fit the layers, a network has no
        embedded columns or others, or a setting is out of range.

    References
    ----------
    Romero et al., "FitNets", ICLR 2015; Chen et al., "Cross-layer distillation with semantic
    calibration", AAAI 2021, for projecting to every layer and weighing the distances.
    """

    decays = True
    mixture: nn.Parameter | None

    def __init__(
        self,
        network: Network,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        of: str = "teacher",
        layers: str = LAYERS.default,
        pairing: str | Sequence[int] = PAIRING.default,
        layer_weights: float | Sequence[float] = 1.0,
        decay_epochs: int,
        seed: int = 0,
    ) -> None:
        super().__init__(network, frozen, weight)
        if decay_epochs < 1:
            raise ValueError(f"decay_epochs must be >= 1, got {decay_epochs}")
        if of not in frozen:
            raise ValueError(f"layers are compared with the network {of!r}: there is none")
        self.of = of
        self.layers = LAYERS.value("layers", layers)
        self.reads_hidden = layers != "embedding"
        self.decay_epochs = decay_epochs
        self.decay = 1.0
        if layers == "embedding":
            _check_tables(network, frozen[of], of)
        widths, wanted = (layer_widths(each, layers) for each in (network, frozen[of]))
        if isinstance(layer_weights, (int, float)):
            given = [float(layer_weights)]
            weights = given * len(widths)
        else:
            given = weights = list(layer_weights)
        if len(weights) != len(widths) or min(given, default=0.0) < 0:
            raise ValueError(
                f"layer_weights must be one number >= 0 or one for each layer {list(widths)} of "
                f"the network, got {layer_weights}"
            )
        self.layer_weights = [weight * b for b in weights]
        chosen = PAIRING.value("pairing", pairing)
        if chosen != "uniform" and weight * sum(given) > 0 and not (widths and wanted):
            raise _misfit(chosen, widths, wanted)
        self.followed = _followed(chosen, widths, wanted)
        learned = chosen == "learned" and self.followed
        shares = torch.zeros(len(widths), len(wanted))
        self.register_parameter("mixture", nn.Parameter(shares) if learned else None)
        with RandomDraws(seed).drawing():
            self.projections = nn.ModuleList(
                nn.Linear(widths[own], wanted[other], bias=False)
                for own, others in self.followed.items()
                for other in others
            )

    @property
    def matched(self) -> dict[str, str]:
        """The layer that each layer follows; of a learned pairing the one with the most weight."""
        best = [0] * len(self.followed) if self.mixture is None else self.mixture.argmax(1).tolist()
        pairs = zip(self.followed.items(), best, strict=True)
        return {own: others[at] for (own, others), at in pairs}

    def before_epoch(self, epoch: int) -> None:
        """Set the decay for this epoch (from 0)."""
        self.decay = max(0.0, 1.0 - epoch / self.decay_epochs)

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield the distance of each pair of layers."""
        if self.decay == 0.0 or not self.followed:
            return
        hidden, wanted = outputs.layers(self.layers), outputs.layers(self.layers, self.of)
        projections = iter(self.projections)
        for i, (own, others) in enumerate(self.followed.items()):
            scale: Any = [self.decay * self.layer_weights[i]] * len(others)
            if self.mixture is not None:
                scale = scale[0] * torch.softmax(self.mixture[i], 0)
            for factor, other in zip(scale, others, strict=True):
                projected = next(projections)(hidden[own])
                gap = _layer_norm(projected) - _layer_norm(wanted[other])
                yield factor * weighted_mean(gap.square().mean(1), outputs.batch.weight)


def layer_widths(network: Network, layers: str = LAYERS.default) -> dict[str, int]:
    """Read the widths of the layers of a kind off an empty batch."""
    device = next(network.parameters()).device
    ids = torch.zeros(0, network.inputs.ids_width, dtype=torch.int32, device=device)
    numeric = torch.zeros(0, len(network.inputs.numeric), device=device)
    training = network.training
    network.eval()
    with torch.no_grad():
        rows = Batch(ids, numeric, numeric.sum(1), numeric.sum(1))
        found = Outputs(network, {}, rows, True).layers(layers)
    network.train(training)
    return {name: h.shape[1] for name, h in found.items() if h.shape[1]}


def _followed(
    pairing: Any, widths: Mapping[str, int], wanted: Mapping[str, int]
) -> dict[str, list[str]]:
    """Return the teacher's layers that each of the student's follows."""
    others = list(wanted)
    if pairing == "learned":
        return dict.fromkeys(widths, others) if others else {}
    if pairing == "uniform":
        numbers = match_layers(len(widths), len(others))
        return {own: [others[m - 1]] for own, m in zip(widths, numbers, strict=False)}
    if len(pairing) != len(widths) or not all(1 <= m <= len(others) for m in pairing):
        raise _misfit(pairing, widths, wanted)
    return {own: [others[m - 1]] for own, m in zip(widths, pairing, strict=True)}


def _misfit(pairing: Any, widths: Mapping[str, int], wanted: Mapping[str, int]) -> ValueError:
    return ValueError(
        f"pairing {pairing!r} does not fit: the network has the layers {list(widths)} and the one "
        f"it follows {list(wanted)}; give one number from 1 to {len(wanted)} for each layer, or "
        "'uniform'"
    )


def _check_tables(network: Network, other: Network, name: str) -> None:
    """Raise ValueError unless both networks embed the same columns."""
    found = []
    for who, each in (("the network", network), (name, other)):
        tables: list[Any] = [getattr(member, "embedding", None) for member in members_of(each)]
        if not all(isinstance(of, EmbeddingTables) for of in tables):
            raise ValueError(
                f"{who} ({each.name}) has no EmbeddingTables named embedding to compare: the "
                "weight of embeddings must be 0"
            )
        found.append([table.ids_layout for table in tables[0].inputs.tables])
    if found[0] != found[1]:
        raise ValueError(
            f"the network and {name} embed other tables, {found[0]} and {found[1]}: the weight of "
            "embeddings must be 0"
        )


def _layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])
