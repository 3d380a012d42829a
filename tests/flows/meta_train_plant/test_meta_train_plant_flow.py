"""The flow `meta-train-plant` against a real Prefect API: a plant with too few lines is told so, and nothing fails."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from flows.meta_train_plant.flow import meta_train_plant
from flows.meta_train_plant.request import MetaTrainPlantRequest
from tests.flows.adapted_home import SIZE
from tests.flows.server.test_line_life import artifacts


@pytest.mark.timeout(900)
def test_a_held_meta_model_shows_in_the_list_of_runs_with_its_reason(
    prefect_api, adapted_home: Path, tmp_path: Path
) -> None:
    state = meta_train_plant(MetaTrainPlantRequest(folder=tmp_path, size=SIZE), return_state=True)
    assert (state.is_completed(), state.name) == (True, "Held")
    assert str(state.message).startswith("held: 5 lines with 9 good and 5 defective images each are needed")
    told = str(artifacts(state.state_details.flow_run_id)["plant-meta-model-shared-direction"].data)
    assert "- 4 images adapted from, and gone or changed" in told
    assert "is left out: it has 0 good and 0 defective images to learn from." in told
