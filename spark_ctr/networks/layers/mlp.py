"""Multilayer perceptron with named hidden layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.networks.layers.dropout import Dropout
from spark_ctr.networks.layers.factors import Factors, FactorsSize


class HiddenLayer(nn.Module):
    """Linear map, optional normalisation, ReLU."""

    def __init__(self, n_in: int, n_out: int, norm: str | None) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        norms = {None: nn.Identity, "batch": BatchNorm, "layer": nn.LayerNorm}
        if norm not in norms:
            raise ValueError(f"norm must be 'batch', 'layer' or None, got {norm!r}")
        self.norm = norms[norm](n_out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map x [B, n_in] to [B, n_out]."""
        return F.relu(self.norm(self.linear(x)))


class MLP(nn.Module):
    """Hidden layers, each followed by dropout.

    Parameters
    ----------
    n_in : int
        Width of the input.
    hidden_layers : sequence of int
        Widths of the hidden layers; empty passes the input through.
    dropout : float
        Share of activations dropped in training.
    norm : {"batch", "layer", None}
        Normalisation between the linear map and the ReLU.
    prefix : str
        Layers are named "<prefix>_0", "<prefix>_1", ...
    gates : FactorsSize, optional
        Of a gate of each layer, by a context: each activation is multiplied by its `Factors`.

    References
    ----------
    Chang et al., "PEPNet", KDD 2023 (gates of hidden layers, PPNet).
    """

    def __init__(
        self,
        n_in: int,
        hidden_layers: Sequence[int],
        dropout: float,
        norm: str | None = None,
        prefix: str = "hidden",
        gates: FactorsSize | None = None,
    ) -> None:
        super().__init__()
        widths = [n_in, *hidden_layers]
        self.layers = nn.ModuleDict(
            {
                f"{prefix}_{i}": HiddenLayer(widths[i], widths[i + 1], norm)
                for i in range(len(hidden_layers))
            }
        )
        self.gates = None
        if gates is not None:
            sizes = zip(self.layers, hidden_layers, strict=True)
            self.gates = nn.ModuleDict({name: Factors(*gates, width) for name, width in sizes})
        self.dropout = Dropout(dropout)
        self.width = widths[-1]

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Run x [B, n_in] through all layers, which context [B, gates.n_in] gates.

        Returns
        -------
        output : Tensor [B, width]
            Last activation, after dropout.
        hidden : dict of str to Tensor
            Activation of each layer before dropout, in depth order.
        """
        hidden: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            x = layer(x)
            hidden[name] = x if self.gates is None else x * self.gates[name](context)
            x = self.dropout(hidden[name])
        return x, hidden
