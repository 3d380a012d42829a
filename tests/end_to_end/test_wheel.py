"""The wheel works without the checkout and without the extras."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.checkout import (
    PACKAGES,
    REPOSITORY,
    WITH_FASTAPI,
    WITH_PAGES,
    WITH_TORCH,
    is_migration,
    module_name,
    source_files,
)
from tests.requirements import closure, names, requirements

pytestmark = pytest.mark.end_to_end  # all of it: the wheel is built once

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Nothing of this process's Python may leak into the one that is tried.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command, cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False, timeout=240
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


def install(wheel: Path, environment: Path) -> Path:
    """The wheel alone, in a new virtual environment with no package of its own. Returns its bin folder."""
    made = run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment.parent)
    assert made.returncode == 0, made.stderr
    python = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    installed = run(*pip, cwd=environment.parent)
    assert installed.returncode == 0, installed.stderr
    return environment / "bin"


def site_of(environment: Path) -> Path:
    return environment / SITE_PACKAGES.relative_to(sys.prefix)


@pytest.fixture(scope="module")
def plant(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install linewise` gives a plant: the wheel and the core's dependencies, none of the extras'.

    The dependencies are links to those installed here, so that no network is needed. Returns the bin folder.
    """
    environment = tmp_path_factory.mktemp("plant") / "venv"
    bin_folder = install(wheel, environment)
    for name in closure(requirements()):
        for entry in {file.parts[0] for file in importlib.metadata.files(name) or []} - {"..", "__pycache__"}:
            link = site_of(environment) / entry
            if not link.exists():
                link.symlink_to(SITE_PACKAGES / entry)
    return bin_folder


@pytest.fixture(scope="module")
def workshop(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and every library installed here, the checkout not among them. Returns the bin folder."""
    environment = tmp_path_factory.mktemp("workshop") / "venv"
    bin_folder = install(wheel, environment)
    # A path in a .pth file is put on sys.path, the .pth files in it are not read: the editable checkout stays out.
    (site_of(environment) / "libraries.pth").write_text(f"{SITE_PACKAGES}\n")
    return bin_folder


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {
        file.relative_to(REPOSITORY)
        for package in PACKAGES
        for file in (REPOSITORY / package).rglob("*")
        if file.is_file()
    }
    assert packed == {file.as_posix() for file in files if "__pycache__" not in file.parts}
    assert "deploy/prefect.yaml" in packed
    for folder in (
        "deploy/reports/templates/",
        "deploy/review/static/",
        "deploy/review/templates/",
        "deploy/results/migrations/",
    ):
        assert any(name.startswith(folder) for name in packed), folder


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(licence) == (REPOSITORY / "LICENSE").read_bytes()


def test_the_command_runs_at_a_plant(plant: Path, tmp_path: Path) -> None:
    shown = run(plant / "linewise", "--help", cwd=tmp_path, LINEWISE_HOME=str(tmp_path / "home"))
    assert shown.returncode == 0, shown.stderr
    for command in ("score", "lines", "adapt", "evaluate"):
        assert command in shown.stdout
    assert list(tmp_path.iterdir()) == [], "asking for help leaves nothing behind"


def test_the_doctor_says_that_a_new_plant_has_nothing_to_measure_with(plant: Path, tmp_path: Path) -> None:
    environment = {"LINEWISE_HOME": str(tmp_path / "home"), "PREFECT_API_URL": ""}
    done = run(plant / "linewise", "doctor", "--device", "cpu", "--json", "-", cwd=tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["machine"]["packages"]["torch"] is None
    cpu = told["devices"][0]
    assert (cpu["works"], cpu["images_per_second"]) == (True, None)
    assert "torch is not installed" in cpu["speed_says"]
    assert "nothing to measure with" in cpu["speed_says"]


def test_a_plant_has_no_training_library(plant: Path, tmp_path: Path) -> None:
    """Else the tests on the plant's environment would prove nothing."""
    absent = sorted(names(requirements("train", "flows")) - closure(requirements()))
    assert "torch" in absent
    probe = f"import importlib.metadata as m; print({{d.name.lower() for d in m.distributions()}} & set({absent}))"
    assert run(plant / "python", "-c", probe, cwd=tmp_path).stdout.strip() == "set()"


def test_the_plants_modules_import_from_the_wheel_alone(plant: Path, tmp_path: Path) -> None:
    everything = {module_name(file) for file in source_files("deploy") if not is_migration(file)}
    modules = sorted(everything - WITH_TORCH - WITH_FASTAPI - WITH_PAGES)
    probe = f"import {', '.join([*modules, 'linewise', 'flows.cli'])}; print(flows.cli.__file__)"
    done = run(plant / "python", "-c", probe, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(plant.parent)


def test_every_module_imports_from_the_wheel(workshop: Path, tmp_path: Path) -> None:
    modules = [module_name(file) for file in source_files() if not is_migration(file)]
    probe = f"import importlib\nfor name in {modules}: print(importlib.import_module(name).__file__)"
    done = run(
        workshop / "python",
        "-c",
        probe,
        cwd=tmp_path,
        LINEWISE_HOME=str(tmp_path / "home"),
        PREFECT_HOME=str(tmp_path / "prefect"),
        NO_ALBUMENTATIONS_UPDATE="1",
    )
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split("\n")[:-1]
    assert len(loaded) == len(modules)
    assert all(Path(file).is_relative_to(workshop.parent) for file in loaded), "the checkout leaked in"


def test_a_line_made_in_a_workshop_is_scored_at_a_plant(workshop: Path, plant: Path, tmp_path: Path) -> None:
    """The wheel's whole way, from two installations that share nothing but the exported folder."""

    def linewise(bin_folder: Path, *arguments: str) -> str:
        # Each place has a home of its own.
        home = tmp_path / bin_folder.parts[-3]
        done = run(
            bin_folder / "linewise",
            *arguments,
            cwd=tmp_path,
            LINEWISE_HOME=str(home),
            PREFECT_HOME=str(home / "prefect"),
            NO_ALBUMENTATIONS_UPDATE="1",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    sizes = ("--lines", "1", "--good", "6", "--test-good", "2", "--defects", "3", "--size", "128")
    linewise(workshop, "synthetic", "made", *sizes)
    (line,) = (tmp_path / "made").iterdir()
    linewise(workshop, "adapt", "part", f"made/{line.name}", "--learner", "memory_bank", "--good", "4", "--size", "128")
    linewise(workshop, "export", "part", "packed")

    linewise(plant, "registry", "import", "packed")
    cpu = json.loads(linewise(plant, "doctor", "--device", "cpu", "--json", "-"))["devices"][0]
    assert cpu["images_per_second"] > 0
    assert "part" in cpu["speed_says"]
    assert "torch is not installed" in cpu["parity_says"]

    outputs = ("--report", "report.html", "--json", "scores.json")
    linewise(plant, "score", "part", f"made/{line.name}/test", "--bundle", "packed", "--device", "cpu", *outputs)

    assert len(list((line / "test").rglob("*.png"))) == 5
    assert "report.html" in {file.name for file in tmp_path.iterdir()}
    scored = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert (scored["line"], scored["images"], scored["unreadable"]) == ("part", 5, 0)
    assert scored["pass"] + scored["review"] + scored["reject"] == 5
