"""The house's rules, checked on the code as it stands: who may import whom, and what a module may be."""

import ast
import os
import re
import shutil
import subprocess
import sys
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

MAX_LINES = 300
LONGER = "# Longer than the others: "
"""Begins the line in which a module of more lines says why it is not split. A split that cuts one idea in two reads
worse than a long module."""

# What a plant's machine does not have: the extras' libraries and the package that is built on them.
TRAINING = {
    "albumentations",
    "fastapi",
    "matplotlib",
    "model_zoo",
    "onnx",
    "onnxscript",
    "prefect",
    "pyarrow",
    "sklearn",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
}
# The modules that scoring at the plant stands on, besides all of deploy but its exporter.
PLANT_PIPELINE = {
    "calibration",
    "errors",
    "features",
    "imaging.images",
    "product_lines.importers",
    "product_lines.line_check",
    "product_lines.lines",
    "settings",
    "storage",
}

CHILD = re.compile(r'sys\.executable,\s*"([^"]*)"')
"""A Python that is started, by its first argument."""

# Run in a fresh interpreter: imports what it is told, one after the other, and says who first brought what.
IMPORT_AND_REPORT = """
import importlib, sys
forbidden = set(sys.argv[1].split(","))
seen = set()
for name in sys.argv[2:]:
    importlib.import_module(name)
    brought = forbidden & set(sys.modules) - seen
    seen |= brought
    if brought:
        print(name, "imports", *sorted(brought))
"""


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def imports_of(modules: list[str]) -> str:
    """What of TRAINING the modules load in a fresh interpreter, one line for each module that brought something."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_REPORT, ",".join(sorted(TRAINING)), *modules],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_contracts_are_kept() -> None:
    done = lint_imports(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


HOUSE, RUNTIME = "linewise -> flows -> deploy | model_zoo -> pipeline", "the runtime is free of torch"
BREACHES = [
    ("pipeline.errors", "deploy.bundles.registry", HOUSE),
    ("deploy.exporting.torch_to_onnx", "model_zoo.shipped", HOUSE),
    ("deploy.bundles.registry", "prefect", "prefect only in flows"),
    ("pipeline.imaging.images", "onnxruntime", "onnxruntime only in deploy"),
    # Through a chain: the runtime's results module is clean, what it stands on is not.
    ("pipeline.imaging.images", "torch", RUNTIME),
]
"""Who imports what, and the contract that this breaks."""


@pytest.fixture(scope="module")
def told_of_breaches(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the linter says of a house with every one of BREACHES."""
    folder = tmp_path_factory.mktemp("broken")
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    for importer, imported, _ in BREACHES:
        with (folder / importer.replace(".", "/")).with_suffix(".py").open("a") as file:
            file.write(f"\nimport {imported}\n")
    done = lint_imports(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("importer", "imported", "contract"), BREACHES)
def test_a_broken_contract_is_found(told_of_breaches: str, importer: str, imported: str, contract: str) -> None:
    summary, _, details = told_of_breaches.partition("Broken contracts")
    assert any(line.startswith(contract) for line in summary.splitlines() if line.endswith(" BROKEN")), summary
    of_contract = re.split(r"^(?=.*\n-{3,}$)", details, flags=re.MULTILINE)
    (section,) = [part for part in of_contract if part.startswith(contract)]
    assert f"{importer} -> {imported} (l." in section


def test_what_we_start_imports_nothing_from_where_it_is_started() -> None:
    """`python -m` looks into the folder it is started in first, where a user may have a `flows` of their own."""
    children = [(file, child) for file in source_files() for child in CHILD.findall(file.read_text(encoding="utf-8"))]
    assert len(children) >= 3
    assert [(file.name, child) for file, child in children if child != "-P"] == []


def test_the_plants_modules_load_nothing_of_training() -> None:
    every = {module_name(file) for file in source_files("deploy") if not is_migration(file)}
    deploy = every - WITH_TORCH - WITH_FASTAPI - WITH_PAGES
    assert {
        "deploy.engine.runtime",
        "deploy.scoring.scorer",
        "deploy.bundles.bundle",
        "deploy.results.store",
        "deploy.bundles.registry",
    } <= deploy

    assert (
        imports_of([*sorted(deploy), *(f"pipeline.{name}" for name in sorted(PLANT_PIPELINE)), "flows.cli", "linewise"])
        == ""
    )


def test_the_review_page_loads_a_web_server_and_nothing_else_of_the_extras() -> None:
    assert imports_of(sorted(WITH_PAGES)) == "deploy.review.access imports fastapi\n"


def test_an_import_of_training_is_seen() -> None:
    """The check above would notice: the exporter does load torch."""
    assert "deploy.exporting.torch_to_onnx imports" in imports_of(
        ["deploy.bundles.bundle", "deploy.exporting.torch_to_onnx"]
    )


def too_long(text: str) -> str | None:
    """What is wrong with a module of so many lines, None: nothing."""
    lines = text.splitlines()
    reason = next((line.removeprefix(LONGER).strip() for line in lines if line.startswith(LONGER)), None)
    if len(lines) < MAX_LINES:
        return None if reason is None else f"no longer than others with {len(lines)} lines: drop '{LONGER.strip()}'"
    if reason is None:
        return f"{len(lines)} lines: split it by job, or say in a line why not: '{LONGER}...'"
    return None if len(reason.split()) >= 5 else f"a reason of more words than '{reason}'"


@pytest.mark.parametrize("file", [*source_files()], ids=module_name)
def test_modules_are_small_or_say_why_not(file: Path) -> None:
    assert too_long(file.read_text(encoding="utf-8")) is None, file.relative_to(REPOSITORY)


def test_test_modules_are_small_or_say_why_not() -> None:
    told = {file.name: too_long(file.read_text()) for file in (REPOSITORY / "tests").rglob("*.py")}
    assert not {name: wrong for name, wrong in told.items() if wrong is not None}


@pytest.mark.parametrize(
    ("lines", "reason", "wrong"),
    [
        (299, None, None),
        (300, None, "split it by job"),
        (400, "one table, whose rows belong together", None),
        (400, "it is", "a reason of more words"),
        (100, "one table, whose rows belong together", "drop"),
    ],
)
def test_a_long_module_needs_a_reason(lines: int, reason: str | None, wrong: str | None) -> None:
    text = (f"{LONGER}{reason}\n" if reason else "pass\n") + "pass\n" * (lines - 1)
    told = too_long(text)
    assert told is None if wrong is None else wrong in (told or "")


def test_package_inits_hold_a_docstring_and_nothing_else() -> None:
    inits = [file for file in source_files() if file.name == "__init__.py"]
    assert {module_name(file) for file in inits} >= set(PACKAGES)
    for file in inits:
        if module_name(file) == "linewise":  # the public face, which tests/linewise pins
            continue
        body = ast.parse(file.read_text(encoding="utf-8")).body
        if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
            body = body[1:]
        assert not body, f"{file.relative_to(REPOSITORY)}: importing a package must load nothing"


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without __init__.py works from a checkout and is missed by tools that walk packages (import-linter)."""
    for file in source_files():
        assert (file.parent / "__init__.py").is_file() or is_migration(file), file.parent.relative_to(REPOSITORY)


def test_names_say_what_is_inside() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    found = [str(file.relative_to(REPOSITORY)) for file in source_files() if file.stem in vague]
    assert not found, found


def test_no_flow_module_is_named_like_the_standard_library() -> None:
    """Prefect runs a flow's file with its folder first on sys.path, where flows/queue.py would replace queue."""
    found = [file.name for file in (REPOSITORY / "flows").glob("*.py") if file.stem in sys.stdlib_module_names]
    assert not found, found


def test_a_name_has_one_address() -> None:
    """What a module imports is taken from where it is defined, so that a name is found, and moved, in one place."""
    trees = {module_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in source_files()}
    imported = {
        name: {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if node.module in trees and f"{node.module}.{alias.name}" not in trees
        }
        for name, tree in trees.items()
    }
    second_hand = [
        f"{name}: {alias.name} from {node.module}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in imported.get(node.module or "", ())
    ]
    assert not second_hand


def test_a_flows_module_has_a_name_of_its_own() -> None:
    """Who searches for a file finds one. The rooms share the names of their parts: who knows one knows all."""
    rooms = {"__init__", "request", "job", "flow", "show"}
    elsewhere = {file.stem for file in source_files("pipeline", "model_zoo", "deploy")}
    flows = [file.stem for file in source_files("flows") if file.stem not in rooms]
    twice = {name for name in flows if flows.count(name) > 1 or name in elsewhere}
    assert not twice
