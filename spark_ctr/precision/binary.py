"""1-bit values: signs of weights and inputs, after SensiMix with two additions.

Piao et al., PLOS ONE 2022, take ``sign(x) @ sign(w).T`` without any scale and leave the rest to
layer normalisation. CTR networks have none after every layer, so here each output is scaled by
``alpha = mean(|w|)`` of its weights (Rastegari et al., XNOR-Net, ECCV 2016), and a sign of the
input stands for ``input_offset +- input_scale``, two learned scalars of the layer: what comes
out of a ReLU is not centred on 0. Both fold into one scale and bias per output when packed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def sign(x: Tensor) -> Tensor:
    """Return +1 where ``x > 0``, else -1; the gradient passes where ``|x| < 1``.

    The clipped straight-through estimator (Hubara et al., 2016) on both sides: SensiMix's code
    masks only ``w <= -1``, and leaves the gradient of the input unclipped.
    """
    return _Sign.apply(x)


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 1)


class BinaryLinear(nn.Module):
    """A linear layer on signs: ``x_hat @ (alpha * sign(w)).T + bias``.

    ``x_hat = input_scale * sign(x) + input_offset`` and ``alpha = mean(|w|)`` of each output.
    In evaluation the weights are always 1-bit; in training only while `weight_is_binary`, which
    `spark_ctr.precision.schedule.BinarySchedule` turns on (prioritised training).

    Parameters
    ----------
    linear : nn.Linear
        The layer to copy weight and bias from; its FP32 weight is the latent weight.

    Attributes
    ----------
    weight : Parameter [N, K]
        Latent FP32 weight.
    bias : Parameter [N]
        FP32 bias (zeros where the layer had none).
    input_scale, input_offset : scalar Parameter
        Value of a sign; 1 and 0, as in SensiMix, until `fit_input` or training moves them.
    weight_is_binary : bool
        Whether training forwards use the signs of the weight.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = nn.Parameter(linear.weight.detach().clone())
        bias = linear.bias.detach().clone() if linear.bias is not None else None
        self.bias = nn.Parameter(self.weight.new_zeros(len(self.weight)) if bias is None else bias)
        self.input_scale = nn.Parameter(self.weight.new_ones(()))
        self.input_offset = nn.Parameter(self.weight.new_zeros(()))
        self.weight_is_binary = True

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, float32 [B, N], of inputs [B, K]."""
        inputs = sign(x) * self.input_scale + self.input_offset
        binary = self.weight_is_binary or not self.training
        weight = self.alpha()[:, None] * sign(self.weight) if binary else self.weight
        return functional.linear(inputs, weight, self.bias)

    def alpha(self) -> Tensor:
        """Return the scale of each output, ``mean(|w|)``, float32 [N]."""
        return self.weight.abs().mean(dim=1)

    @torch.no_grad()
    def fit_input(self, x: Tensor) -> None:
        """Set `input_scale` and `input_offset` by least squares, so that ``x_hat`` is near `x`.

        Parameters
        ----------
        x : Tensor [B, K]
            Inputs of the layer in the network before quantisation. The best value of a sign is
            the mean of the inputs that have it; with one sign only, both values are that mean.
        """
        positive = x > 0
        mean = x.mean()
        above = x[positive].mean() if positive.any() else mean
        below = x[~positive].mean() if not positive.all() else mean
        self.input_scale.fill_((above - below) / 2)
        self.input_offset.fill_((above + below) / 2)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Return the scale and bias of each output, float32 [N], for a product of pure signs."""
        alpha = self.alpha()
        sums = torch.where(self.weight > 0, 1.0, -1.0).sum(dim=1)
        return alpha * self.input_scale, self.bias + alpha * self.input_offset * sums


def absolute_binary_weight_regularisation(weight: Tensor) -> Tensor:
    r"""Return ABWR of one layer: how far its latent weights are from its binary weights.

    SensiMix adds ``mean((|W| - 1)**2)``, since its binary weights are +-1. Here they are
    +-alpha, so the term is ``mean((|W| - alpha)**2)``, with alpha held constant in the gradient:
    the mean over outputs of the variance of ``|W|``, which pulls the magnitudes of an output
    together and leaves their mean, alpha, where it is.

    Parameters
    ----------
    weight : Tensor [N, K]
        Latent weight.

    Returns
    -------
    scalar Tensor
    """
    magnitude = weight.abs()
    return (magnitude - magnitude.detach().mean(dim=1, keepdim=True)).square().mean()
