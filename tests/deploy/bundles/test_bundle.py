from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from deploy.bundles.bundle import Bundle, load_bundle, read_manifest, write_bundle
from deploy.bundles.card import render_card
from deploy.bundles.manifest import FORMAT_VERSION, BundleManifest
from pipeline.errors import BundleError, StorageError
from tests.parts.plant import bundle_files, make_draft, make_spec, mounted_tmpfs, tree

EVERY_FILE = ["manifest.json", "manifest.sha256", "card.md", "head.onnx", "bank_sources.npy", "support/000.jpg"]


LEFT_BY_SYSTEMS = [".DS_Store", "support/Thumbs.db", "desktop.ini", "support/._000.jpg", "@eaDir/SYNOINDEX"]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "v1", make_draft(), bundle_files())


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def reseal(folder: Path, manifest: dict) -> None:
    """What someone who wants to be believed would do: write a manifest and its right hash."""
    encoded = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(encoded)
    (folder / "manifest.sha256").write_text(f"{hashlib.sha256(encoded).hexdigest()}  manifest.json\n")


def test_what_was_written_is_read_back(bundle: Bundle) -> None:
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert loaded.manifest.format_version == FORMAT_VERSION
    assert loaded.manifest.threshold == make_draft().threshold
    assert loaded.manifest.spec == make_spec()
    assert loaded.id == hashlib.sha256((bundle.path / "manifest.json").read_bytes()).hexdigest()
    assert loaded.head_path.read_bytes() == bundle_files()["head.onnx"]
    assert [path.name for path in loaded.support_paths] == ["000.jpg", "001.jpg"]
    sources = loaded.bank_sources()
    assert sources is not None
    np.testing.assert_array_equal(sources, np.arange(24).reshape(6, 4))
    assert [path.name for path in bundle.path.parent.iterdir()] == ["v1"], "nothing else stays behind"


def test_the_seal_is_what_sha256sum_checks(bundle: Bundle) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "manifest.sha256"], check=False, cwd=bundle.path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_files_are_copied_from_paths_too(tmp_path: Path) -> None:
    source = tmp_path / "exported.onnx"
    source.write_bytes(b"x" * 3_000_000)
    bundle = write_bundle(tmp_path / "v1", make_draft(), {"head.onnx": source})
    assert load_bundle(bundle.path).head_path.read_bytes() == source.read_bytes()
    assert bundle.bank_sources() is None


@pytest.mark.parametrize("name", EVERY_FILE)
def test_one_changed_byte_is_found_and_the_file_is_named(bundle: Bundle, name: str) -> None:
    path = bundle.path / name
    original = path.read_bytes()
    for position in {0, len(original) // 3, len(original) // 2, len(original) - 1}:
        changed = bytearray(original)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError) as caught:
            load_bundle(bundle.path)
        assert Path(name).name.replace("sha256", "json") in str(caught.value)  # a changed seal accuses the manifest
    path.write_bytes(original)
    assert load_bundle(bundle.path) == bundle


def test_no_byte_of_the_manifest_can_change(bundle: Bundle) -> None:
    path = bundle.path / "manifest.json"
    original = path.read_bytes()
    for position in range(0, len(original), 5):
        changed = bytearray(original)
        changed[position] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=r"manifest\.json"):
            read_manifest(bundle.path)


@pytest.mark.parametrize("name", [*EVERY_FILE[:1], *EVERY_FILE[2:]])
def test_a_missing_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).unlink()
    with pytest.raises(BundleError, match=Path(name).name):
        load_bundle(bundle.path)


def test_a_missing_seal_is_named(bundle: Bundle) -> None:
    (bundle.path / "manifest.sha256").unlink()
    with pytest.raises(BundleError, match=r"manifest\.sha256"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["extra.txt", "support/002.jpg", ".hidden"])
def test_an_unexpected_file_is_named(bundle: Bundle, name: str) -> None:
    (bundle.path / name).write_bytes(b"?")
    with pytest.raises(BundleError, match=Path(name).name):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", LEFT_BY_SYSTEMS)
def test_what_systems_leave_is_ignored_unless_it_is_a_link(bundle: Bundle, tmp_path: Path, name: str) -> None:
    (bundle.path / name).parent.mkdir(exist_ok=True)
    (bundle.path / name).write_bytes(b"?")
    assert load_bundle(bundle.path) == bundle
    (bundle.path / name).unlink()
    (bundle.path / name).symlink_to(tmp_path)
    if "@eaDir" not in name:
        with pytest.raises(BundleError, match="link"):
            load_bundle(bundle.path)


def test_links_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((bundle.path / "head.onnx").read_bytes())
    (bundle.path / "head.onnx").unlink()
    (bundle.path / "head.onnx").symlink_to(outside)
    with pytest.raises(BundleError, match=r"link.*head\.onnx"):
        load_bundle(bundle.path)


def test_a_newer_format_asks_for_an_upgrade(bundle: Bundle) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    reseal(bundle.path, {**manifest, "format_version": FORMAT_VERSION + 1, "something_new": True})
    with pytest.raises(BundleError, match=rf"format {FORMAT_VERSION + 1}: upgrade Linewise"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/b/c", "support/../x", "support\\x", "", "a\n", "manifest.json"]
)
def test_names_stay_inside_the_bundle(bundle: Bundle, name: str) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    manifest["files"][name] = "0" * 64
    reseal(bundle.path, manifest)
    with pytest.raises(BundleError, match="file name"):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"unknown": 1}, "unknown"),
        ({"threshold": {"reject": 1.0}}, "threshold"),
        ({"line": ""}, "line"),
        ({"backbone": {"name": "n", "fingerprint": "other", "onnx_sha256": "0" * 64}}, "fingerprint"),
        ({"preprocess": {"height": 64, "width": 32}}, "preprocess and spec differ in size"),
        ({"tiles": {"rows": 2, "columns": 2, "side": 64, "overlap": 32}}, "preprocess and spec differ in size"),
        ({"tiles": {"rows": 1, "columns": 1, "side": 64, "overlap": 32}}, "expected 2 to 576 tiles"),
        ({"threshold": dataclasses.asdict(make_draft().threshold) | {"review": 3.0}}, "threshold.review is above"),
        ({"files": {"head.onnx": "0" * 64}}, "card.md is not among the files"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(bundle: Bundle, change: dict, where: str) -> None:
    manifest = json.loads((bundle.path / "manifest.json").read_bytes())
    reseal(bundle.path, {**manifest, **change})
    with pytest.raises(BundleError, match=where):
        load_bundle(bundle.path)


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        (b"no array", "an array in", "'"),
        (b"", "an array in", "'EOF: "),
        (npz(np.zeros((6, 4), np.int32)), "an array in", "'the magic string is not correct"),
        (npy(np.zeros(3)), "(N, 4) integers in", "float64 (3,):"),
        (npy(np.zeros((6, 3), np.int32)), "(N, 4) integers in", "int32 (6, 3):"),
    ],
)
def test_sources_of_a_bank_that_are_something_else_are_refused(
    tmp_path: Path, content: bytes, expected: str, got: str
) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), {**bundle_files(), "bank_sources.npy": content})
    with pytest.raises(BundleError) as caught:
        bundle.bank_sources()
    assert str(caught.value).startswith(f"expected {expected} {bundle.path}/bank_sources.npy, got {got}")
    assert str(caught.value).endswith(": adapt the line again to make a new version")


def test_no_manifest_without_numbers(bundle: Bundle) -> None:
    draft = make_draft().model_dump()
    draft["threshold"] = dataclasses.replace(make_draft().threshold, reject=float("nan"))
    with pytest.raises(ValidationError, match="finite"):
        type(make_draft()).model_validate(draft)


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such folder"):
        load_bundle(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"without manifest\.json"):
        load_bundle(tmp_path / "empty")
    (tmp_path / "empty" / "manifest.json").write_bytes(b"[" * 100_000)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        load_bundle(tmp_path / "empty")


def test_nothing_is_overwritten(bundle: Bundle) -> None:
    before = tree(bundle.path.parent)
    with pytest.raises(StorageError, match="nothing is overwritten"):
        write_bundle(bundle.path, make_draft(reject=9.0), bundle_files())
    assert tree(bundle.path.parent) == before


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_bundle(tmp_path / "v1", make_draft(), {"head.onnx": b"1", "bank_sources.npy": tmp_path / "not there"})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with mounted_tmpfs(tmp_path / "small", kilobytes=64) as folder:
        with pytest.raises(StorageError, match="full disk"):
            write_bundle(folder / "v1", make_draft(), {"head.onnx": b"x" * 200_000})
        assert list(folder.iterdir()) == []
        write_bundle(folder / "v1", make_draft(), {"head.onnx": b"x" * 1_000})
        load_bundle(folder / "v1")


def test_a_read_only_folder_is_a_sentence(tmp_path: Path) -> None:
    with (
        mounted_tmpfs(tmp_path / "sealed", kilobytes=64, read_only=True) as folder,
        pytest.raises(StorageError, match="read-only"),
    ):
        write_bundle(folder / "v1", make_draft(), bundle_files())


def test_the_card_tells_what_matters(bundle: Bundle) -> None:
    card = bundle.card_path.read_text()
    assert card == render_card(bundle.manifest)
    for fact in [
        "mvtec/pill",
        "version v1",
        "memory_bank",
        "licence MIT",
        "| Good images | 2 |",
        "| Defective images | 1 (1 with a mask) |",
        "| REJECT from a score of | 2 |",
        "| Set by | conformal, on 48 scores of good images |",
        "| Good parts rejected, asked for | 1.00% |",
        "| Good parts rejected, as calibrated | 2.10% |",
        "| image auroc | 0.9731 |",
        "3e-06, maps by 5e-06",
        "| Settings | `coreset=256, scales=[1, 2]` |",
        "synthetic_1",
        "## Limits",
    ]:
        assert fact in card, fact


def test_the_card_keeps_foreign_text_on_its_line() -> None:
    card = render_card(make_draft(line="a\n# fake heading | <script>"))
    assert "\n# fake" not in card
    assert "<script>" not in card.replace("\\<script>", "")


def test_the_manifest_is_frozen(bundle: Bundle) -> None:
    with pytest.raises(ValidationError):
        bundle.manifest.line = "other"  # type: ignore[misc]
    assert isinstance(bundle.manifest, BundleManifest)


def test_the_room_needs_no_torch() -> None:
    code = (
        "import sys, deploy.bundles.bundle, deploy.bundles.registry, deploy.results.store, deploy.scoring.scorer; "
        "print([m for m in ('torch', 'onnx', 'prefect', 'model_zoo', 'timm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
