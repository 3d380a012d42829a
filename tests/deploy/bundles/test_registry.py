from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.bundles.line_folder import line_of, slug
from deploy.bundles.registry import Registry
from pipeline.errors import BundleError, ConfigError, LinewiseError, StorageError
from pipeline.storage import file_lock
from tests.checkout import REPOSITORY
from tests.deploy.bundles.test_facts import full_draft
from tests.parts.plant import (
    SIZE,
    bundle_files,
    later_draft,
    make_draft,
    mounted_tmpfs,
    tree,
    write_backbone,
)

LINE = "mvtec/pill"


def test_versions_are_listed_oldest_first_with_the_live_one_marked(registry: Registry) -> None:
    registry.add(later_draft(registry, "a-late-one", 9), bundle_files())
    registry.promote(LINE, "v2")
    records = registry.versions(LINE)
    assert [record.version for record in records] == ["v1", "v2", "v3", "a-late-one"]
    assert [record.version for record in records if record.live] == ["v2"]
    assert all(record.manifest is not None and record.problem is None for record in records)
    assert registry.lines() == [LINE]


def test_promote_and_roll_back_walk_the_history(registry: Registry) -> None:
    assert registry.promote(LINE, "v2") == registry.bundle(LINE, "v2")
    registry.promote(LINE, "v3")
    registry.promote(LINE, "v3")
    assert registry.live(LINE).manifest.version == "v3"
    assert registry.roll_back(LINE).manifest.version == "v2"
    assert Registry(registry.home).live(LINE).manifest.version == "v2", "another process sees it"
    assert registry.roll_back(LINE).manifest.version == "v1"
    with pytest.raises(ConfigError, match="live before"):
        registry.roll_back(LINE)
    assert registry.live_version(LINE) == "v1"


def test_the_history_stays_small(registry: Registry) -> None:
    for _ in range(15):
        registry.promote(LINE, "v2")
        registry.promote(LINE, "v3")
    assert (registry.home / "lines" / slug(LINE) / "live.json").stat().st_size < 1000


def test_a_line_without_a_live_version_says_which_to_promote(registry: Registry) -> None:
    registry.add(later_draft(registry, "only", 1, line="bottle"), bundle_files())
    assert registry.live_version("bottle") is None
    with pytest.raises(ConfigError, match=r"promote one of its versions \(only\)"):
        registry.live("bottle")


def test_unknown_lines_and_versions_name_the_known_ones(registry: Registry, tmp_path: Path) -> None:
    for ask in (registry.live, registry.versions, registry.live_version, registry.roll_back):
        with pytest.raises(ConfigError, match=r"mvtec/pill.*'bottle'"):
            ask("bottle")
    for version in ("v9", "../v1", "live.json", ".lock", ""):
        with pytest.raises(ConfigError, match="v1, v2, v3"):
            registry.bundle(LINE, version)
        with pytest.raises(ConfigError, match="v1, v2, v3"):
            registry.promote(LINE, version)
    with pytest.raises(ConfigError, match="adapt a line first"):
        Registry(tmp_path / "nowhere").live("bottle")
    assert not (tmp_path / "nowhere").exists(), "asking makes no folders"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "/etc", "a//b", "a/../b", "a/", "a\\b", "a\nb", "a\x00b", " a", "x" * 300]
)
def test_names_that_lead_elsewhere_are_refused(name: str, registry: Registry) -> None:
    with pytest.raises(ConfigError, match="line's name"):
        registry.live(name)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_slug_is_one_folder_and_gives_the_name_back(name: str) -> None:
    try:
        folder = slug(name)
    except ConfigError:
        return
    assert "/" not in folder
    assert not folder.startswith(".")
    assert line_of(Path("/home/lines") / folder) == name


@pytest.mark.parametrize("name", ["a%2F%2Fb", "%20a", "x%0A", "lost+found"])
def test_a_folder_that_no_lines_name_leads_to_is_passed_over(name: str, registry: Registry) -> None:
    shutil.copytree(registry.home / "lines" / slug(LINE), registry.home / "lines" / name)
    assert registry.lines() == [LINE]


def test_a_version_is_written_once(registry: Registry) -> None:
    before = tree(registry.home)
    with pytest.raises(StorageError, match="nothing is overwritten"):
        registry.add(later_draft(registry, "v2", 4), bundle_files())
    with pytest.raises(ConfigError, match=r"live\.json"):
        registry.add(later_draft(registry, "live.json", 4), bundle_files())
    assert tree(registry.home) == before


def test_new_versions_have_new_names(registry: Registry) -> None:
    names = set()
    for _ in range(4):
        name = registry.new_version(LINE)
        assert name not in names
        names.add(name)
        registry.add(later_draft(registry, name, 5), bundle_files())
    assert registry.new_version("never seen")


def test_two_that_took_the_same_name_are_both_added(registry: Registry) -> None:
    drafts = [later_draft(registry, registry.new_version(LINE), 5) for _ in range(2)]
    added = [registry.add_next(draft, bundle_files()).manifest.version for draft in drafts]
    assert len(set(added)) == 2
    assert {record.version for record in registry.versions(LINE)} == {"v1", "v2", "v3", *added}
    assert [registry.bundle(LINE, version).manifest.version for version in added] == added


def test_a_new_version_with_an_int8_backbone_is_called_so(registry: Registry) -> None:
    draft = full_draft().model_copy(update={"line": LINE})
    added = [registry.add_next(draft, bundle_files()).manifest.version for _ in range(2)]
    assert len({*added}) == 2
    assert all(version.endswith("-int8") for version in added)


def test_a_damaged_version_is_listed_and_never_goes_live(registry: Registry) -> None:
    head = registry.bundle(LINE, "v2").head_path
    head.write_bytes(head.read_bytes()[:-1])
    with pytest.raises(BundleError, match=r"head\.onnx"):
        registry.promote(LINE, "v2")
    assert registry.live_version(LINE) == "v1"
    manifest = registry.home / "lines" / slug(LINE) / "v3" / "manifest.json"
    manifest.write_text("{}")
    damaged = {record.version: record.problem for record in registry.versions(LINE)}
    assert damaged["v1"] is None
    assert "manifest.json" in str(damaged["v3"])


def test_a_version_whose_backbone_is_gone_or_another_never_goes_live(registry: Registry, tmp_path: Path) -> None:
    strange = make_draft(version="v4", onnx_sha256="f" * 64)
    registry.add(strange, bundle_files())
    with pytest.raises(BundleError, match="ffffffffffff"):
        registry.promote(LINE, "v4")
    shutil.rmtree(registry.backbone_folder(strange.backbone.fingerprint))
    with pytest.raises(BundleError, match="adapt the line"):
        registry.promote(LINE, "v2")
    assert registry.live_version(LINE) == "v1"


def test_a_folder_under_another_name_is_refused(registry: Registry) -> None:
    folder = registry.home / "lines" / slug(LINE)
    shutil.copytree(folder / "v1", folder / "v7")
    with pytest.raises(BundleError, match="version v1"):
        registry.bundle(LINE, "v7")


def test_a_damaged_pointer_is_mended_by_promoting(registry: Registry) -> None:
    pointer = registry.home / "lines" / slug(LINE) / "live.json"
    for content in (b"", b"{", b'{"version": "../../x", "since": "2026-01-01T00:00:00Z"}'):
        pointer.write_bytes(content)
        with pytest.raises(BundleError, match="promote a version"):
            registry.live(LINE)
    registry.promote(LINE, "v2")
    assert registry.live_version(LINE) == "v2"


def test_backbones_are_checked_and_kept(registry: Registry, tmp_path: Path) -> None:
    artefact = write_backbone(tmp_path / "export", fingerprint="fedcba9876543210")
    assert "fedcba9876543210" not in registry.backbones()
    added = registry.add_backbone(artefact)
    assert added == registry.add_backbone(artefact) == registry.backbone("fedcba9876543210")
    assert added.folder == registry.backbone_folder("fedcba9876543210")
    other = write_backbone(tmp_path / "other", fingerprint="fedcba9876543210", size=2 * SIZE)
    with pytest.raises(BundleError, match="use the registered backbone"):
        registry.add_backbone(other)
    (tmp_path / "export" / "backbone.onnx").write_bytes(b"changed")
    shutil.rmtree(registry.backbone_folder("fedcba9876543210"))
    with pytest.raises(BundleError, match="export the backbone again"):
        registry.add_backbone(artefact)
    assert "fedcba9876543210" not in registry.backbones()
    with pytest.raises(ConfigError):
        registry.backbone_folder("../../etc")


def test_a_full_disk_leaves_the_live_version_live(registry: Registry, tmp_path: Path) -> None:
    with mounted_tmpfs(tmp_path / "small", kilobytes=192) as folder:
        shutil.copytree(registry.home, folder / "home")
        small = Registry(folder / "home")
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(b"x" * 1024)
        before = tree(small.home)
        for change in (
            lambda: small.promote(LINE, "v2"),
            lambda: small.add(later_draft(registry, "v8", 8), bundle_files()),
            lambda: small.pack(LINE, folder / "pack"),
        ):
            with pytest.raises(StorageError, match="full disk"):
                change()
        assert tree(small.home) == before
        assert small.live_version(LINE) == "v1"
        filler.unlink()
        assert small.promote(LINE, "v2").manifest.version == "v2"


def test_a_killed_writer_leaves_no_version_and_no_lock(registry: Registry) -> None:
    code = f"""
import os, sys
from pathlib import Path

import deploy.bundles.bundle
from deploy.bundles.registry import Registry

sys.path.insert(0, {str(REPOSITORY)!r})
from tests.deploy.bundles.test_facts import full_draft
from tests.parts.plant import bundle_files, make_draft

def write_and_die(path, content, write=deploy.bundles.bundle.write_durably):
    write(path, content)
    if path.name == "bank_sources.npy":
        os.kill(os.getpid(), 9)

deploy.bundles.bundle.write_durably = write_and_die
Registry(Path({str(registry.home)!r})).add(make_draft(version="v5"), bundle_files())
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    folder = registry.home / "lines" / slug(LINE)
    assert [path.name for path in folder.glob(".*.partial")], "it was killed in the middle"
    assert [record.version for record in registry.versions(LINE)] == ["v1", "v2", "v3"]
    registry.add(later_draft(registry, "v5", 5), bundle_files())
    assert not list(folder.glob(".*.partial"))


def promote_often(home: Path, version: str, times: int) -> None:
    registry = Registry(home)
    for _ in range(times):
        registry.promote(LINE, version)


def test_many_processes_promote_and_readers_always_see_one_version(registry: Registry) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=promote_often, args=(registry.home, f"v{n}", 12)) for n in (1, 2, 3)]
    for writer in writers:
        writer.start()
    seen: set[str | None] = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(registry.live_version(LINE))
        time.sleep(0.001)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {"v1", "v2", "v3"}
    registry.live(LINE)
    assert not list(registry.home.rglob("*.partial"))


def test_a_lock_held_too_long_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        file_lock(path),
        pytest.raises(StorageError, match="another process"),
        file_lock(path, timeout_seconds=0.1),
    ):
        pass
    with file_lock(path, timeout_seconds=0.1):
        pass


def test_errors_are_sentences_of_three_parts(registry: Registry) -> None:
    with pytest.raises(LinewiseError) as caught:
        registry.live("bottle")
    assert str(caught.value).startswith("expected ")
    assert ", got " in str(caught.value)
    assert os.linesep not in str(caught.value)
