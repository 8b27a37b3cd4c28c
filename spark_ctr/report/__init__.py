"""Report of a run: one HTML page, the same figures as JSON, and a table for the terminal."""

from spark_ctr.report.plots import selection_figures
from spark_ctr.report.report import format_table, write_report

__all__ = ["format_table", "selection_figures", "write_report"]
