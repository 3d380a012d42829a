"""Torch modules become ONNX files, and each file proves against its module that it computes the same.

This, its helpers (`onnx_graphs`, `head_templates`, `score_cover`, `distance_graph`) and `int8` are the only modules
of `deploy` that import torch or onnx.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import Tensor, nn

from deploy.engine.backbone_artefact import BACKBONE_FORMAT, load_backbone_artefact
from deploy.engine.devices import ResolvedDevice, open_session, resolve_device
from deploy.engine.extractor import BACKBONE_INPUT, OrtExtractor
from deploy.engine.limits import available_cpus
from deploy.engine.parity import TOLERANCE, Parity, compare_outputs, disagreement, relative_error
from deploy.engine.runtime import ScoringEngine
from deploy.engine.scores import HEAD_OUTPUTS, TILE
from deploy.exporting.distance_graph import with_distance
from deploy.exporting.head_templates import head_tensors, template_key
from deploy.exporting.onnx_graphs import OPSET, export_graph, fill_template
from deploy.exporting.score_cover import cover_map
from pipeline.errors import BundleError, ParityError
from pipeline.features import BackboneArtefact, BackboneSpec
from pipeline.learner import AnomalyHead, AnomalyOutput
from pipeline.settings import Device
from pipeline.storage import make_folder_of, replace_file, replacing_folder, write_durably
from pipeline.synthetic.lines import generate_line
from pipeline.tile_grid import TileGrid
from pipeline.tiled_output import over_images

log = logging.getLogger(__name__)

_PARITY_IMAGES = 4
_PARITY_SEED = 10_000  # images that the channel standard deviation has not seen


@dataclass(frozen=True, kw_only=True)
class HeadExport:
    """An exported head: the file, its sha256, whether a template saved the export, and its parity on features."""

    path: Path
    sha256: str
    from_template: bool
    parity: Parity


def export_backbone(
    module: nn.Module, spec: BackboneSpec, folder: Path, *, tolerance: float = TOLERANCE
) -> BackboneArtefact:
    """Write `backbone.onnx` and `backbone.json` to `folder`, after comparing the graph with the module.

    The folder appears at once and complete. One that already holds this backbone intact is left as it is; a damaged
    one is replaced.

    Args:
        module: uint8 images (B, H, W, 3) to levels, in evaluation mode.
        spec: what it computes.
        folder: where to write.
        tolerance: largest accepted error of a feature, relative to the largest feature (at least 1).

    Raises:
        ParityError: the graph computes something else.
        StorageError: the folder cannot be written.
    """
    existing = _existing(folder, spec)
    if existing is not None:
        return existing
    images = _parity_images(spec)
    names = tuple(f"level_{i}" for i in range(len(spec.levels)))
    examples = [torch.from_numpy(images[:2])]
    graph = export_graph(module, examples, inputs=[BACKBONE_INPUT], outputs=names)
    content = graph.model.SerializeToString()
    with replacing_folder(folder) as scratch:
        sha256 = write_durably(scratch / "backbone.onnx", content)
        error = _backbone_error(module, BackboneArtefact(scratch, spec, sha256), images)
        if not error <= tolerance:
            raise disagreement("features", error, tolerance)
        manifest = {
            "format_version": BACKBONE_FORMAT,
            "spec": spec.to_json(),
            "onnx_sha256": sha256,
            "parity": {"max_error": error, "tolerance": tolerance, "images": len(images)},
            "made_with": {"torch": torch.__version__, "onnx": onnx.__version__, "opset": OPSET},
        }
        write_durably(scratch / "backbone.json", json.dumps(manifest, indent=2).encode())
    return load_backbone_artefact(folder)


def export_head(
    head: AnomalyHead,
    example_levels: Sequence[Tensor],
    path: Path,
    *,
    directions: Sequence[Tensor] | None = None,
    tiles: Tensor | None = None,
    template_folder: Path | None = None,
    tolerance: float = TOLERANCE,
) -> HeadExport:
    """Write a head's graph to `path`, after comparing it with the head on `example_levels`; its score covers its map.

    Args:
        head: from a learner; is put in evaluation mode.
        example_levels: real features, (B, C, h, w) a level with B of at least 2, as the head will see them.
        path: the file to write.
        directions: of the line's support, see `pipeline.support_distance`, for a graph that also says how far an image
            lies from it; None: it does not.
        tiles: (B,) the numbers of the tiles that the levels are of, for a head that asks (`AnomalyHead.asks_tile`).
        template_folder: where graphs are kept for heads of equal structure, whose export then takes milliseconds
            instead of seconds; None exports anew.
        tolerance: see `Parity`.

    Raises:
        ParityError: the graph computes something else.
        StorageError: the file cannot be written.
    """
    head.eval()
    levels = [level.detach().cpu().contiguous() for level in example_levels]
    if len(levels[0]) < 2:
        raise ValueError(f"expected example levels of at least 2 images, got {len(levels[0])}")
    examples = {f"level_{i}": level for i, level in enumerate(levels)}
    if head.asks_tile:
        assert tiles is not None, "the head asks which tiles it sees"
        examples[TILE] = tiles
    names = list(examples)
    key = template_key(head, list(examples.values()), OPSET) if template_folder is not None else None
    cached = template_folder / f"{key}.onnx" if template_folder is not None and key is not None else None
    tensors = head_tensors(head)
    template = _read_template(cached) if cached is not None else None
    proven: tuple[bytes, Parity] | None = None
    if template is not None:
        try:
            proven = _fill_and_compare(template, head, tensors, examples, tolerance)
        except ParityError as error:  # the template's fault or the head's: a fresh export tells
            log.warning("template %s does not fit its head, exporting anew (%s)", cached, error)
    from_template = proven is not None
    if proven is None:
        graph = export_graph(head, list(examples.values()), inputs=names, outputs=HEAD_OUTPUTS, open_tensors=tensors)
        cover_map(graph.model)
        proven = _fill_and_compare(graph.model, head, tensors, examples, tolerance)
        if cached is not None and graph.reusable:
            make_folder_of(cached)
            replace_file(cached, _sealed(graph.model.SerializeToString()))
    content, parity = proven
    if directions is not None:
        content = with_distance(content, levels, directions)
    make_folder_of(path)
    replace_file(path, content)
    return HeadExport(path=path, sha256=hashlib.sha256(content).hexdigest(), from_template=from_template, parity=parity)


@torch.inference_mode()
def check_parity(
    backbone: nn.Module,
    head: AnomalyHead,
    engine: ScoringEngine,
    name: str,
    images_BHWC: NDArray[np.uint8],
    *,
    tiles: TileGrid | None = None,
    tolerance: float = TOLERANCE,
) -> Parity:
    """Compare image to score, through both ways: torch backbone and head, and the engine that the line will use.

    Args:
        backbone: the torch backbone.
        head: the torch head.
        engine: holds the exported head as `name`.
        name: the head's name in the engine.
        images_BHWC: uint8 images at the spec's size, or at the tiles' canvas's.
        tiles: that head and engine see images as; None: whole.
        tolerance: see `Parity`.

    Raises:
        ParityError: they differ by more than the tolerance allows, or a value is not finite.
    """
    head.eval()
    expected = [_through_torch(backbone, head, image, tiles) for image in images_BHWC]
    reference = [torch.cat(parts).numpy() for parts in zip(*expected, strict=True)]
    return compare_outputs(reference, engine.score(name, images_BHWC).outputs(), tolerance)


def _through_torch(
    backbone: nn.Module, head: AnomalyHead, image_HWC: NDArray[np.uint8], tiles: TileGrid | None
) -> AnomalyOutput:
    if tiles is None:
        return head(*backbone(torch.from_numpy(image_HWC[None])))
    each = [backbone(torch.from_numpy(np.ascontiguousarray(tile[None]))) for tile in tiles.cut(image_HWC)]
    return over_images(head(*(torch.cat(level, 2) for level in zip(*each, strict=True))), tiles)


@torch.inference_mode()
def _fill_and_compare(
    template: onnx.ModelProto,
    head: AnomalyHead,
    tensors: Mapping[str, Tensor],
    examples: Mapping[str, Tensor],
    tolerance: float,
) -> tuple[bytes, Parity]:
    """The graph with the head's tensors, and its parity on the examples of its inputs.

    Compared on the whole example batch, and on its first image alone: the batch must have stayed dynamic.
    """
    content = fill_template(template, tensors, inputs=list(examples)).SerializeToString()
    session = open_session(content, resolve_device(Device.CPU), threads=available_cpus())
    wanted = {node.name for node in session.get_inputs()}
    for batch in (1, len(examples["level_0"])):
        part = {name: example[:batch] for name, example in examples.items()}
        feed = {name: example.numpy() for name, example in part.items() if name in wanted}
        got = [np.asarray(value) for value in session.run(list(HEAD_OUTPUTS), feed)]
        parity = compare_outputs([value.numpy() for value in head(*part.values())], got, tolerance)
    return content, parity


@torch.inference_mode()
def _backbone_error(module: nn.Module, artefact: BackboneArtefact, images: NDArray[np.uint8]) -> float:
    extractor = OrtExtractor(artefact, ResolvedDevice(Device.CPU, "parity"), threads=available_cpus())
    expected = [level.numpy() for level in module(torch.from_numpy(images))]
    got = extractor.extract(images)
    return max(relative_error(torch_level, onnx_level) for torch_level, onnx_level in zip(expected, got, strict=True))


def _parity_images(spec: BackboneSpec) -> NDArray[np.uint8]:
    side = max(spec.size)  # generated images are square
    seeds = range(_PARITY_SEED, _PARITY_SEED + _PARITY_IMAGES)
    images = [generate_line(seed, size=side).good(np.random.default_rng(seed))[0] for seed in seeds]
    return np.stack(images)[:, : spec.height, : spec.width]


def _existing(folder: Path, spec: BackboneSpec) -> BackboneArtefact | None:
    try:
        artefact = load_backbone_artefact(folder)
    except BundleError:
        return None
    return artefact if artefact.spec == spec else None


def _sealed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def _read_template(path: Path) -> onnx.ModelProto | None:
    """A cached template, or None when there is none or it is damaged: it is only a cache and is made again."""
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(sealed[32:]).digest() != sealed[:32]:
        return None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(sealed[32:])
    except DecodeError:
        return None
    return model
