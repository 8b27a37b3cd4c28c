"""Some columns, and small settings of every network."""

from spark_ctr.networks import Inputs, Table

INPUTS = Inputs(
    (Table("site", 7, 4), Table("ad", 5, 2), Table("hour", 24, 4), Table("user", 11, 3)),
    ("age", "price"),
)
WIDTHS = {"hidden_layers": [8, 6], "dropout": 0.1, "batch_norm": False}
SMALL = {
    "lr": {},
    "fm": {},
    "dnn": WIDTHS,
    "deepfm": WIDTHS,
    "dcnv2": {**WIDTHS, "cross_layers": 2},
    "autoint": {**WIDTHS, "attention_layers": 2, "attention_dim": 8, "heads": 2},
    "fibinet": {**WIDTHS, "reduction": 1},
    "finalmlp": {**WIDTHS, "second_layers": [4], "heads": 2, "gate_layers": [3]},
}
LOW_RANK = {**SMALL["dcnv2"], "cross_rank": 3, "cross_experts": 2}
# Every network, and every part that only a setting brings in.
VARIANTS = [
    *SMALL.items(),
    ("dcnv2", LOW_RANK),
    ("fibinet", {**SMALL["fibinet"], "bilinear": "each"}),
    ("fibinet", {**SMALL["fibinet"], "bilinear": "all"}),
    ("fm", {"context_enhancement": "senet", "context_units": 3}),
    ("deepfm", {**WIDTHS, "context_enhancement": "maskblock", "context_units": 3}),
    ("dnn", {**WIDTHS, "context_enhancement": "contextnet", "context_units": 3}),
    ("dcnv2", {**SMALL["dcnv2"], "context_enhancement": "pepnet", "context_units": 3}),
]
