"""Networks named by import path: a user's own modules."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.tables import Inputs

_IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_import_path(name: str) -> bool:
    """Return whether a name has the form "package.module:Class"."""
    return bool(_IMPORT_PATH.fullmatch(name))


def import_class(path: str) -> type[nn.Module]:
    """Import the class that a path names. This runs the code of its module.

    Parameters
    ----------
    path : str
        "package.module:Class".

    Raises
    ------
    ImportError
        If the module cannot be imported or has no such class.
    TypeError
        If it is not a subclass of nn.Module.
    """
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ImportError(
            f"network '{path}': cannot import '{module_name}' ({error}); install it, or put it on "
            "PYTHONPATH, on the driver and on the executors"
        ) from error
    if not hasattr(module, class_name):
        raise ImportError(f"network '{path}': module '{module_name}' has no '{class_name}'")
    found = getattr(module, class_name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise TypeError(f"network '{path}' must be a subclass of torch.nn.Module, got {found!r}")
    return found


class ModuleNetwork(Network):
    """A user's module as a network: its logits, and no hidden layers by name.

    A module of several tasks names them in a class attribute ``tasks``.

    Parameters
    ----------
    inputs : Inputs
    config : dict
        JSON-able; handed to the module as it is.
    module_class : type
        Called with (inputs, config); its forward(ids, numeric) returns logits [B, T], or [B].

    Attributes
    ----------
    module : Module
    """

    def __init__(
        self, inputs: Inputs, config: dict[str, Any], module_class: type[nn.Module]
    ) -> None:
        try:
            config = json.loads(json.dumps(config, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(f"the settings of a network must be JSON-able: {error}") from error
        self.tasks = tuple(getattr(module_class, "tasks", Network.tasks))
        super().__init__(inputs, config)
        # A copy: what is saved is what the module was built from, whatever it does with it.
        self.module = module_class(inputs, json.loads(json.dumps(config)))

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.module(ids, numeric)
        check_logits(type(self.module).__name__, logits, ids.shape[0], self.tasks)
        return logits, {}


def check_logits(name: str, logits: Any, rows: int, tasks: Sequence[str]) -> None:
    """Check that a network returned a number for each row and task.

    Raises
    ------
    ValueError
    """
    wanted = [(rows, len(tasks)), *([(rows,)] if len(tasks) == 1 else [])]
    if not isinstance(logits, Tensor) or logits.shape not in wanted:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"network '{name}' must return logits of shape [B, T] for its {len(tasks)} task(s), "
            f"here {' or '.join(str(list(shape)) for shape in wanted)}, got {got}"
        )
    if not logits.is_floating_point():
        raise ValueError(f"network '{name}' must return floating-point logits, got {logits.dtype}")


@torch.no_grad()
def check_imported(network: Network) -> None:
    """Run an imported network on two rows and check what it returns and what it would save.

    Raises
    ------
    ValueError
    """
    ids = torch.zeros(2, network.inputs.ids_width, dtype=torch.int32)
    numeric = torch.zeros(2, len(network.inputs.numeric))
    check_logits(network.name, network.eval()(ids, numeric), 2, network.tasks)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"network '{network.name}' has no parameters to train")
    odd = [name for name, value in network.state_dict().items() if not isinstance(value, Tensor)]
    if odd:
        raise ValueError(
            f"network '{network.name}' keeps {odd} in its state, and only tensors can be saved"
        )
