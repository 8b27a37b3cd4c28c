"""FiBiNET: field weights and bilinear interactions before a multilayer perceptron."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.bilinear import KINDS, BilinearInteraction
from spark_ctr.networks.layers.context import context_settings, row_context
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.networks.layers.linear_term import NumericTerm, scalar_tables
from spark_ctr.networks.layers.numeric_fields import NumericFields, common_dim
from spark_ctr.networks.layers.senet import FieldReweighting
from spark_ctr.networks.network import Network
from spark_ctr.networks.settings import perceptron
from spark_ctr.settings import Setting, choice, integer
from spark_ctr.tables import Inputs


class FiBiNET(Network):
    """Linear term plus a perceptron over the bilinear pairs of the fields, plain and reweighted.

    Works at the widest table's dimension; narrower tables are projected. A numeric column is a
    field like the others and enters the linear term. `hidden` returns the reweighted fields,
    "senet" [B, fields * k], and the pairs of both kinds, "bilinear" [B, fields * (fields - 1) * k],
    then the perceptron's layers.

    Attributes
    ----------
    first_order : EmbeddingTables
        The linear term's weight per id (dimension 1), besides `embedding`.

    Raises
    ------
    ValueError
        If there is one column only, which has no pairs.

    References
    ----------
    Huang et al., "FiBiNET", RecSys 2019. One bilinear layer serves both kinds of fields, as in
    the run that BARS publishes for Frappe_x1 (which takes `bilinear` "all" and `reduction` 2).
    """

    name = "fibinet"
    logit_bias = "numeric.bias"
    logit_parts = ("first_order.", "numeric.", "output.")
    settings: ClassVar[dict[str, Setting]] = {
        # Widths of BARS on Frappe_x1. Dropout and no batch normalisation are those of the best run
        # on Adult in `benchmarks.model_zoo`, with an AUC of 0.9269.
        **perceptron([400, 400, 400], dropout=0.2),
        "bilinear": choice(*KINDS, doc="which fields or pairs share a matrix"),
        "reduction": integer(3, at_least=1, doc="fields for each unit that reweights them"),
        **context_settings(),
    }

    def __init__(self, inputs: Inputs, config: dict[str, Any]) -> None:
        super().__init__(inputs, config)
        dim, fields = common_dim(inputs), len(inputs.tables) + len(inputs.numeric)
        if fields < 2:
            raise ValueError(
                f"network '{self.name}' models pairs of columns and there is one only, "
                f"{[*(t.name for t in inputs.tables), *inputs.numeric]}; choose another network"
            )
        self.embedding = EmbeddingTables(inputs, dim)
        self.context = row_context(inputs, config)
        self.numeric_fields = NumericFields(len(inputs.numeric), dim)
        self.first_order = scalar_tables(inputs)
        self.numeric = NumericTerm(len(inputs.numeric))
        self.senet = FieldReweighting(fields, config["reduction"])
        self.bilinear = BilinearInteraction(fields, dim, config["bilinear"])
        width = 2 * self.bilinear.pairs * dim
        self.mlp = self._perceptron(width)
        self.output = nn.Linear(self.mlp.width, 1, bias=False)

    def _compute(self, ids: Tensor, numeric: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        linear = self.first_order(ids).sum(1, keepdim=True) + self.numeric(numeric)
        embedded, numeric, context = self._enhanced(ids, numeric)
        fields = torch.cat([self.embedding.project(embedded), self.numeric_fields(numeric)], 1)
        reweighted = self.senet(fields)
        pairs = torch.cat([self.bilinear(fields), self.bilinear(reweighted)], 1).flatten(1)
        deep, hidden = self.mlp(pairs, context)
        interactions = {"senet": reweighted.flatten(1), "bilinear": pairs}
        return linear + self.output(deep), {**interactions, **hidden}
