"""Report: self-contained and escaped page, JSON, terminal table, plots."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from spark_ctr.auction import Interval
from spark_ctr.power_law import CountHistogram, fit_discrete, plot_ccdf
from spark_ctr.report import (
    draw_comparison,
    draw_front,
    draw_reliability,
    format_table,
    selection_figures,
    write_report,
)
from spark_ctr.report.figures import decimals, percent, seconds, significant, size, whole
from spark_ctr.report.plots import front_figure, slots_figure

NASTY = "<b>a$b$c & \"d'</b>"
VOID = {"meta", "img", "br"}


class Selector:
    """What the report uses of PowerLawFeatureSelectorModel."""

    def __init__(self) -> None:
        counts = {
            NASTY: ([1, 2, 3, 8, 40], [600, 120, 50, 9, 2]),
            "small": ([5, 70], [1, 1]),
            "empty": ([], []),
        }
        self.histograms = {
            name: CountHistogram(np.array(x, dtype=np.int64), np.array(n, dtype=np.int64))
            for name, (x, n) in counts.items()
        }
        self.decisions = [_decision(name, h) for name, h in self.histograms.items()]

    def plotCCDF(self, name, ax=None):
        histogram = self.histograms[name]
        return plot_ccdf(histogram, fit_discrete(histogram), 3, ax, name)


def _decision(name, histogram):
    fit = fit_discrete(histogram)
    return {
        "column": name,
        "rows": int(histogram.total),
        "distinct": int(histogram.n),
        "missing": 0,
        "alpha": float(fit.alpha) if fit else None,
        "alpha_se": float(fit.alpha_se) if fit else None,
        "cut": 3,
        "private_rows": 61,
        "buckets": 180,
        "dimension": 4,
        "coverage": 0.5,
        "relevance": None,
        "better_alternative": "lognormal" if fit else None,
        "decision": "head_and_tail" if fit else "drop",
        "reason": "because 1 < 2",
    }


def _model(auc, size_, time, **changed):
    points = [
        {"mean_probability": p, "rate": r, "rows": 500}
        for p, r in ((0.01, 0.0), (0.05, 0.06), (0.4, 0.38))
    ]
    facts = {
        "auc": auc,
        "log_loss": 0.2345678,
        "calibration_ratio": 1.01,
        "expected_calibration_error": 0.004,
        "bytes": size_,
        "microseconds_per_row": time,
        "reliability": points,
        "description": "a network",
    }
    return facts | changed


def _history(*losses):
    epochs = [{"epoch": e, "train_loss": 0.3, "valid_loss": x} for e, x in enumerate(losses)]
    return {"epochs": epochs, "best_epoch": 0, "monitor": "auc", "stopped_early": False}


@pytest.fixture()
def facts():
    return {
        "title": f"Report of {NASTY}",
        "data": {
            "input": "clicks",
            "rows": 1000,
            "train_rows": 800,
            "test_rows": 200,
            "positive_rate": 0.031,
            "label": NASTY,
            "warnings": [f"look at {NASTY}"],
        },
        "models": {
            "quantised": _model(np.float64(0.7791), np.int64(600), 0.5, auc_error=0.002),
            "teacher": _model(0.7812, 12_000, 8.0),
            "student": _model(0.78, 3_000, 2.0, calibration_ratio=float("nan")),
        },
        "constant": {"rate": 0.031, "auc": 0.5, "log_loss": 0.31, "calibration_ratio": 0.98},
        "selection": Selector().decisions,
        "cleaning": [
            {
                "column": NASTY,
                "kind": "categorical",
                "rows": 1000,
                "missing": 2,
                "invalid": 0,
                "changed": 3,
            }
        ],
        "tables": [{"name": NASTY, "rows": 242, "private": 61, "buckets": 180, "dim": 4}],
        "training": {"teacher": _history(0.3, 0.31), "student": _history(None)},
        "quantisation": {
            "plan": {"embedding": "int8", "mlp.layers.1.linear": "binary"},
            "sensitivity": {"increase": {"mlp.layers.1.linear": 0.00231}},
            "attempts": [f"1 layer, {NASTY}"],
        },
        "environment": {"python": "3.11"},
        "seconds": {"cleaning": 3.25, "training": 131.2},
    }


def _plan(binary, loss, time, size_, **marks):
    return {
        "binary": binary,
        "auc": None,
        "log_loss": loss,
        "microseconds_per_row": time,
        "bytes": size_,
        **dict.fromkeys(("trained", "acceptable", "front", "chosen"), False),
        **marks,
    }


@pytest.fixture()
def front():
    return {
        "full": {"auc": 0.8, "log_loss": 0.3, "microseconds_per_row": 8.0, "bytes": 12_000},
        "loss_limit": 0.302,
        "targets": {"microseconds_per_row": 1.5, "bytes": None},
        "points": [
            _plan([], 0.3001, 2.0, 3_000, acceptable=True, front=True),
            _plan([NASTY], 0.35, 1.0, 2_000),
            _plan([NASTY], 0.301, 1.0, 2_000, trained=True, front=True, chosen=True),
        ],
    }


def _written(tmp_path, facts, figures=()):
    page, data = tmp_path / "new" / "report.html", tmp_path / "report.json"
    write_report(str(page), str(data), facts, figures)
    return page.read_text(encoding="utf-8"), json.loads(data.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.links, self.text = [], set(), [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "srcset", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page_needs_nothing_from_outside(tmp_path, facts):
    html, _ = _written(tmp_path, facts, selection_figures(Selector()))
    page = Page(html)
    assert len(page.links) == 5  # cost, reliability, training, two columns
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "a"}
    assert "http" not in html and "url(" not in html and "@import" not in html
    for link in page.links:
        svg = base64.b64decode(link.partition(",")[2]).decode()
        ElementTree.fromstring(svg)
        hrefs = re.findall(r'href="([^"]*)"', svg)
        assert all(target.startswith(("#", "data:")) for target in hrefs)
        assert "<script" not in svg and "<metadata" not in svg


def test_page_escapes_what_the_data_says(tmp_path, facts):
    html, _ = _written(tmp_path, facts, [(NASTY, "<svg/>")])
    page = Page(html)
    assert "b" not in page.tags
    text = " ".join(page.text)
    assert text.count(NASTY) == 8  # one in each section, two titles
    assert "because 1 < 2" in text
    assert "A lognormal distribution fits the counts better" in text


def test_page_states_results(tmp_path, facts):
    html, _ = _written(tmp_path, facts)
    text = re.sub(r"\s+", " ", " ".join(Page(html).text))
    assert "20.0 times smaller and 16.0 times faster than the teacher for +0.0000 in log" in text
    assert "0.7791 ± 0.0039" in text and "constant rate 3.10 % for every row" in text
    assert "1 of 3 columns were kept" in text
    assert "12.0 kB" in text and "0.00231" in text and "2 min 11 s" in text and "3.10 %" in text
    assert text.index("teacher a network") < text.index("student a network")


def test_page_shows_the_slots_beside_all_rows(tmp_path, facts):
    plain, _ = _written(tmp_path, facts)
    one = {"rows": 500, "clicks": 20, "predicted": 21.5, "calibration_ratio": 1.075}
    one["reliability"] = _model(0.7, 1, 1.0)["reliability"]
    quiet = one | {"slot": None, "clicks": 0, "calibration_ratio": None}
    slots = [one | {"slot": NASTY}, quiet, *(one | {"slot": f"slot {i}"} for i in range(20))]
    facts["slots"] = {"all": one | {"rows": 11_000}, "slots": slots}
    html, _ = _written(tmp_path, facts)
    page = Page(html)
    assert len(page.links) == len(Page(plain).links) + 1 and NASTY in page.text
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "all rows 11,000 20 21.5 1.075" in text and "no value 500 0 21.5 –" in text
    figure = slots_figure(facts["slots"])
    ElementTree.fromstring(figure)
    assert figure == slots_figure(facts["slots"]) and figure.count('id="axes_') == 12
    assert slots_figure({}) is None and slots_figure({"all": one, "slots": slots[:1]}) != figure


def test_page_shows_the_front_of_the_plans(tmp_path, facts, front):
    plain, _ = _written(tmp_path, facts)
    facts["quantisation"]["front"] = front
    html, data = _written(tmp_path, facts)
    assert data["quantisation"]["front"] == front
    assert len(Page(html).links) == len(Page(plain).links) + 1
    assert "<h2>Loss, time and size of the plans</h2>" in html.replace("\n", " ")
    assert "size of the plans" not in plain
    assert front_figure(None) is None and front_figure({"points": []}) is None
    assert front_figure(front) == front_figure(front)  # the same bytes on every run


def test_the_front_is_drawn_as_measured(front):
    ax = Figure().subplots()
    draw_front(front, ax)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.lines}
    expected = {
        "front": [[1.0, 0.001], [2.0, 0.0001]],
        "plan, rounded": [[2.0, 0.0001], [1.0, 0.05]],
        "plan, trained": [[1.0, 0.001]],
        "full precision": [[8.0, 0.0]],
        "taken": [[1.0, 0.001]],
    }
    for label, places in expected.items():
        assert np.array(lines[label]) == pytest.approx(np.array(places)), label
    assert np.array(lines["most loss that is acceptable"])[:, 1] == pytest.approx(0.002)
    assert np.array(lines["targetLatency"])[:, 0] == pytest.approx(1.5)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["32 bits, 12.0 kB", "8 bits, 3.00 kB", "1 × 1 bit, 2.00 kB"]
    assert ax.get_yscale() == "symlog"  # a rounded plan loses 25 times what is acceptable
    front["targets"]["microseconds_per_row"] = None
    front["points"] = front["points"][:1]
    draw_front(front, ax := Figure().subplots())
    assert ax.get_yscale() == "linear"
    assert "targetLatency" not in [line.get_label() for line in ax.lines]


def test_a_comparison_is_drawn_in_percent_from_the_top_down():
    compared = {
        name: {"welfare": Interval(value, value - 0.01, value + 0.02)}
        for name, value in (("raw", -0.05), ("raw, calibrated", 0.01))
    }
    draw_comparison(compared, "welfare", ax := Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == ["raw, calibrated", "raw"]
    bars = [(bar.get_width(), bar.get_facecolor()) for bar in ax.patches]
    assert [width for width, _ in bars] == pytest.approx([1.0, -5.0])
    assert bars[0][1] != bars[1][1]
    ends = np.sort([path.vertices[:, 0] for path in ax.collections[0].get_paths()])
    assert ends == pytest.approx(np.array([[0.0, 3.0], [-6.0, -3.0]]))


def test_reliability_is_drawn_with_two_standard_errors():
    points = [{"mean_probability": 0.4, "rate": 0.36, "rows": 400}]
    draw_reliability({"raw": points}, ax := Figure().subplots())
    (bar,) = ax.collections[0].get_paths()
    assert bar.vertices[:, 1] == pytest.approx([0.312, 0.408])


def test_json_holds_the_facts(tmp_path, facts):
    _, data = _written(tmp_path, facts)
    assert data["models"]["student"]["calibration_ratio"] is None
    assert data["models"]["quantised"]["bytes"] == 600
    for name in ("teacher", "student", "quantised"):
        for key in ("auc", "log_loss", "bytes", "microseconds_per_row", "reliability"):
            assert data["models"][name][key] == facts["models"][name][key]
    for section in ("title", "data", "selection", "cleaning", "tables", "quantisation", "seconds"):
        assert data[section] == facts[section]


def test_what_json_cannot_hold_is_named(tmp_path, facts):
    facts["environment"]["device"] = object()
    with pytest.raises(TypeError, match="facts.environment.device is a object"):
        _written(tmp_path, facts)


def test_absent_sections_are_left_out(tmp_path):
    html, data = _written(tmp_path, {"title": "bare", "training": {"teacher": _history(None)}})
    assert data["title"] == "bare"
    headings = re.findall("<h2>(.*?)</h2>", html)
    assert headings == ["Training"]
    assert Page(html).links == [] and "There were no validation rows" in html


def test_selection_figures_show_the_widest_columns():
    figures = selection_figures(Selector(), max_columns=5)
    assert [name for name, _ in figures] == [NASTY, "small"]  # a column without values has no plot
    assert [name for name, _ in selection_figures(Selector(), max_columns=1)] == [NASTY]
    again = selection_figures(Selector(), max_columns=5)
    assert figures == again  # the same bytes on every run


def test_table_of_the_terminal(facts):
    assert format_table(facts).splitlines() == [
        "model                      AUC  log loss  calibration     size  µs per row",
        "──────────────────────────────────────────────────────────────────────────",
        "teacher                 0.7812    0.2346        1.010  12.0 kB        8.00",
        "student                 0.7800    0.2346            –  3.00 kB        2.00",
        "quantised      0.7791 ± 0.0039    0.2346        1.010    600 B       0.500",
        "constant rate           0.5000    0.3100        0.980        –           –",
    ]


def test_numbers_are_worded():
    assert [size(b) for b in (0, 999, 1000, 1_234_567, 2.5e9)] == [
        "0 B",
        "999 B",
        "1.00 kB",
        "1.23 MB",
        "2.50 GB",
    ]
    assert [significant(x) for x in (0.0, 1.2345e-5, 0.012345, 8.0, 1234.5)] == [
        "0",
        "1.23e-05",
        "0.0123",
        "8.00",
        "1,234",
    ]
    assert [seconds(x) for x in (0.123, 3.25, 59.0, 131.2)] == [
        "0.12 s",
        "3.2 s",
        "59 s",
        "2 min 11 s",
    ]
    assert (percent(0.5), whole(12345), decimals(-0.5, 2)) == ("50.0 %", "12,345", "-0.50")
    for word in (size, significant, seconds, percent, whole, decimals):
        assert word(None) == word(float("nan")) == "–"
