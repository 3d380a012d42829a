"""What two versions of a line say of the same images, and how fast, each as it would at the plant. Torch-free."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.bundles.packs import Deployment
from deploy.decoding.choice import image_opener
from deploy.engine.devices import ResolvedDevice
from deploy.engine.limits import available_cpus
from deploy.engine.runtime import ScoringEngine
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import Outcome, ScoringWorker
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from pipeline.calibration import Decision
from pipeline.imaging.images import image_limits
from pipeline.settings import Settings

LEAST_TIMED = 15
"""Times from which two versions' speeds are compared: a machine that does something else now and then must not decide.
"""
_CHANGED, _UNREADABLE = "gone, changed or not readable since", "not readable by one of the versions"


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a version says of an image: its score (None: not judged) and its decision."""

    score: float | None
    decision: Decision


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An image with what the candidate and the live version say of it; `live` is None where none is live."""

    image: EvidenceImage
    candidate: Said
    live: Said | None

    @property
    def changed(self) -> bool:
        """Whether the two decide otherwise."""
        return self.live is not None and self.live.decision is not self.candidate.decision


@dataclass(frozen=True, kw_only=True)
class Times:
    """Seconds, decoding included, that the candidate and the live version took for an image, one right after the other.

    `live` is None where none is live.
    """

    candidate: float
    live: float | None


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The images that could be scored, the times of some of them, and how many could not be scored, by reason."""

    pairs: tuple[Pair, ...]
    left_out: dict[str, int]
    times: tuple[Times, ...] = ()

    def of(self, kind: Kind) -> list[Pair]:
        """Those of a kind that nobody chose for what the versions say of them."""
        return [pair for pair in self.pairs if pair.image.kind is kind and not pair.image.contested]

    @property
    def production(self) -> list[Pair]:
        """The sample of the production, whatever is known of its images."""
        return [pair for pair in self.pairs if pair.image.produced]


def score_pairs(
    candidate: Deployment,
    live: Deployment | None,
    images: Sequence[EvidenceImage],
    device: ResolvedDevice,
    settings: Settings,
    on_scored: Callable[[int, int], None],
) -> Pairs:
    """Score the images with both versions in turn.

    Either goes first at every second image, as the second finds the file in memory. The first image is not timed: it
    warms both up. Where there are few, they are scored again until `LEAST_TIMED` times are known.

    Args:
        candidate: a version and its backbone.
        live: the one it is compared with.
        images: to score; one that is gone or has other bytes by now is left out.
        device: where both run.
        settings: of this process.
        on_scored: told how many images are done, and of how many.

    Raises:
        DeviceError: the device is not there, or has not memory enough.
    """
    workers = _workers([candidate, *([live] if live is not None else [])], device, settings)
    pairs, times, left_out = list[Pair](), list[Times](), Counter[str]()
    for done, image in enumerate(images):
        on_scored(done, len(images))
        said, taken = _ask_all(workers, image, last_first=bool(done % 2))
        if problem := next((one for one in said if isinstance(one, str)), None):
            left_out[problem] += 1
            continue
        both = [one for one in said if isinstance(one, Said)]
        if pairs:
            times.append(taken)
        pairs.append(Pair(image=image, candidate=both[0], live=both[1] if live is not None else None))
    while pairs and len(times) < LEAST_TIMED:
        image = pairs[len(times) % len(pairs)].image
        times.append(_ask_all(workers, image, last_first=bool(len(times) % 2))[1])
    on_scored(len(images), len(images))
    return Pairs(pairs=tuple(pairs), left_out=dict(left_out), times=tuple(times))


def _workers(deployments: Sequence[Deployment], device: ResolvedDevice, settings: Settings) -> list[ScoringWorker]:
    """One for each version; versions on one backbone share its session."""
    engines: dict[str, ScoringEngine] = {}
    workers: list[ScoringWorker] = []
    for deployment in deployments:
        bundle, graph = deployment.bundle, deployment.backbone.onnx_sha256
        if graph not in engines:
            engines[graph] = ScoringEngine(deployment.backbone, device, threads=available_cpus())
        engines[graph].add_head(bundle.id, bundle.head_path, bundle.head_sha256, tiles=bundle.manifest.tiles)
        workers.append(
            ScoringWorker(
                bundle=bundle,
                engine=engines[graph],
                head=bundle.id,
                known=None,
                overlays=None,
                limits=image_limits(),
                opener=image_opener(settings.jpeg_decoder),
            )
        )
    return workers


def _ask_all(
    workers: Sequence[ScoringWorker], image: EvidenceImage, *, last_first: bool
) -> tuple[list[Said | str], Times]:
    """What each version says, or why it cannot say anything, and the times."""
    said, seconds = dict[int, Said | str](), dict[int, float]()
    for index in sorted(range(len(workers)), reverse=last_first):
        began = time.perf_counter()
        said[index] = _ask(workers[index], image)
        seconds[index] = time.perf_counter() - began
    return [said[index] for index in range(len(workers))], Times(candidate=seconds[0], live=seconds.get(1))


def _ask(worker: ScoringWorker, image: EvidenceImage) -> Said | str:
    """What a version says, or why it cannot say anything."""
    ready = worker.prepare(SourceItem(name=image.name, path=image.path))
    if isinstance(ready, Outcome):
        return _CHANGED if ready.result.sha256 != image.sha256 else _UNREADABLE
    if ready.sha256 != image.sha256:
        return _CHANGED
    result = worker.score(ready).result
    assert result.decision is not None
    return Said(score=result.score, decision=result.decision)
