"""Export: what ONNX computes is what torch computes, or there is no file."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from deploy.engine.devices import open_session, resolve_device
from deploy.engine.parity import Parity, compare_outputs
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import HEAD_OUTPUTS, SCORE_COVERS_MAP
from deploy.exporting.head_templates import head_tensors, template_key
from deploy.exporting.onnx_graphs import OPSET, fill_template
from deploy.exporting.torch_to_onnx import check_parity, export_head
from pipeline.errors import ParityError, StorageError
from pipeline.learner import AnomalyHead, AnomalyOutput
from tests.parts.backbones import NAMES, SmallHead, artefact, backbone, images, levels, operators


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template folder that already holds SmallHead's graph."""
    folder = tmp_path_factory.mktemp("templates")
    first = export_head(SmallHead(), levels(), folder / "first.onnx", template_folder=folder)
    assert not first.from_template
    return folder


def test_graphs_hold_no_path_of_the_machine_that_exported(templates: Path) -> None:
    for path in (artefact().onnx_path, templates / "first.onnx"):
        content = path.read_bytes()
        assert b".py" not in content and b"site-packages" not in content


def test_head_graph_has_static_resizes(templates: Path) -> None:
    kinds = operators(templates / "first.onnx")
    assert "Resize" in kinds and "Shape" not in kinds


def test_an_exported_head_gives_no_finite_score_to_a_map_that_is_not(templates: Path) -> None:
    session = open_session((templates / "first.onnx").read_bytes(), resolve_device("cpu"), threads=1)
    assert SCORE_COVERS_MAP in session.get_modelmeta().custom_metadata_map
    feed = {f"level_{i}": level.numpy().copy() for i, level in enumerate(levels())}
    clean, _, _ = session.run(list(HEAD_OUTPUTS), feed)
    assert np.isfinite(clean).all()
    feed["level_0"][1, :, 3, 4] = np.nan
    score, anomaly_map, _ = session.run(list(HEAD_OUTPUTS), feed)
    assert np.isfinite(anomaly_map).all((1, 2)).tolist() == np.isfinite(score).tolist() == [True, False, True, True]
    assert np.delete(score, 1).tobytes() == np.delete(clean, 1).tobytes()


def test_a_template_gives_the_same_file_as_an_export(
    templates: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    head = SmallHead(seed=2)
    fresh = export_head(head, levels(), tmp_path / "fresh.onnx")
    assert capfd.readouterr() == ("", "")
    assert fresh.parity.max_score_error < 1e-5 and fresh.parity.max_map_error < 1e-5
    assert fresh.parity.images == len(images()) and fresh.parity.nearest_agreement > 0.99
    assert fresh.sha256 == hashlib.sha256((tmp_path / "fresh.onnx").read_bytes()).hexdigest()
    filled = export_head(head, levels(), tmp_path / "filled.onnx", template_folder=templates)
    assert (fresh.from_template, filled.from_template) == (False, True)
    assert fresh.sha256 == filled.sha256
    other = export_head(SmallHead(seed=3), levels(), tmp_path / "other.onnx", template_folder=templates)
    assert other.from_template and other.sha256 != filled.sha256


def test_a_template_holds_nothing_of_the_head_it_came_from(templates: Path) -> None:
    (path,) = templates.glob("????????????????????????????????.onnx")
    template = onnx.ModelProto.FromString(path.read_bytes()[32:])
    state = SmallHead().state_dict()
    opened = {value.name for value in template.graph.input} - set(NAMES)
    assert opened == set(state) - {"bank_sources"}  # names survive; what the graph does not use is not in it
    assert not opened & {tensor.name for tensor in template.graph.initializer}
    assert path.stat().st_size < 64 * 1024
    with pytest.raises(AssertionError, match="the template has"):
        fill_template(template, head_tensors(SmallHead(rows=50)), inputs=NAMES)


def test_template_keys_tell_structures_apart() -> None:
    base = SmallHead()
    key = template_key(base, levels(), OPSET)
    assert key is not None and len(key) == 32
    assert template_key(SmallHead(seed=9), levels(), OPSET) == key
    coarser = tuple(level[:, :, ::2, ::2] for level in levels())
    shared = SmallHead()
    shared.register_buffer("bank_copy", shared.get_buffer("bank_0"))
    alone = SmallHead()
    alone.register_buffer("bank_copy", alone.get_buffer("bank_0").clone())
    constant, other_constant = SmallHead(), SmallHead()
    constant.constants = [torch.ones(3)]  # type: ignore[assignment]
    other_constant.constants = [torch.zeros(3)]  # type: ignore[assignment]
    keys = [
        key,
        template_key(SmallHead(rows=59), levels(), OPSET),
        template_key(SmallHead(base_weight=0.25), levels(), OPSET),
        template_key(base, coarser, OPSET),
        template_key(base, levels(), OPSET - 1),
        template_key(shared, levels(), OPSET),
        template_key(alone, levels(), OPSET),
        template_key(constant, levels(), OPSET),
        template_key(other_constant, levels(), OPSET),
    ]
    assert None not in keys and len(set(keys)) == len(keys)


class TinyHead(AnomalyHead):
    """The least that is a head: its graph is exported in a third of the time of `SmallHead`'s."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(2, generator=torch.Generator().manual_seed(seed)) + 1)
        self.register_buffer("bank_sources", torch.zeros(1, 4, dtype=torch.int64))
        self.eval()

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        anomaly_map = levels[0].square().mean(1) * self.get_buffer("scale")[1]
        return AnomalyOutput(anomaly_map.flatten(1).amax(1), anomaly_map, levels[1].argmax(1))


class OddlyHeld(TinyHead):
    """Tensors in all the places a module can keep them."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.register_buffer("transient", torch.tensor([1.0 + seed]), persistent=False)
        self.attribute = torch.tensor([2.0 + seed])

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        score, anomaly_map, nearest = super().forward(*levels)
        return AnomalyOutput(score + self.get_buffer("transient") * self.attribute, anomaly_map, nearest)


class Aliased(TinyHead):
    """Reaches a buffer under a second name, which the exporter copies into the graph as a constant."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self.alias = self.get_buffer("scale")

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        score, anomaly_map, nearest = super().forward(*levels)
        return AnomalyOutput(score + self.alias[0], anomaly_map, nearest)


def test_no_tensor_of_a_head_is_baked_into_its_template(tmp_path: Path) -> None:
    for seed in range(2):
        head = OddlyHeld(seed=seed)
        exported = export_head(head, levels(), tmp_path / f"{seed}.onnx", template_folder=tmp_path / "templates")
        assert exported.from_template is (seed == 1)
    export_head(Aliased(seed=0), levels(), tmp_path / "aliased.onnx", template_folder=tmp_path / "none")
    assert not (tmp_path / "none").exists()  # a graph with a copy of a tensor is no template


def test_a_head_that_cannot_be_compared_gets_no_template(templates: Path) -> None:
    factor = 2.0
    head = SmallHead()
    head.rule = lambda x: x * factor  # type: ignore[assignment]
    assert template_key(head, levels(), OPSET) is None


class CountsByKind(TinyHead):
    """Differs from its class's other instances in a way that `vars` does not show."""

    weights: tuple[float, ...] = (1.0,)

    def forward(self, *levels: Tensor) -> AnomalyOutput:
        score, anomaly_map, nearest = super().forward(*levels)
        return AnomalyOutput(score * self.weights[0], anomaly_map, nearest)


def test_a_template_that_claims_too_much_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    export_head(CountsByKind(), levels(), tmp_path / "one.onnx", template_folder=tmp_path)
    monkeypatch.setattr(CountsByKind, "weights", (3.0,))
    head = CountsByKind(seed=1)
    with caplog.at_level("WARNING", "deploy.exporting.torch_to_onnx"):
        exported = export_head(head, levels(), tmp_path / "two.onnx", template_folder=tmp_path)
    assert "does not fit its head" in caplog.text
    assert not exported.from_template and exported.parity.max_score_error < 1e-4
    assert export_head(head, levels(), tmp_path / "two.onnx", template_folder=tmp_path).from_template


def test_a_damaged_template_is_exported_again(tmp_path: Path) -> None:
    export_head(TinyHead(), levels(), tmp_path / "head.onnx", template_folder=tmp_path / "templates")
    (path,) = (tmp_path / "templates").iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:-20])
    again = export_head(TinyHead(seed=4), levels(), tmp_path / "head.onnx", template_folder=tmp_path / "templates")
    assert not again.from_template
    assert path.read_bytes() == good


class Noisy(TinyHead):
    def forward(self, *levels: Tensor) -> AnomalyOutput:
        score, anomaly_map, nearest = super().forward(*levels)
        return AnomalyOutput(score, anomaly_map + torch.rand_like(anomaly_map), nearest)


def test_a_head_that_is_not_a_function_of_its_input_fails(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match="ONNX maps"):
        export_head(Noisy(), levels(), tmp_path / "noisy.onnx")
    assert not (tmp_path / "noisy.onnx").exists()


def test_values_that_are_not_finite_fail(tmp_path: Path) -> None:
    head = TinyHead()
    head.get_buffer("scale").fill_(float("nan"))
    with pytest.raises(ParityError, match="nan"):
        export_head(head, levels(), tmp_path / "nan.onnx")


def test_one_example_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 2 images"):
        export_head(SmallHead(), tuple(level[:1] for level in levels()), tmp_path / "head.onnx")


def test_an_unwritable_path_is_explained(templates: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"expected a folder .+/file to write into"):
        export_head(SmallHead(), levels(), tmp_path / "file" / "head.onnx", template_folder=templates)


def test_concurrent_exports_do_not_disturb_each_other(templates: Path, tmp_path: Path) -> None:
    errors: list[Exception] = []

    def export(seed: int) -> None:
        try:
            export_head(SmallHead(seed=seed), levels(), tmp_path / f"{seed}.onnx", template_folder=templates)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=export, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len({(tmp_path / f"{seed}.onnx").read_bytes() for seed in range(4)}) == 4


def test_parity_from_image_to_score(templates: Path, tmp_path: Path) -> None:
    head = SmallHead(seed=5)
    exported = export_head(head, levels(), tmp_path / "head.onnx", template_folder=templates)
    engine = ScoringEngine(artefact(), "cpu")
    engine.add_head("line", exported.path, exported.sha256)
    parity = check_parity(backbone(), head, engine, "line", images())
    assert parity.max_score_error < 1e-4 and parity.max_map_error < 1e-4
    assert parity.images == len(images())
    with pytest.raises(ParityError, match=r"within 0\.001"):
        check_parity(backbone(), SmallHead(seed=6), engine, "line", images())


def test_comparison_of_outputs() -> None:
    score, nearest = np.float32([100, 1, 2]), np.zeros((3, 2, 2), np.int64)
    maps = np.zeros((3, 16, 16), np.float32)
    other = (score + np.float32([0.05, 0, 0]), maps + np.float32(5e-4), nearest + np.eye(2, dtype=np.int64))
    assert compare_outputs((score, maps, nearest), other, 1e-3) == Parity(
        max_score_error=pytest.approx(5e-4, rel=1e-3),  # relative to the largest score
        max_map_error=pytest.approx(5e-4),
        typical_map_error=pytest.approx(5e-4),
        tolerance=1e-3,
        images=3,
        nearest_agreement=0.5,
    )
    with pytest.raises(ParityError, match=r"maps within 0\.0001"):
        compare_outputs((score, maps, nearest), other, 1e-4)
    with pytest.raises(ParityError, match="anomaly_map as float32"):
        compare_outputs((score, maps, nearest), (score, maps[:, :2], nearest), 1e-3)
    for value in (np.nan, np.inf):
        with pytest.raises(ParityError, match="difference of nan"):
            compare_outputs((score, maps, nearest), (score, maps + np.float32(value), nearest), 1e-3)
        with pytest.raises(ParityError, match="difference of nan"):
            compare_outputs((score * np.float32(value), maps, nearest), (score, maps, nearest), 1e-3)


def test_few_cells_may_jump_a_little_many_or_far_may_not() -> None:
    score, nearest = np.ones(1, np.float32), np.zeros((1, 2, 2), np.int64)
    maps = np.zeros((1, 32, 32), np.float32)

    def with_jumps(cells: int, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        jumped = maps.copy()
        jumped.reshape(-1)[:cells] = size
        return score, jumped, nearest

    few = compare_outputs((score, maps, nearest), with_jumps(3, 0.04), 1e-3)
    assert few.max_map_error == pytest.approx(0.04) and few.typical_map_error == 0
    with pytest.raises(ParityError, match=r"maps within 0\.001"):
        compare_outputs((score, maps, nearest), with_jumps(40, 0.04), 1e-3)
    with pytest.raises(ParityError, match=r"maps within 0\.05"):
        compare_outputs((score, maps, nearest), with_jumps(1, 0.06), 1e-3)
