"""What a plant opens: manifests, bundles, packs, graphs that somebody sealed anew, and pointers to what is live."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from deploy.bundles.bundle import load_bundle, read_manifest
from deploy.bundles.card import render_card
from deploy.bundles.facts import facts_of
from deploy.bundles.packs import open_packed
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from pipeline.system_files import is_system_name
from tests.fuzz.mutations import ODD_TEXTS, as_json, damaged_bytes, damaged_value, parts_of
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.parts.plant import SIZE, tree, write_plant

LINE = "mvtec/pill"


@cache
def whole_pack() -> Mapping[str, bytes]:
    """Every file of an exported pack."""
    with tempfile.TemporaryDirectory(prefix="linewise-fuzz-") as root:
        registry = write_plant(Path(root) / "home")
        return tree(registry.pack(LINE, Path(root) / "pack"))


@cache
def whole_home() -> Mapping[str, bytes]:
    """Every file of a home folder with one live line."""
    with tempfile.TemporaryDirectory(prefix="linewise-fuzz-") as root:
        home = Path(root) / "home"
        write_plant(home)
        return tree(home)


def _bundle_files() -> dict[str, bytes]:
    return {name.removeprefix("bundle/"): data for name, data in whole_pack().items() if name.startswith("bundle/")}


def sealed(manifest: bytes) -> dict[str, bytes]:
    """What someone who wants to be believed would do: a manifest with its right hash."""
    seal = f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n"
    return {"manifest.json": manifest, "manifest.sha256": seal.encode()}


def _manifest(rng: Random) -> Input:
    manifest = json.loads(_bundle_files()["manifest.json"])
    return Input(sealed(as_json(damaged_value(manifest, rng), rng)), "manifest changed and sealed anew")


def _look_at_manifest(_made: Input, folder: Path) -> str:
    manifest = read_manifest(folder).manifest
    facts_of(manifest)
    card = render_card(manifest)
    if "\x00" in card or "\x1b" in card:
        raise PassedInSilenceError("a control character of the manifest in the card")
    for name in manifest.files:
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise PassedInSilenceError(f"{name!r} leads out of the bundle")
    return "read"


def _damaged_tree(files: Mapping[str, bytes], rng: Random) -> tuple[dict[str, bytes], str]:
    """A tree of files of which one is damaged, gone, added, or has another one's content."""
    changed, name = dict(files), rng.choice(sorted(files))
    match rng.randrange(6):
        case 0:
            del changed[name]
            return changed, f"{name} gone"
        case 1:
            changed[f"{name}{rng.choice(('.bak', '~', ' '))}"] = changed[name]
            return changed, f"{name} once more"
        case 2:
            changed[name] = changed[rng.choice(sorted(files))]
            return changed, f"{name} with another's content"
        case _:
            data = changed[name]
            changed[name], done = damaged_bytes(data, rng, parts_of(data), list(files.values()))
            return changed, f"{name}: {', '.join(done)}"


def _bundle(rng: Random) -> Input:
    files, done = _damaged_tree(_bundle_files(), rng)
    return Input(files, done)


def _look_at_bundle(_made: Input, folder: Path) -> str:
    bundle = load_bundle(folder)
    _same(tree(folder), _bundle_files())
    bundle.bank_sources()
    return "read"


def _pack(rng: Random) -> Input:
    files, done = _damaged_tree(whole_pack(), rng)
    return Input(files, done)


def _look_at_pack(_made: Input, folder: Path) -> str:
    open_packed(folder)
    found = tree(folder)
    for name in ("backbone/backbone.json",):  # its fields are held to the manifest's one by one, not by a hash
        found[name] = whole_pack()[name]
    _same({name: data for name, data in found.items() if name in whole_pack()}, whole_pack())
    return "read"


def _same(found: Mapping[str, bytes], whole: Mapping[str, bytes]) -> None:
    kept = {name: data for name, data in found.items() if not any(is_system_name(part) for part in name.split("/"))}
    if kept != dict(whole):
        raise PassedInSilenceError(f"opened with other bytes in {sorted(dict(kept.items() ^ whole.items()))[:3]}")


def _sealed_graph(rng: Random) -> Input:
    """A pack whose graph, array or backbone was changed by somebody who then wrote every hash anew."""
    files = dict(whole_pack())
    name = rng.choice(["bundle/head.onnx", "bundle/head.onnx", "bundle/bank_sources.npy", "backbone/backbone.onnx"])
    files[name], done = damaged_bytes(files[name], rng, parts_of(files[name]), list(files.values()))
    digest = hashlib.sha256(files[name]).hexdigest()
    manifest = json.loads(files["bundle/manifest.json"])
    if name.startswith("bundle/"):
        manifest["files"][name.removeprefix("bundle/")] = digest
    else:
        manifest["backbone"]["onnx_sha256"] = digest
        backbone = json.loads(files["backbone/backbone.json"]) | {"onnx_sha256": digest}
        files["backbone/backbone.json"] = json.dumps(backbone).encode()
    files |= {f"bundle/{part}": data for part, data in sealed(json.dumps(manifest).encode()).items()}
    return Input(files, f"{name}: {', '.join(done)}, sealed anew")


def _look_at_sealed_graph(_made: Input, folder: Path) -> str:
    deployment = open_packed(folder)
    deployment.bundle.bank_sources()
    engine = ScoringEngine(deployment.backbone, "cpu")
    engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
    try:
        scores = engine.score(LINE, np.full((1, SIZE, SIZE, 3), 51, np.uint8))
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            return "failed in onnxruntime"  # raised, told with the run; nothing was scored
        raise
    if scores.image_score.shape != (1,):
        raise PassedInSilenceError(f"scores of shape {scores.image_score.shape} for one image")
    return "read"


def _home(rng: Random) -> Input:
    files = dict(whole_home())
    if rng.random() < 0.5:
        name = "lines/mvtec%2Fpill/live.json"
        files[name] = as_json(damaged_value(json.loads(files[name]), rng), rng)
        return Input(files, "pointer changed", {"line": LINE})
    name = next(name for name in files if name.endswith("backbone.json"))
    files[name] = as_json(damaged_value(json.loads(files[name]), rng), rng)
    return Input(files, "backbone.json changed", {"line": LINE if rng.random() < 0.9 else rng.choice(ODD_TEXTS)})


def _look_at_home(made: Input, folder: Path) -> str:
    registry = Registry(folder)
    registry.lines()
    registry.versions(LINE)
    deployment = registry.deployment(made.facts["line"])
    if not deployment.bundle.path.resolve().is_relative_to(folder.resolve()):
        raise PassedInSilenceError(f"{deployment.bundle.path} lies outside of the home")
    return "read"


def _meta_model(rng: Random) -> Input:
    files = dict(_whole_meta_model())
    if rng.random() < 0.6:
        files["meta.json"] = as_json(damaged_value(json.loads(files["meta.json"]), rng), rng)
        return Input(files, "meta.json changed")
    weights, done = damaged_bytes(files["weights.safetensors"], rng, (), list(files.values()))
    fields = json.loads(files["meta.json"]) | {"weights_sha256": hashlib.sha256(weights).hexdigest()}
    files |= {"weights.safetensors": weights, "meta.json": json.dumps(fields).encode()}
    return Input(files, f"weights: {', '.join(done)}, sealed anew")


@cache
def _whole_meta_model() -> Mapping[str, bytes]:
    import model_zoo

    return tree(Path(model_zoo.__file__).parent / "meta_models" / "in_context")


def _look_at_meta_model(_made: Input, folder: Path) -> str:
    from pipeline.meta_model import load_meta_model

    model = load_meta_model(folder)
    numbers: list[Any] = [model.seed, model.good, model.outer_steps]
    if not all(isinstance(number, int) for number in numbers) or not isinstance(model.learner, str):
        raise PassedInSilenceError(f"a meta-model with {model.learner!r} and {numbers} for its numbers")
    return "read"


@cache
def _whole_weights() -> Mapping[str, bytes]:
    import torch
    from safetensors.torch import save

    state = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.running_mean": torch.ones(2)}
    zipped = io.BytesIO()
    torch.save(state, zipped)  # its older format has addresses of this process in it, and is no input to repeat
    return {"a.pth": zipped.getvalue(), "b.safetensors": save(state)}


def _own_weights(rng: Random) -> Input:
    name, whole = rng.choice(sorted(_whole_weights().items()))
    content, done = damaged_bytes(whole, rng, parts_of(whole), list(_whole_weights().values()))
    return Input({name: content}, f"{name}: {', '.join(done)}", {"name": name})


def _look_at_own_weights(made: Input, folder: Path) -> str:
    from model_zoo.backbones.backbone_weights import read_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has one for other protocols of pickle
        state = read_state_dict(folder / made.facts["name"])
    if not all(isinstance(name, str) for name in state):
        raise PassedInSilenceError(f"weights of the names {list(state)[:3]}")
    return "read"


SURFACES = (
    Surface("manifests", 0.10, _manifest, _look_at_manifest),
    Surface("bundles", 0.04, _bundle, _look_at_bundle),
    Surface("packs", 0.015, _pack, _look_at_pack),
    Surface("sealed graphs", 0.02, _sealed_graph, _look_at_sealed_graph),
    Surface("homes", 0.01, _home, _look_at_home),
    Surface("own weights", 0.01, _own_weights, _look_at_own_weights),
    Surface("meta-models", 0.005, _meta_model, _look_at_meta_model),
)
