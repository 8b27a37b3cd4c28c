"""Random draws of torch from generators of one's own, whatever other threads draw meanwhile."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from spark_ctr.networks.layers.dropout import Dropout, dropped

# Held by whoever has put a state of its own into torch's global generators.
_global_generators = threading.RLock()

# Built-in functions that take a generator; of functions in Python the signature tells.
_DRAWING = frozenset(
    [
        "bernoulli",
        "bernoulli_",
        "cauchy_",
        "exponential_",
        "geometric_",
        "log_normal_",
        "multinomial",
        "normal",
        "normal_",
        "poisson",
        "rand",
        "randint",
        "randn",
        "random_",
        "randperm",
        "uniform_",
    ]
)


class RandomDraws:
    """Generators of one training or one initialisation.

    torch's global generators belong to the process: fits in threads would draw from one sequence,
    and so would whatever the user draws in between. What is built here draws from these instead.

    Parameters
    ----------
    seed : int
    device : torch.device, optional
        Where tensors are drawn; the CPU always is.
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.devices = [torch.device("cpu")]
        if device is not None and device.type != "cpu":
            self.devices.append(device)
        self._own = {d.type: torch.Generator(d).manual_seed(seed) for d in self.devices}
        # For functions that take no generator.
        self._global = {
            d.type: torch.Generator(d).manual_seed(seed + 1).get_state() for d in self.devices
        }

    def generator(self, device: torch.device) -> torch.Generator | None:
        """Return the generator for tensors on a device; None for a device not named."""
        return self._own.get(device.type)

    @contextmanager
    def drawing(self, unknown_code: bool = False) -> Iterator[None]:
        """Have torch's functions draw from these generators in this thread.

        Those that take no generator are told apart by `unknown_code`: where a user's module runs,
        the global generators hold a state of ours meanwhile, for one thread at a time, and are put
        back at the end.
        """
        if not unknown_code:
            with _OwnGenerators(self.generator):
                yield
            return
        with _global_generators:
            before = {d.type: _get_global(d) for d in self.devices}
            try:
                for d in self.devices:
                    _set_global(d, self._global[d.type])
                with _OwnGenerators(self.generator):
                    yield
            finally:
                for d in self.devices:
                    self._global[d.type] = _get_global(d)
                    _set_global(d, before[d.type])

    @contextmanager
    def dropout_of(self, module: torch.nn.Module) -> Iterator[None]:
        """Have the module's `Dropout` layers draw from these generators inside the context."""
        layers = [layer for layer in module.modules() if isinstance(layer, Dropout)]
        for layer in layers:
            layer.generators = self._own
        try:
            yield
        finally:
            for layer in layers:
                # A module with a generator could not be copied.
                layer.generators = {}

    def states(self) -> dict[str, Tensor]:
        """Return the states of all generators by name."""
        own = {f"{kind}.own": generator.get_state() for kind, generator in self._own.items()}
        return own | {f"{kind}.global": state for kind, state in self._global.items()}

    def load_states(self, states: Mapping[str, Tensor]) -> None:
        """Continue from what `states` returned."""
        for kind, generator in self._own.items():
            generator.set_state(states[f"{kind}.own"])
            self._global[kind] = states[f"{kind}.global"]


class _OwnGenerators(TorchFunctionMode):
    """Hand a generator to every function of torch that takes one, in this thread."""

    def __init__(self, generator: Callable[[torch.device], torch.Generator | None]) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.dropout:
            return self._dropout(*args, **kwargs)
        if kwargs.get("generator") is None and _takes_generator(func):
            generator = self._generator(_device(args, kwargs))
            if generator is not None:
                kwargs["generator"] = generator
        return func(*args, **kwargs)

    def _dropout(
        self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not 0 <= p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        if not training or p == 0:
            return input
        scaled = dropped(input, p, self._generator(input.device))
        return input.copy_(scaled) if inplace else scaled


@lru_cache(1024)
def _takes_generator(func: Any) -> bool:
    if inspect.isfunction(func):
        try:
            return "generator" in inspect.signature(func).parameters
        except ValueError:  # wraps a builtin, as Tensor.__pow__ does, which draws nothing
            return False
    return getattr(func, "__name__", "") in _DRAWING


def _device(args: Any, kwargs: dict[str, Any]) -> torch.device:
    """Return where a function draws: on the named device, that of its tensors, or the default."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            return value.device
    return torch.get_default_device()


def _get_global(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.default_generator.get_state()


def _set_global(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.default_generator.set_state(state)
