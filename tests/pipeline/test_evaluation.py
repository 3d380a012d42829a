"""Splits, and the metrics of one cell of the table."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.calibration import calibrate
from pipeline.errors import ConfigError
from pipeline.evaluation import (
    evaluate_outputs,
    leave_one_data_set_out,
    leave_one_line_out,
    ranking_figures,
    read_truth,
)
from pipeline.learner import AnomalyOutput
from pipeline.product_lines.lines import ProductLine, load_line
from pipeline.synthetic.lines import write_line


def line(data_set: str, name: str) -> ProductLine:
    return ProductLine(f"{data_set}/{name}", data_set, Path(name), (), (), ())


LINES = [line("a", "1"), line("a", "2"), line("b", "1"), line("c", "1")]


def test_leaving_a_data_set_out_leaves_all_its_lines_out():
    folds = leave_one_data_set_out(LINES)
    assert [fold.name for fold in folds] == ["a", "b", "c"]
    for fold in folds:
        assert {other.data_set for other in fold.test} == {fold.name}
        assert fold.name not in {other.data_set for other in fold.train}
        assert len(fold.train) + len(fold.test) == 4


def test_leaving_a_line_out_keeps_its_relatives():
    folds = leave_one_line_out(LINES)
    assert len(folds) == 4
    assert all(fold.test[0] not in fold.train and len(fold.train) == 3 for fold in folds)


def test_too_few_lines_to_split_is_one_sentence():
    with pytest.raises(ConfigError, match="at least two data sets"):
        leave_one_data_set_out(LINES[:2])
    with pytest.raises(ConfigError, match="at least two lines"):
        leave_one_line_out(LINES[:1])


THRESHOLD = calibrate(np.array([0.0, 0.1]), np.zeros((2, 8, 8), np.float32), target_false_reject_rate=0.01, pooled=None)


def output(scores: list[float], maps: np.ndarray) -> AnomalyOutput:
    return AnomalyOutput(torch.tensor(scores), torch.from_numpy(maps).float(), torch.zeros(len(scores), 1, 1).long())


def test_a_perfect_head_gets_perfect_figures_and_an_inverted_one_the_opposite(tmp_path):
    made = load_line(write_line(tmp_path, 5, good=2, test_good=3, defects=4, size=64))
    records = (*made.test_good, *made.defects)
    truth = read_truth(records, (64, 64))
    maps = np.stack([mask.astype(np.float32) for mask in truth.masks])

    def figures(sign: float) -> dict[str, float]:
        scores = [sign * float(label) for label in truth.labels]
        return evaluate_outputs(output(scores, sign * maps), truth, THRESHOLD)

    good, bad = figures(10.0), figures(-10.0)
    for name in ("image_auroc", "image_ap", "pixel_auroc", "aupro", "f1_max"):
        assert good[name] == pytest.approx(1.0, abs=1e-6)
    assert (good["false_reject_rate"], good["missed_defect_rate"]) == (0.0, 0.0)
    assert bad["image_auroc"] == bad["pixel_auroc"] == 0.0
    assert bad["missed_defect_rate"] == 1.0


def test_ranking_needs_no_threshold(tmp_path):
    made = load_line(write_line(tmp_path, 5, good=2, test_good=3, defects=4, size=64))
    truth = read_truth((*made.test_good, *made.defects), (64, 64))
    rng = np.random.default_rng(0)
    found = output(rng.normal(size=7).tolist(), rng.normal(size=(7, 16, 16)))
    judged = evaluate_outputs(found, truth, THRESHOLD)
    assert judged.keys() - ranking_figures(found, truth).keys() == {"false_reject_rate", "missed_defect_rate"}
    assert judged == judged | ranking_figures(found, truth)


def test_a_line_without_masks_has_no_pixel_figures(tmp_path):
    made = load_line(write_line(tmp_path, 6, good=2, test_good=2, defects=2, size=64))
    bare = [type(record)(record.path, record.line, record.kind, None) for record in (*made.test_good, *made.defects)]
    truth = read_truth(bare, (64, 64))
    row = evaluate_outputs(output([0.0, 0.0, 1.0, 1.0], np.zeros((4, 8, 8))), truth, THRESHOLD)
    assert math.isnan(row["pixel_auroc"])
    assert math.isnan(row["aupro"])
    assert row["image_auroc"] == 1.0
