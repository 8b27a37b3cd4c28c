"""Cross network of DCN-V2."""

from __future__ import annotations

from torch import Tensor, nn

from spark_ctr.networks.layers.low_rank_cross import LowRankCross


class CrossNetwork(nn.Module):
    """Full-matrix cross layers, x_{l+1} = x_0 * (W_l x_l + b_l) + x_l, or low-rank ones.

    Parameters
    ----------
    width : int
        Width of the input and of every layer.
    layers : int
        Number of cross layers; 0 passes the input through.
    rank : int
        Above 0, layers are `LowRankCross` of this rank.
    experts : int
        Experts of a low-rank layer.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021, equation 1.
    """

    def __init__(self, width: int, layers: int, rank: int = 0, experts: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            LowRankCross(width, rank, experts) if rank > 0 else nn.Linear(width, width)
            for _ in range(layers)
        )

    def forward(self, x0: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Run x0 [B, width] through all layers.

        Returns
        -------
        output : Tensor [B, width]
        crosses : dict of str to Tensor
            Output of each layer under "cross_0", "cross_1", ...
        """
        x, crosses = x0, {}
        for i, layer in enumerate(self.layers):
            # torch is several times slower at a product of two dtypes.
            x = x + x0 * layer(x).to(x.dtype)
            crosses[f"cross_{i}"] = x
        return x, crosses
