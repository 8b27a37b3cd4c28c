"""A student's first weights from its teacher's, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from spark_ctr.networks.ensemble import members_of
from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.mlp import MLP, HiddenLayer
from spark_ctr.networks.network import Network
from spark_ctr.training.losses.hidden import match_layers

_RIDGE = 1e-4


@torch.no_grad()
def start_from(
    student: Network, teachers: Sequence[Network], ids: Tensor, numeric: Tensor, layers: bool = True
) -> list[str]:
    """Set a student's weights by its teachers', in place: tables, then layer after layer.

    What the networks do not have in common, embedding tables or a perceptron, is left as it is.

    Parameters
    ----------
    student : Network
    teachers : sequence of Network
        Of the same columns with the same ids, ensembles too.
    ids, numeric : Tensor [n, ...]
        Of training rows.
    layers : bool
        False: the tables alone.

    Returns
    -------
    list of str
        What was set, of "tables" and "layers".
    """
    members = [member for teacher in teachers for member in members_of(teacher)]
    if not student.inputs.tables or any(_tables(one) is None for one in [*members, student]):
        done = []
    else:
        start_tables(student, members, ids)
        done = ["tables"]
    own_tables = bool(done) or not student.inputs.tables
    if layers and own_tables and all(_mlp(one) is not None for one in [*members, student]):
        start_layers(student, members, ids, numeric)
        done.append("layers")
    return done


@torch.no_grad()
def start_tables(student: Network, members: Sequence[Network], ids: Tensor) -> None:
    """Set a student's embedding tables to principal components of its teacher's, in place.

    The rows of one table of all the teacher's members stand side by side. Their mean and their
    components are those over the values in a sample of rows, so that frequent values count for
    more; the student's rows are the first components, turned into as many columns as it has.

    Parameters
    ----------
    student : Network
    members : sequence of Network
        Teachers, with embedding tables of the same ids.
    ids : Tensor, int32, [n, inputs.ids_width]
        Of training rows.
    """
    own = _tables(student)
    others = [_tables(one) for one in members]
    assert own is not None
    for columns, weight, rows in _blocks(own):
        wide = torch.cat([_block_of(other, columns) for other in others if other], 1).double()
        counts = torch.zeros(len(wide), dtype=torch.float64)
        for found in _named_rows(own, columns, ids):
            counts += torch.bincount(found, minlength=len(wide)).double()
        scores = _components(wide, counts, weight.shape[1], _may_move(own, columns))
        kept = scores.shape[1]
        weight[rows, :kept] = scores.to(weight.dtype)


@torch.no_grad()
def start_layers(
    student: Network, members: Sequence[Network], ids: Tensor, numeric: Tensor
) -> None:
    """Fit a student's perceptron to its teacher's, layer by layer, in place.

    Each layer is regressed, from what the student has computed so far, on units of the teacher's
    matched layer before their ReLU: those from which the others follow best after it, one by one.
    The logit is regressed on the last layer.

    Parameters
    ----------
    student : Network
        Its tables are set already.
    members : sequence of Network
        Teachers, with perceptrons.
    ids, numeric : Tensor [n, ...]
        Of training rows.
    """
    own = _mlp(student)
    assert own is not None
    student.eval()
    names = list(own.layers)
    followed = [_pre_activations(one, ids, numeric) for one in members]
    depth = min(len(layers) for layers in followed)
    logits = torch.stack([one(ids, numeric) for one in members]).mean(0)
    for name, at in zip(names, match_layers(len(names), depth), strict=True):
        layer: HiddenLayer = own.layers[name]  # type: ignore[assignment]
        wanted = torch.cat([layers[at - 1] for layers in followed], 1)
        x = _input_of(layer.linear, student, ids, numeric)
        width = layer.linear.out_features
        # The next layer reads them after the ReLU.
        chosen = _spanning(wanted.relu(), width)
        _fit(layer.linear, x, wanted[:, chosen], rows=len(chosen))
        if isinstance(layer.norm, BatchNorm):
            _pass_through(layer.norm, layer.linear(x))
    output = getattr(student, "output", None)
    if isinstance(output, nn.Linear) and output.out_features == logits.shape[1]:
        x = _input_of(output, student, ids, numeric)
        rest = student(ids, numeric) - output(x)
        _fit(output, x, logits - rest, rows=logits.shape[1])


def _tables(network: Network) -> EmbeddingTables | None:
    found = getattr(network, "embedding", None)
    # The weights of "lr" are tables too, with one number a row.
    own = isinstance(found, EmbeddingTables) and found.inputs == network.inputs
    return found if own else None


def _mlp(network: Network) -> MLP | None:
    found = getattr(network, "mlp", None)
    return found if isinstance(found, MLP) and len(found.layers) else None


def _blocks(tables: EmbeddingTables) -> Iterator[tuple[list[int], Tensor, slice]]:
    """Yield each block of rows: the columns that read it, the weight that holds it, its rows."""
    for columns, weight, bags in zip(tables.groups, tables.weights, tables.bags, strict=True):
        start = 0
        shared: dict[object, list[int]] = {}
        for c in columns:
            shared.setdefault(tables.inputs.tables[c].shared or c, []).append(c)
        for members, rows in zip(shared.values(), bags.rows, strict=True):  # type: ignore[arg-type]
            yield members, weight.weight, slice(start, start + rows)  # type: ignore[misc]
            start += rows


def _block_of(tables: EmbeddingTables, columns: list[int]) -> Tensor:
    return next(w[rows] for found, w, rows in _blocks(tables) if found == columns)


def _named_rows(tables: EmbeddingTables, columns: list[int], ids: Tensor) -> Iterator[Tensor]:
    """Yield the rows of a block that a sample names, slot by slot."""
    slots = [c for c, t in enumerate(tables.inputs.tables) for _ in range(t.slots)]
    for slot, c in enumerate(slots):
        if c in columns:
            table = tables.inputs.tables[c]
            found = ids[:, slot].long()
            if table.signed:
                found = torch.where(found < 0, ~found, found)
            yield found[(found >= 0) & (found < table.rows)]


def _may_move(tables: EmbeddingTables, columns: list[int]) -> bool:
    """Whether a constant on all rows is a constant on all embeddings."""
    kinds = [tables.inputs.tables[c] for c in columns]
    return not any(t.signed or t.padded or (t.slots > 1 and t.pooling == "sum") for t in kinds)


def _components(wide: Tensor, counts: Tensor, dim: int, centre: bool) -> Tensor:
    """Return the first `dim` components of each row, the axes those of the counted rows."""
    share = counts / counts.sum().clamp_min(1)
    centred = wide - share @ wide if centre else wide
    _, _, axes = torch.linalg.svd(centred * share.sqrt()[:, None], full_matrices=False)
    return centred @ axes[:dim].T


def _spanning(units: Tensor, width: int) -> Tensor:
    """Return up to `width` columns from which the others follow best."""
    rest = (units - units.mean(0)).double()
    rest = rest.T @ rest / len(units)
    chosen: list[int] = []
    for _ in range(min(width, units.shape[1])):
        spread = rest.diagonal()
        # The unit that explains most of what is left of all.
        gain = rest.square().sum(0) / spread.clamp_min(1e-12)
        gain[spread < 1e-10] = -1
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        rest = rest - torch.outer(rest[best], rest[best]) / rest[best, best]
    return torch.tensor(chosen, dtype=torch.long)


def _fit(linear: nn.Linear, x: Tensor, wanted: Tensor, rows: int) -> None:
    """Regress `wanted` [n, rows] on x [n, n_in] into the first rows of a linear layer."""
    inputs, targets = x.double(), wanted.double()
    mean, level = inputs.mean(0), targets.mean(0)
    centred = inputs - mean
    gram = centred.T @ centred
    ridge = _RIDGE * gram.diagonal().mean() + 1e-12
    gram.diagonal().add_(ridge)
    weight = torch.linalg.solve(gram, centred.T @ (targets - level)).T
    linear.weight[:rows] = weight.to(linear.weight.dtype)
    if linear.bias is not None:
        linear.bias[:rows] = (level - weight @ mean).to(linear.bias.dtype)


def _pass_through(norm: BatchNorm, x: Tensor) -> None:
    """Have a batch normalisation return its input, on rows like these."""
    mean, var = x.mean(0), x.var(0, unbiased=False)
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(var)
    norm.weight.copy_((var + norm.eps).sqrt())
    norm.bias.copy_(mean)


def _input_of(module: nn.Module, network: Network, ids: Tensor, numeric: Tensor) -> Tensor:
    """Return what a module of a network is given on some rows."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        network(ids, numeric)
    finally:
        hook.remove()
    return seen[0]


def _pre_activations(network: Network, ids: Tensor, numeric: Tensor) -> list[Tensor]:
    """Return the perceptron's layers before their ReLU."""
    mlp = _mlp(network)
    assert mlp is not None
    seen: list[Tensor] = []
    hooks = [
        layer.norm.register_forward_hook(lambda _, __, out: seen.append(out))  # type: ignore[union-attr]
        for layer in mlp.layers.values()
    ]
    try:
        network(ids, numeric)
    finally:
        for hook in hooks:
            hook.remove()
    return seen
