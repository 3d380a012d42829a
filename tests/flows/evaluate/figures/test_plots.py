"""The evaluation's plots, whatever the values."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.evaluate.figures.evaluation_rows import METRIC
from flows.evaluate.figures.plots import differences_plot, lines_plot, settings_plot
from flows.evaluate.figures.summary import Evaluation
from tests.flows.evaluate.figures.rows import row


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a/1", "a/2", "b/1"]),
            st.sampled_from(["memory_bank", "x", "y"]),
            st.integers(0, 1),
            st.sampled_from([0, 2]),
            st.one_of(st.none(), st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
        ),
        unique_by=lambda entry: entry[:4],
        max_size=30,
    ),
    st.sampled_from(["image_auroc", "false_reject_rate", "adapt_seconds"]),
)
def test_plots_stay_inside_their_frame_and_keep_the_order_of_values(entries, key):
    rows = [row(line, learner, seed, None, defects) | {key: value} for line, learner, seed, defects, value in entries]
    evaluation = Evaluation(rows)
    plots = [settings_plot(evaluation, METRIC[key])]
    for setting in evaluation.settings:
        plots.append(differences_plot(evaluation, METRIC[key], setting))
        drawn = lines_plot(evaluation, METRIC[key], setting)
        plots.append(drawn)
        if drawn is None:
            continue
        dots = [dot for band in drawn.bands for dot in band.dots]
        spreads = [
            evaluation.line(key, learner, setting, line) for line in evaluation.lines for learner in evaluation.learners
        ]
        means = [spread.mean for spread in spreads if spread.seeds]
        assert len(dots) == len(means)
        order = np.argsort(means, kind="stable")
        assert np.all(np.diff(np.array([dot.at for dot in dots])[order]) >= -0.011)
    for plot in plots:
        if plot is None:
            continue
        assert len(plot.ticks) >= 2
        for band in plot.bands:
            assert band.y + band.height <= plot.height
            for dot in band.dots:
                assert 0 <= dot.low <= dot.at <= dot.high <= 100
                assert all(0 <= place <= 100 for place in dot.small)
                assert band.y < dot.y < band.y + band.height
