"""Base class of all networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.blocks import configured_mlp
from spark_ctr.networks.layers.context import RowContext
from spark_ctr.networks.layers.mlp import MLP
from spark_ctr.settings import Setting
from spark_ctr.tables import Inputs

_PLAIN = [1.0, 0.0]


class Network(nn.Module):
    """Model of clicks, or of several tasks, over embedded and numeric columns.

    A subclass declares its `settings` and implements `_compute`.

    Parameters
    ----------
    inputs : Inputs
        Columns that the network reads.
    config : dict
        A value for each of `settings`, validated by `networks.registry.build_network`.

    Attributes
    ----------
    name : str
        Name in the registry, or the import path that the network was built by.
    settings : dict of str to Setting
        What `config` may hold.
    tasks : tuple of str
        What the logits are of, a column each.
    derived_tasks : tuple of str
        Those, last of the tasks, whose logits are a function of the others': they have no bias and
        are not recalibrated.
    logit_bias : str
        Name of the parameter that is added to the logits, a number a task.
    logit_parts : tuple of str
        How the names of the parameters begin that the logits are a linear function of, all
        together; empty where there are no such parameters, or they are not known.
    logit_calibration : Tensor, float32, [T, 2]
        Slope and offset that the logits of a task go through last: set by recalibration, not
        trained; 1 and 0 in networks saved before there was one.
    """

    name: str
    settings: ClassVar[dict[str, Setting]] = {}
    tasks: tuple[str, ...] = ("click",)
    derived_tasks: tuple[str, ...] = ()
    logit_bias: ClassVar[str] = "output.bias"
    logit_parts: ClassVar[tuple[str, ...]] = ()
    embedding: Any
    context: RowContext | None

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__()
        self.inputs = inputs
        self.config = config
        self.register_buffer("logit_calibration", torch.tensor([_PLAIN] * len(self.tasks)))

    def forward(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Compute the logits of all tasks.

        Parameters
        ----------
        ids : Tensor, int32 or int64, [B, inputs.ids_width]
        numeric : Tensor, float32, [B, len(inputs.numeric)]

        Returns
        -------
        Tensor, float32, [B, T]

        Raises
        ------
        ValueError
            If a tensor has another number of columns.
        IndexError
            If an id lies outside its table (checked for tensors on the CPU).
        """
        return self.hidden(ids, numeric)[0]

    def member_logits(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Compute the logits that are trained, each by its own loss.

        See `forward` for the parameters.

        Returns
        -------
        Tensor, float32, [members, B, T]
            Of one member, or of those of an `Ensemble`.
        """
        return self(ids, numeric).unsqueeze(0)

    def hidden(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the logits and the hidden activations by name, in depth order.

        See `forward` for the parameters. Each activation is [B, width]. The layers of an MLP are
        named "hidden_0", "hidden_1", ..., after the ReLU and before dropout; distillation pairs
        those of two networks.
        """
        self.check(ids, numeric)
        return self._outputs(ids, numeric)

    def check(self, ids: Tensor, numeric: Tensor) -> None:
        """Raise what `forward` raises for a batch that is none of this network's."""
        widths = self.inputs.ids_width, len(self.inputs.numeric)
        for kind, tensor, width in zip(("ids", "numeric"), (ids, numeric), widths, strict=True):
            if tensor.ndim != 2 or tensor.shape[1] != width:
                tables, numbers = self.inputs.slot_tables, self.inputs.numeric
                names = [table.name for table in tables] if kind == "ids" else list(numbers)
                raise ValueError(
                    f"{kind} must have shape [B, {width}] for columns {names}, "
                    f"got {list(tensor.shape)}"
                )
        if ids.device.type == "cpu":
            self.check_ids(ids)

    def check_ids(self, ids: Tensor) -> None:
        """Raise IndexError if an id of this CPU tensor [B, ids_width] lies outside its table."""
        self.inputs.id_range.check(ids.numpy())

    def _outputs(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what `hidden` returns, of checked inputs."""
        logits, hidden = self._compute(ids, numeric)
        line = self.get_buffer("logit_calibration")
        # A user's network of one task may return [B].
        logits = logits.reshape(-1, len(self.tasks))
        return logits * line[:, 0] + line[:, 1], hidden

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        name = f"{prefix}logit_calibration"
        line = state_dict.setdefault(name, torch.tensor([_PLAIN] * len(self.tasks)))
        if line.shape == (2,):  # before there were tasks
            line = state_dict[name] = line[None]
        if line.shape[1:] == (2,) and not (line.isfinite().all() and (line[:, 0] > 0).all()):
            raise ValueError(
                f"network is damaged: logits go through slope and offset {line.tolist()}, which "
                "must be finite and the slope above 0; save the model again"
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return logits [B, T] before `logit_calibration`, and hidden activations by name."""
        raise NotImplementedError

    def _enhanced(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the columns as `context` enhances them, and what the gates of an MLP read.

        Of a network with `embedding`, tables of all columns, and `context`, from `row_context`.
        """
        embedded = self.embedding(ids)
        return (
            (embedded, numeric, None) if self.context is None else self.context(embedded, numeric)
        )

    def _perceptron(
        self, width: int, layers: Sequence[int] | None = None, prefix: str = "hidden"
    ) -> MLP:
        """Return an MLP as the settings say, see `configured_mlp`."""
        return configured_mlp(width, self.inputs, self.config, self._norm, prefix, layers)

    @property
    def _norm(self) -> str | None:
        if self.config["batch_norm"] and self.config["layer_norm"]:
            raise ValueError("set at most one of batch_norm and layer_norm")
        if self.config["batch_norm"]:
            return "batch"
        return "layer" if self.config["layer_norm"] else None
