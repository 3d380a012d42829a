"""What every test may use."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

from pipeline.process_tuning import tune_process
from tests.checkout import REPOSITORY
from tests.parts.memory_folder import MEMORY, has_room_in_memory

tune_process()
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the cores: threads of one would take them from the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if "PYTEST_DEBUG_TEMPROOT" not in os.environ and has_room_in_memory():  # xdist's workers inherit it, too
    os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)

if "LINEWISE_TEMPLATE_CACHE" not in os.environ:  # xdist's workers inherit it: a graph is traced once a run
    os.environ["LINEWISE_TEMPLATE_CACHE"] = tempfile.mkdtemp(prefix="linewise-templates-")
    atexit.register(shutil.rmtree, os.environ["LINEWISE_TEMPLATE_CACHE"], ignore_errors=True)

# How long an example takes says what else the machine does, and nothing of the code.
untimed = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("untimed", untimed)
hypothesis.settings.register_profile("ci", untimed, derandomize=True)  # a landing does not hang on a lucky draw
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "untimed")

SLOWEST_FIRST = (
    "end_to_end/test_prefect_server.py",
    "end_to_end/test_prefect_outages.py",
    "end_to_end/test_readme.py",
    "end_to_end/test_prefect_up.py",
    "end_to_end/test_line_life.py",
    "end_to_end/test_prefect_upgrade.py",
    "end_to_end/test_wheel.py",
    "flows/evaluate/scenarios/",
    "model_zoo/test_learner_conformance.py",
    "model_zoo/test_learner_devices.py",
    "flows/test_jobs.py",
    "flows/server/",
    "flows/score/test_score_job.py",
    "model_zoo/learners/test_auto.py",
    "flows/test_backbone_choice.py",
    "flows/doctor/test_doctor.py",
    "flows/meta_train/test_training_device.py",
)
"""Files and folders that take minutes: two workers share the whole run evenly only if these do not come last."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(REPOSITORY / "tests").as_posix()
        return next((place for place, slow in enumerate(SLOWEST_FIRST) if path.startswith(slow)), len(SLOWEST_FIRST))

    items.sort(key=rank)


@pytest.fixture(scope="session")
def real_lines() -> Path:
    """The folder of real product lines; tests that need it skip elsewhere."""
    folder = Path(os.environ.get("LINEWISE_LINES", REPOSITORY.parent / "shared" / "lines"))
    if not folder.is_dir():
        pytest.skip(f"no real product lines at {folder}: set LINEWISE_LINES to run this test")
    return folder


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes bytes to a file of this test and returns its path."""

    def write(data: bytes, name: str = "image.png") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write
