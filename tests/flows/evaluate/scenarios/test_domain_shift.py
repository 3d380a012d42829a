"""Domain shift as a job: what every state is measured on, and what a shift moves out of view."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from flows.evaluate import job as evaluate
from flows.evaluate.request import Scenario
from flows.evaluate.scenarios import domain_shift
from flows.open_backbone import open_backbone
from model_zoo.learner_table import make_learner
from pipeline.camera_shift import CameraShift
from pipeline.episode_draws import EpisodeImages, sample_images
from pipeline.evaluation import Row, read_truth, score_levels
from pipeline.metrics import image_auroc
from pipeline.product_lines.lines import ImageRecord, find_lines
from pipeline.settings import Settings
from pipeline.support import SupportConfig, build_query, build_support, read_defect_mask
from pipeline.synthetic.lines import write_lines
from tests.flows.evaluate.scenarios.evaluated import LEARNERS_HERE, SIZE, figures, request


@pytest.fixture(scope="module")
def shifted(lines: Path, settings: Settings) -> list[Row]:
    return evaluate.run(request(lines, Scenario.DOMAIN_SHIFT, shifts=("light", "magnification")), settings).rows


def test_domain_shift_has_a_row_for_every_shift_and_state(shifted):
    states = Counter((row["condition"], row["adaptation"], row["learner"]) for row in shifted)
    assert set(states.values()) == {3}
    expected = {("as taken", "unshifted", name.value) for name in LEARNERS_HERE}
    for condition in ("light", "magnification"):
        for adaptation in ("stale", "re-adapted", "unadapted"):
            learners = LEARNERS_HERE[1:] if adaptation == "unadapted" else LEARNERS_HERE
            expected |= {(condition, adaptation, name.value) for name in learners}
    assert set(states) == expected
    assert {row["strength"] for row in shifted if row["condition"] != "as taken"} == {1.0}
    assert {row["scenario"] for row in shifted} == {"domain-shift"}


def test_stale_and_re_adapted_are_what_they_claim(shifted, lines, settings):
    """Measured again from the files: support as taken or retaken, query always retaken."""
    backbone = open_backbone("tf_efficientnet_lite0", SIZE, settings)
    source, preprocess = backbone.cached(settings), backbone.preprocess()
    learner = make_learner("memory_bank", backbone.spec)
    shift = CameraShift("light", 1.0, 0)
    different = 0
    for line in find_lines(lines):
        drawn = sample_images(line, good=2, defects=2, query=100, seed=0, spare_good=False)
        records = [record.under(shift) for record in drawn.query]
        query, truth = build_query(records, source, preprocess), read_truth(records, (SIZE, SIZE))
        found = []
        for adaptation, good in (("stale", drawn.good), ("re-adapted", [record.under(shift) for record in drawn.good])):
            head = learner.adapt(build_support(good, (), source, preprocess, SupportConfig(), seed=0), seed=0)
            scores = score_levels(head, query.levels).image_score.double().numpy()
            (row,) = [
                row
                for row in shifted
                if (row["line"], row["learner"], row["condition"], row["adaptation"])
                == (line.name, "memory_bank", "light", adaptation)
            ]
            assert row["image_auroc"] == image_auroc(scores, truth.labels)
            assert row["pixel_auroc"] > 0
            found.append(scores)
        different += not np.allclose(found[0], found[1])
    assert different == 3, "else the two states could not be told apart"


def test_unadapted_is_the_pooled_head_on_the_stale_support(shifted):
    def of(learner: str, adaptation: str) -> list[dict[str, float | None]]:
        return [figures(r) for r in shifted if (r["learner"], r["adaptation"]) == (learner, adaptation)]

    assert of("in_context", "unadapted") == of("in_context", "stale")
    assert len(of("hypernetwork", "unadapted")) == len(of("in_context", "unadapted"))
    assert of("hypernetwork", "stale") != of("hypernetwork", "unadapted")


def test_unshifted_rows_are_those_of_few_shot_whatever_else_was_asked_for(shifted, few):
    """Also: the query does not depend on the smaller numbers of support images asked for along with the largest."""

    def measured(rows: list[Row]) -> dict[str, list[float]]:
        return {row["line"]: [row[key] for key in ("image_auroc", "image_ap", "pixel_auroc", "aupro")] for row in rows}

    unshifted = [row for row in shifted if (row["adaptation"], row["learner"]) == ("unshifted", "memory_bank")]
    assert measured(unshifted) == measured([row for row in few if (row["good"], row["defects"]) == (2, 2)])


def test_a_defect_that_magnification_moves_out_of_view_leaves_support_and_query(tmp_path):
    write_lines(tmp_path, (4,), good=2, test_good=2, defects=2, size=96)
    (line,) = find_lines(tmp_path)
    gone, stays = line.defects
    assert gone.mask_path is not None
    corners = np.zeros((96, 96), np.uint8)
    corners[:2, :2] = corners[-2:, :2] = corners[:2, -2:] = corners[-2:, -2:] = 255  # one camera shows one at most
    cv2.imwrite(str(gone.mask_path), corners)
    shift = next(s for s in (CameraShift("magnification", 2.0, seed) for seed in range(9)) if not shows(s, gone))
    seen = domain_shift.retaken(EpisodeImages(line.train_good, (gone, stays), (*line.test_good, gone, stays)), shift)
    assert [record.path for record in seen.defects] == [stays.path]
    assert [record.path for record in seen.query] == [record.path for record in (*line.test_good, stays)]
    assert all(record.shift == shift for record in (*seen.good, *seen.defects, *seen.query))
    light = domain_shift.retaken(EpisodeImages(line.train_good, (gone, stays), line.defects), CameraShift("light"))
    assert (len(light.defects), len(light.query)) == (2, 2)


def shows(shift: CameraShift, record: ImageRecord) -> bool:
    mask = read_defect_mask(record)
    return mask is not None and bool(shift.apply_mask(mask).any())
