"""The CCDF plot renders and shows what it is given."""

import io

import numpy as np
import pytest

from spark_ctr.power_law import CountHistogram, fit_discrete, plot_ccdf


@pytest.mark.parametrize("with_fit", [True, False])
@pytest.mark.parametrize("cut", [None, 20, 10**12])
def test_plot_renders(with_fit, cut):
    hist = CountHistogram.from_counts(np.random.default_rng(0).zipf(2.0, 2000))
    fit = fit_discrete(hist) if with_fit else None
    ax = plot_ccdf(hist, fit, cut, title="ip")
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any("2,000 values" in label for label in labels)
    assert any("power law" in label for label in labels) == with_fit
    assert any(f"{hist.values_at_least(20)} private" in label for label in labels) == (cut == 20)
    buffer = io.BytesIO()
    ax.figure.savefig(buffer)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_plot_of_identifiers_uses_the_given_axes():
    axes = plot_ccdf(CountHistogram([1], [10]))
    other = axes.figure.add_subplot()
    assert plot_ccdf(CountHistogram([1], [10]), ax=other) is other
