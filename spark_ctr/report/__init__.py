"""Report of a run: one HTML page, the same figures as JSON, and a table for the terminal."""

from spark_ctr.estimator.serving_time import microseconds_per_row
from spark_ctr.report.model_comparison import (
    constant_rate,
    quality,
    saved_bytes,
    serving_times,
    slot_calibration,
)
from spark_ctr.report.plots import (
    draw_comparison,
    draw_front,
    draw_reliability,
    selection_figures,
)
from spark_ctr.report.report import format_table, leak_warnings, write_report
from spark_ctr.report.verdict import loss_warnings

__all__ = [
    "constant_rate",
    "draw_comparison",
    "draw_front",
    "draw_reliability",
    "format_table",
    "leak_warnings",
    "loss_warnings",
    "microseconds_per_row",
    "quality",
    "saved_bytes",
    "selection_figures",
    "serving_times",
    "slot_calibration",
    "write_report",
]
