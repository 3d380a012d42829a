"""Files made to do harm: what runs code, reads elsewhere or fills the memory is refused before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import resource
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from typer.testing import CliRunner

from deploy.bundles.bundle import load_bundle, read_manifest, write_bundle
from deploy.bundles.card import render_card
from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.engine.backbone_artefact import load_backbone_artefact
from deploy.engine.devices import open_session, resolve_device
from deploy.engine.runtime import ScoringEngine
from flows.cli import app
from model_zoo.backbones.backbone_weights import read_state_dict
from pipeline.errors import BundleError, ConfigError, LineError, LinewiseError, StorageError
from pipeline.meta_model import load_meta_model
from pipeline.product_lines.lines import load_line
from pipeline.region_of_interest import RegionOfInterest
from tests.fuzz.bundle_surfaces import sealed
from tests.parts.image_files import png_chunk, png_header
from tests.parts.plant import bundle_files, head_graph, make_draft, write_backbone, write_plant

LINE = "mvtec/pill"
GIGABYTE = 2**30


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@contextlib.contextmanager
def within(megabytes: int) -> Iterator[None]:
    """No more memory than this beside what there is."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + megabytes * 2**20, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def sparse(path: Path, size: int = GIGABYTE, begins: bytes = b"{") -> None:
    """A file that says it is that long, and takes no room."""
    with path.open("wb") as file:
        file.write(begins)
        file.truncate(size)


@pytest.mark.parametrize("name", ["evil.pth", "evil.pt", "evil.safetensors"])
@pytest.mark.parametrize("zipped", [False, True])
def test_weights_that_are_a_pickle_run_nothing(tmp_path: Path, name: str, zipped: bool) -> None:
    mark, path = tmp_path / "ran", tmp_path / name
    content = pickle.dumps({"weight": Evil(mark)}, protocol=2)  # as torch.save writes it
    if zipped:  # what torch.save writes is a zip file with a pickle in it
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/../../outside", "slipped")
        content = buffer.getvalue()
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="a safetensors file or a plain torch state dict"):
        read_state_dict(path)
    assert not mark.exists()
    assert not list(tmp_path.parent.glob("outside"))


@pytest.mark.parametrize("zipped", [False, True])
def test_damaged_weights_are_refused_in_a_sentence(tmp_path: Path, zipped: bool) -> None:
    buffer, path = io.BytesIO(), tmp_path / "net.pth"
    torch.save({"weight": torch.ones(3)}, buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for stop in range(1, len(whole) - 1, max(1, len(whole) // 60)):
        for damaged in (whole[:stop], whole[:stop] + b"\x02" + whole[stop + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(ConfigError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read_state_dict(path)


def test_an_array_of_pickled_objects_runs_nothing(tmp_path: Path) -> None:
    mark, buffer = tmp_path / "ran", io.BytesIO()
    np.save(buffer, np.array([Evil(mark)], dtype=object), allow_pickle=True)
    bundle = write_bundle(tmp_path / "v1", make_draft(), {**bundle_files(), "bank_sources.npy": buffer.getvalue()})
    with pytest.raises(BundleError, match="an array in"):
        bundle.bank_sources()
    assert not mark.exists()


HUGE = b"{'descr': '<i4', 'fortran_order': False, 'shape': (99999999, 99999)}"


@pytest.mark.parametrize("header", [b"{'descr': (\n", b"[" * 5000, HUGE])
def test_an_array_whose_header_is_hostile_is_refused(tmp_path: Path, header: bytes) -> None:
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + b"\n"
    bundle = write_bundle(tmp_path / "v1", make_draft(), {**bundle_files(), "bank_sources.npy": array})
    with pytest.raises(BundleError, match="an array in"), within(512):
        bundle.bank_sources()


def with_external_data(location: str) -> bytes:
    """A head whose scale lies in a file."""
    model = onnx.load_model_from_string(head_graph())
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "scale")
    scale.ClearField("float_data")
    scale.ClearField("raw_data")
    scale.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "4")):
        entry = scale.external_data.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()


def with_a_custom_operator() -> bytes:
    model = onnx.load_model_from_string(head_graph())
    model.graph.node[1].domain, model.graph.node[1].op_type = "evil.ops", "RunShell"
    model.opset_import.append(helper.make_opsetid("evil.ops", 1))
    return model.SerializeToString()


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "ABSOLUTE", "/etc/passwd", "/dev/zero"])
def test_a_graph_whose_tensors_lie_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    (tmp_path / "here").mkdir()
    for path in (tmp_path / "here" / "weights.bin", tmp_path / "weights.bin"):
        path.write_bytes(np.float32(1).tobytes())
    monkeypatch.chdir(tmp_path / "here")
    graph = with_external_data(str(tmp_path / "weights.bin") if location == "ABSOLUTE" else location)
    with pytest.raises(BundleError, match="a graph that onnxruntime can load"):
        open_session(graph, resolve_device("cpu"), threads=1)


def test_a_sealed_bundle_with_such_a_graph_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    backbone = write_backbone(tmp_path / "backbone")
    for number, graph in enumerate((with_external_data("/etc/passwd"), with_a_custom_operator())):
        bundle = write_bundle(
            tmp_path / f"v{number}", make_draft(onnx_sha256=backbone.onnx_sha256), {"head.onnx": graph}
        )
        load_bundle(bundle.path)  # every byte is as its maker says
        with pytest.raises(BundleError, match="a graph that onnxruntime can load"):
            ScoringEngine(backbone, "cpu").add_head(LINE, bundle.head_path, bundle.head_sha256)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "manifest.sig"])
def test_a_gigabyte_beside_a_manifest_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    bundle = write_bundle(tmp_path / "v1", make_draft(), bundle_files())
    sparse(bundle.path / name)
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LINEWISE_DEMAND_SIGNATURES", "1")
    with pytest.raises(StorageError, match=r"at most .* bytes in"), within(256):
        load_bundle(bundle.path)


def test_other_small_files_of_a_gigabyte_are_not_read(tmp_path: Path) -> None:
    registry = write_plant(tmp_path / "home")
    sparse(tmp_path / "home" / "lines" / "mvtec%2Fpill" / "live.json")
    with pytest.raises(StorageError, match="at most"), within(256):
        registry.live_version(LINE)
    backbone = write_backbone(tmp_path / "backbone")
    sparse(backbone.folder / "backbone.json", begins=b'{"a": "')
    with pytest.raises(BundleError, match="a readable"), within(256):
        load_backbone_artefact(backbone.folder)
    sparse(backbone.onnx_path, 3 * GIGABYTE)
    (backbone.folder / "backbone.json").unlink()
    write_backbone(tmp_path / "other")
    (tmp_path / "other" / "backbone.json").rename(backbone.folder / "backbone.json")
    with pytest.raises(BundleError, match="at most"), within(256):
        load_backbone_artefact(backbone.folder)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"1", b"null", b'{"format_version": [[]]}', b"\xff\xfe"])
def test_json_of_any_shape_is_refused_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    backbone = write_backbone(tmp_path / "backbone")
    (backbone.folder / "backbone.json").write_bytes(content)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "meta.json").write_bytes(content)
    (tmp_path / "meta" / "weights.safetensors").write_bytes(b"")
    for name, data in sealed(content).items():
        (tmp_path / name).write_bytes(data)
    for read in (
        lambda: load_backbone_artefact(backbone.folder),
        lambda: load_meta_model(tmp_path / "meta"),
        lambda: read_manifest(tmp_path),
    ):
        with pytest.raises(LinewiseError):
            read()


def test_a_backbone_whose_fields_are_of_other_types_is_refused(tmp_path: Path) -> None:
    backbone = write_backbone(tmp_path / "backbone")
    path = backbone.folder / "backbone.json"
    whole = json.loads(path.read_text())
    for change in ({"height": "tall"}, {"levels": 3}, {"levels": [[]]}, {"mean": [float("nan")] * 3}, {"more": 1}):
        path.write_text(json.dumps({**whole, "spec": {**whole["spec"], **change}}))
        with pytest.raises(BundleError, match=f"ValueError \\(spec.{next(iter(change))}"):
            load_backbone_artefact(backbone.folder)


def test_a_region_that_inflates_to_a_gigabyte_is_refused() -> None:
    body = zlib.compress(bytes(2**20), 9)
    bomb = png_header(32_768, 32_768, colour_type=0) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="at most 4,194,304 pixels"), within(256):
        RegionOfInterest.from_png(bomb)


def slip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def test_archives_are_never_unpacked(tmp_path: Path) -> None:
    """So no name in one leads anywhere: zip-slip has nothing to slip through."""
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    archive = inside / "pack.zip"
    slip(archive, {"../../outside": b"slipped", "bundle/manifest.json": b"{}", "good/0.png": b""})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match="an exported bundle"):
        open_packed(archive)
    with pytest.raises(BundleError, match="an exported bundle"):
        Registry(tmp_path / "home").add_packed(archive)
    with pytest.raises(LineError, match="unpack it"):
        load_line(archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pack_whose_manifest_names_other_places_writes_nothing_there(tmp_path: Path) -> None:
    registry = write_plant(tmp_path / "home")
    pack = registry.pack(LINE, tmp_path / "pack")
    manifest = json.loads((pack / "bundle" / "manifest.json").read_bytes())
    (tmp_path / "outside").write_bytes(b"mine")
    for change in (
        {"files": {**manifest["files"], "../../outside": hashlib.sha256(b"mine").hexdigest()}},
        {"version": "../../../outside"},
        {"line": "../outside"},
        {"line": "/outside"},
    ):
        for name, data in sealed(json.dumps({**manifest, **change}).encode()).items():
            (pack / "bundle" / name).write_bytes(data)
        with pytest.raises(LinewiseError):
            Registry(tmp_path / "other").add_packed(pack)
    assert not [path for path in tmp_path.glob("other/**/*") if "outside" in path.name]


def test_the_command_says_it_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    pack = write_plant(tmp_path / "there").pack(LINE, tmp_path / "pack")
    sparse(pack / "bundle" / "manifest.json")
    result = CliRunner().invoke(app, ["registry", "import", str(pack)])
    assert isinstance(result.exception, StorageError)
    assert "\n" not in str(result.exception)


def test_the_card_shows_no_control_characters() -> None:
    draft = make_draft(line="a\x1b[2Jb")
    learner = draft.learner.model_copy(update={"config": {"\x1b[2J": "\x00"}})
    card = render_card(draft.model_copy(update={"learner": learner}))
    assert "\x1b" not in card
    assert "\x00" not in card
    assert "# a\\\\x1b\\[2Jb, version v1" in card
