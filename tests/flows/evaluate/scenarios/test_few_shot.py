"""Few-shot as a job: numbers of images, seen and unseen defects."""

from __future__ import annotations

import math
import shutil
from collections import Counter

import numpy as np
import pytest

from flows.asking.learner_names import LearnerName
from flows.evaluate import job as evaluate
from flows.evaluate.request import EvaluateRequest, Protocol
from pipeline.episode_draws import sample_images
from pipeline.errors import LineError
from pipeline.evaluation import seen_and_unseen
from pipeline.product_lines.lines import find_lines
from tests.flows.evaluate.scenarios.evaluated import SIZE


def test_few_shot_takes_several_numbers_of_good_images_and_tells_seen_from_unseen_defects(few, lines):
    assert Counter((row["good"], row["defects"]) for row in few) == {(k, m): 3 for k in (1, 2) for m in (0, 2)}
    assert all(math.isnan(row["image_auroc_seen"]) for row in few if row["defects"] == 0)
    assert any(not math.isnan(row["image_auroc_unseen"]) for row in few)
    for line in find_lines(lines):
        drawn = sample_images(line, good=2, defects=2, query=100, seed=0, spare_good=False)
        shown = {record.kind for record in drawn.defects}
        (row,) = [row for row in few if (row["line"], row["good"], row["defects"]) == (line.name, 2, 2)]
        unseen = any(record.kind not in shown for record in drawn.query if record.is_defect)
        assert math.isnan(row["image_auroc_unseen"]) == (not unseen)


def test_seen_and_unseen_share_the_good_images():
    kinds = ["good", "good", "crack", "hole", "crack"]
    scores = np.array([0.2, 0.6, 0.7, 0.4, 0.1])
    found = seen_and_unseen(scores, kinds, {"crack"})
    assert found == {"image_auroc_seen": 0.5, "image_auroc_unseen": 0.5}
    found = seen_and_unseen(np.array([0.2, 0.6, 0.7, 0.1, 0.8]), kinds, {"crack"})
    assert found == {"image_auroc_seen": 1.0, "image_auroc_unseen": 0.0}
    assert math.isnan(seen_and_unseen(scores, kinds, {"crack", "hole"})["image_auroc_unseen"])
    assert all(math.isnan(value) for value in seen_and_unseen(scores, kinds, set()).values())


def test_a_meta_learner_without_defects_to_learn_from_is_one_sentence(lines, settings, tmp_path):
    shutil.copytree(next((lines / "two").iterdir()) / "train" / "good", tmp_path / "good_only" / "good")
    job = EvaluateRequest(
        protocol=Protocol.TRAIN_TEST,
        train_lines=tmp_path,
        test_lines=lines / "two",
        learners=(LearnerName.HYPERNETWORK,),
        size=SIZE,
    )
    with pytest.raises(LineError) as caught:
        evaluate.run(job, settings)
    assert str(caught.value) == (
        "expected training lines with defective images, got none: add lines with defects, or evaluate memory_bank alone"
    )
