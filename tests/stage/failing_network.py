"""A network whose second process fails or dies, named by import path in other processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from spark_ctr.networks import Inputs, build_network


class Failing(nn.Module):
    """A small network that fails in a forward pass of training.

    Settings: ``how`` ("raise", "kill"), ``at`` (which pass), ``marker`` (a file that is made then;
    where it exists, nothing fails any more).
    """

    def __init__(self, inputs: Inputs, config: dict) -> None:
        super().__init__()
        self.network = build_network(
            "dnn", inputs, {"hidden_layers": [4], "dropout": 0.0, "batch_norm": False}
        )
        self._config = config
        self._passes = 0

    def forward(self, ids: torch.Tensor, numeric: torch.Tensor) -> torch.Tensor:
        """Compute logits [B]."""
        if self.training and dist.is_initialized() and dist.get_rank() == 1:
            self._passes += 1
            marker = Path(self._config["marker"])
            if self._passes == self._config["at"] and not marker.exists():
                marker.touch()
                if self._config["how"] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OverflowError("planted")
        return self.network(ids, numeric)
