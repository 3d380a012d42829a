"""The gate as a job: a candidate beside the live version; then the candidate is live, or held with its reasons."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.bundles.contested_images import note_contested
from deploy.bundles.manifest import HEAD, BundleManifest
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import rolled_back
from deploy.engine.devices import open_device
from flows.gate.earlier_looks import EarlierLooks, note_look, read_looks, with_earlier
from flows.gate.evidence import find_evidence
from flows.gate.gate_checks import Check
from flows.gate.gate_rules import checks_of
from flows.gate.paired_scores import Pair, score_pairs
from flows.gate.production_rule import STREAM, contested
from flows.gate.request import ComparedOn, GateRequest
from flows.gate.resident_memory import resident_bytes
from flows.progress import OnProgress, Progress, ignore_progress
from pipeline.errors import BundleError, ConfigError
from pipeline.settings import Settings

_BY = "gate"
_NO_LOOKS = EarlierLooks()


@dataclass(frozen=True, kw_only=True)
class VersionComparison:
    """Two versions of a line, or one alone, on images that neither has learned.

    Args:
        line: whose they are.
        candidate: the version that is looked at.
        live: the one it is compared with; None: none.
        checks: the rules, with their figures.
        pairs: what both say of each image, of the looks before, too.
        left_out: how many images could not be compared on, by reason.
    """

    line: str
    candidate: str
    live: str | None
    checks: tuple[Check, ...]
    pairs: tuple[Pair, ...] = ()
    left_out: dict[str, int]

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the candidate is not let through, each as part of a sentence; empty: it is."""
        return tuple(check.problem for check in self.checks if check.problem)

    @property
    def changed(self) -> tuple[Pair, ...]:
        """The images that the versions decide otherwise."""
        return tuple(pair for pair in self.pairs if pair.changed)


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What the gate saw, and what became of the candidate.

    Args:
        comparison: of the candidate with what was live before.
        live: whether the candidate is live now.
        reasons: why it is held, each as part of a sentence; empty: it passed.
        seconds: the gate took.
    """

    comparison: VersionComparison
    live: bool
    reasons: tuple[str, ...]
    seconds: float

    @property
    def sentence(self) -> str:
        """What became of it, in one sentence that a list of runs shows."""
        name = f"{self.comparison.line} {self.comparison.candidate}"
        if self.reasons:
            return f"held: {name} is not promoted, as {'; '.join(self.reasons)}."
        return f"promoted: {name} is live." if self.live else f"passed: {name} may be promoted."


def run(request: GateRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> GateResult:
    """Compare the candidate with the live version; promote it, or hold it and note why. What is live is never harmed.

    Raises:
        ConfigError: no such line or version, or the candidate is live already.
        LineError: the folder of labelled images cannot be used.
        DeviceError: the device is not there.
        BundleError: the live version is damaged, or what was decided about the line's versions.
        StorageError: as the sentence says.
    """
    began = time.perf_counter()
    registry = Registry(settings.home)
    live = registry.live_version(request.line)
    candidate = request.candidate or _newest(registry, request.line)
    if candidate == live:
        raise ConfigError(
            f"a version of {request.line} that is not live", f"{candidate}, which is", "name another, or adapt again"
        )
    comparison = _compared(registry, request, candidate, live, settings, on_progress)
    reasons = comparison.problems or _barred(registry, request.line, candidate)
    if not reasons and request.promote:
        passed = tuple(f"{check.what}: {check.candidate}, before {check.live}" for check in comparison.checks)
        why = registry.promote_instead(request.line, candidate, live, by=_BY, why=passed)
        reasons = (why,) if why else ()
    if reasons:
        registry.hold(request.line, candidate, by=_BY, why=reasons)
        if any(check.problem for check in comparison.checks if check.what == STREAM):
            note_contested(settings.home, request.line, candidate, _to_ask_about(comparison.pairs))
    return GateResult(
        comparison=comparison,
        live=registry.live_version(request.line) == candidate,
        reasons=reasons,
        seconds=time.perf_counter() - began,
    )


def compare_versions(
    line: str,
    candidate: str,
    other: str,
    asked: ComparedOn,
    settings: Settings,
    on_progress: OnProgress = ignore_progress,
) -> VersionComparison:
    """A version beside another one, by the gate's rules; nothing is promoted and nothing noted.

    Raises:
        ConfigError, LineError, DeviceError, BundleError, StorageError: as `run` says.
    """
    registry = Registry(settings.home)
    opened = registry.deployment(line, candidate), registry.deployment(line, other)
    return _compare(line, *opened, asked, settings, on_progress)


def _compared(
    registry: Registry,
    request: GateRequest,
    candidate: str,
    live: str | None,
    settings: Settings,
    on_progress: OnProgress,
) -> VersionComparison:
    """As `_compare`; what was seen of a candidate that is held is remembered. One that cannot be opened has failed its
    first check.
    """
    opened = registry.deployment(request.line, live) if live is not None else None
    try:
        deployment = registry.deployment(request.line, candidate)
    except BundleError as error:
        check = Check(what="opened and whole", live="–" if live is None else "yes", candidate="no", problem=str(error))
        return VersionComparison(line=request.line, candidate=candidate, live=live, checks=(check,), left_out={})
    looks = read_looks(settings, request.line, deployment, opened)
    comparison = _compare(request.line, deployment, opened, request, settings, on_progress, looks)
    if comparison.problems:
        seen = EarlierLooks(count=looks.count + 1, pairs=comparison.pairs)
        note_look(settings, request.line, deployment, opened, seen)
    return comparison


def _compare(
    line: str,
    candidate: Deployment,
    other: Deployment | None,
    asked: ComparedOn,
    settings: Settings,
    on_progress: OnProgress,
    looks: EarlierLooks = _NO_LOOKS,
) -> VersionComparison:
    def tell(done: int, total: int) -> None:
        on_progress(Progress(stage="compare versions", done=done, total=total))

    opened = [deployment for deployment in (candidate, other) if deployment is not None]
    manifests = [deployment.bundle.manifest for deployment in opened]
    evidence = find_evidence(line, asked, manifests, settings)
    device = open_device(asked.device, settings)
    scored = score_pairs(candidate, other, looks.to_score(evidence.images), device, settings, tell)
    scored = with_earlier(scored, looks, evidence.labelled)
    checks = checks_of(
        candidate,
        other,
        scored,
        resident=resident_bytes(opened),
        defect_share=evidence.defect_share,
        looks_before=looks.count,
    )
    return VersionComparison(
        line=line,
        candidate=manifests[0].version,
        live=None if other is None else other.bundle.manifest.version,
        checks=checks,
        pairs=scored.pairs,
        left_out=dict(Counter(evidence.left_out) + Counter(scored.left_out)),
    )


def _to_ask_about(pairs: Sequence[Pair]) -> list[str]:
    """The images of the production that only the candidate flags and nobody has said a word on, by content."""
    production = [pair for pair in pairs if pair.image.produced]
    return [pair.image.sha256 for pair in contested(production) if pair.image.askable]


def _newest(registry: Registry, line: str) -> str:
    """The line's newest version that is not live."""
    others = [record.version for record in registry.versions(line) if not record.live]
    if not others:
        raise ConfigError(f"a version of {line} that is not live", "none", "adapt the line with --no-promote first")
    return others[-1]


def _barred(registry: Registry, line: str, candidate: str) -> tuple[str, ...]:
    """Why it may not go live by itself whatever it is worth: it was rolled back, or is equal to one that was."""
    barred = rolled_back(registry.decisions(line))
    if candidate in barred:
        return ("it was rolled back: only a person may promote it again",)
    known = {record.version: record.manifest for record in registry.versions(line) if record.manifest is not None}
    twins = sorted(version for version in barred & known.keys() if _decides_as(known[version], known[candidate]))
    return tuple(f"it is equal to {twin}, which was rolled back: only a person may promote it" for twin in twins)


def _decides_as(one: BundleManifest, other: BundleManifest) -> bool:
    """Whether two versions decide alike: by the same head on the same backbone, with the same threshold."""
    graphs = [(manifest.files[HEAD], manifest.backbone.onnx_sha256) for manifest in (one, other)]
    return graphs[0] == graphs[1] and one.threshold == other.threshold
