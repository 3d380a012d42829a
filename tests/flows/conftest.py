"""Homes in use, the command in this process, and generated lines."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows import cli
from pipeline.settings import Settings, load_settings
from pipeline.synthetic.lines import write_line, write_lines
from tests.flows.adapted_home import adapt_in_home
from tests.flows.command import Command

ELSEWHERE = (
    "LINEWISE_DATABASE_URL",
    "LINEWISE_DEVICE",
    "LINEWISE_JPEG_DECODER",
    "LINEWISE_MAX_PIXELS",
    "LINEWISE_WORKERS",
    "PREFECT_API_URL",
)
"""What a developer's environment may say of other places and machines than a test's."""


def use_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ELSEWHERE:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LINEWISE_HOME", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder that does not exist yet, in use."""
    return use_home(tmp_path / "home", monkeypatch)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing torch fails as where it is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "flows.doctor.specimen", raising=False)


@pytest.fixture
def linewise(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, with `home` in use."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["linewise", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            sys.exit(cli.main())
        captured = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated line, to be read only."""
    return write_line(tmp_path_factory.mktemp("lines"), 7, good=5, test_good=4, defects=6, size=96)


@pytest.fixture(scope="session")
def adapted_once(line: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapt_in_home(line, tmp_path_factory.mktemp("home"))


@pytest.fixture
def adapted_home(adapted_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test alone, in use, with a bundle of `line`."""
    return use_home(shutil.copytree(adapted_once, tmp_path / "home"), monkeypatch)


@pytest.fixture(scope="session")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generated lines in the folder one, another in the folder two, to be read only."""
    folder = tmp_path_factory.mktemp("lines")
    write_lines(folder / "one", (1, 2), good=6, test_good=6, defects=8, size=96)
    write_lines(folder / "two", (3,), good=6, test_good=6, defects=8, size=96)
    return folder


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that tests share, so that features of `lines` are computed once: register no line as another test does."""
    return load_settings(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect API on an empty database."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
