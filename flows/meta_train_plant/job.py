"""The plant's own meta-model as a job: its lines in; a new live meta-model, or the reasons why there is none, out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.asking.learner_names import LearnerName
from flows.meta_train.job import finished_model, prepare_export
from flows.meta_train.request import MetaTrainRequest
from flows.meta_train_plant.held_out_lines import Teaching, folds_of
from flows.meta_train_plant.meta_model_gate import (
    LEAST_LINES,
    ComparedLine,
    MetaModelComparison,
    in_points,
    too_few_lines,
)
from flows.meta_train_plant.registered_lines import RegisteredLine, find_registered_lines
from flows.meta_train_plant.request import MetaTrainPlantRequest
from flows.open_backbone import open_backbone
from flows.plant_meta_models import LearnedFrom, PlantMetaModels
from flows.progress import OnProgress, Progress, ignore_progress
from model_zoo.learner_table import learner_entry, make_learner
from pipeline.errors import ConfigError
from pipeline.meta_model import MetaModel
from pipeline.settings import Settings

_BY = "gate"


@dataclass(frozen=True, kw_only=True)
class MetaTrainPlantResult:
    """What became of the candidate.

    Args:
        learner: its name.
        lines: that teach it, by name.
        comparison: with what the plant has at present, on held-out lines; None: there was none to make.
        reasons: why nothing was promoted, in parts of sentences; empty: the candidate is live.
        model: the plant's new meta-model; None: nothing was promoted.
        left_out: how many images, by reason.
        remarks: sentences on lines and images.
        seconds: that all of it took.
    """

    learner: str
    lines: tuple[str, ...]
    comparison: MetaModelComparison | None
    reasons: tuple[str, ...]
    model: MetaModel | None
    left_out: dict[str, int]
    remarks: tuple[str, ...]
    seconds: float

    @property
    def sentence(self) -> str:
        """What became of it, and why."""
        if self.model is None:
            return f"held: {'; '.join(self.reasons)}."
        gain = f", {in_points(self.comparison.auroc_gain)} of image AUROC" if self.comparison else ""
        return f"promoted: {self.model.identifier} is the plant's meta-model of {self.learner}{gain}."


def run(
    request: MetaTrainPlantRequest, settings: Settings, on_progress: OnProgress = ignore_progress
) -> MetaTrainPlantResult:
    """Compare a candidate with what the plant has, on lines that neither learned; then teach it by all lines.

    Whoever is killed on the way has changed nothing: the meta-model goes live in the last step.

    Raises:
        ConfigError: the learner learns nothing from other lines, or the backbone cannot be used.
        LineError: no such folder.
        BundleError: the plant's present meta-model is damaged.
        StorageError: as the sentence says.
    """
    start = time.perf_counter()
    name = request.learner.value
    if not learner_entry(name).is_meta:
        raise ConfigError("a learner that learns from other lines", name, f"choose {LearnerName.SHARED_DIRECTION}")
    spec = open_backbone(request.backbone, request.size, settings).spec
    found = find_registered_lines(request.folder, make_learner(name, spec), settings, on_progress)
    shelf, lines, asked = PlantMetaModels(settings, name), found.lines, request.training()
    learned_from = LearnedFrom(settings=asked, lines={line.line.name: _contents(line) for line in lines})
    present = _Present.of(shelf, request)
    judging = [line for line in lines if line.judges(request.good)]
    held = (
        too_few_lines(len(judging), request.good)
        or _rolled_back_twin(shelf, learned_from)
        or present.not_to_compare(learned_from, lines)
    )
    reasons = (held,) if held else ()
    comparison: MetaModelComparison | None = None
    model: MetaModel | None = None
    if not reasons:
        candidate = Teaching(asked, lines, settings, on_progress)
        before = Teaching(present.training, present.taught_by(lines), settings, on_progress)
        comparison = _compared(candidate, before, present.name, judging, request, on_progress)
        reasons = comparison.problems
        if not reasons:
            on_progress(Progress(stage="learn from all lines", done=0, total=1))
            learned = _finished(candidate, settings)
            gain = f"image AUROC of held-out lines over {present.name}: {in_points(comparison.auroc_gain)}"
            if shelf.promote_instead(learned, learned_from, present.version, by=_BY, why=(gain,)):
                model = learned
            else:
                reasons = ("another meta-model went live meanwhile",)
    return MetaTrainPlantResult(
        learner=name,
        lines=tuple(line.line.name for line in lines),
        comparison=comparison,
        reasons=reasons,
        model=model,
        left_out=found.left_out,
        remarks=(*found.remarks, *present.remarks(lines)),
        seconds=time.perf_counter() - start,
    )


@dataclass(frozen=True, kw_only=True)
class _Present:
    """What the plant has: the version that is live, and what it was learned from; None: none is, and `auto` stands in.

    It is learned anew for each part of the lines, from what it was learned from but for those lines: as it is it knows
    most of them, and nothing would ever be better.
    """

    name: str
    training: MetaTrainRequest
    folder: Path
    version: str | None = None
    learned_from: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    @classmethod
    def of(cls, shelf: PlantMetaModels, request: MetaTrainPlantRequest) -> _Present:
        version = shelf.live_version()
        if version is None:
            auto = request.training().model_copy(update={"learner": LearnerName.AUTO})
            return cls(name=LearnerName.AUTO.value, training=auto, folder=shelf.folder)
        noted, name = shelf.learned_from(version), shelf.meta_model(version).identifier
        return cls(name=name, training=noted.settings, folder=shelf.folder, version=version, learned_from=noted.lines)

    def taught_by(self, lines: Sequence[RegisteredLine]) -> list[RegisteredLine]:
        """Of the lines what it was learned from."""
        of_it = [line.only(self.learned_from.get(line.line.name, ())) for line in lines]
        return [line for line in of_it if line.teaches]

    def not_to_compare(self, candidate: LearnedFrom, lines: Sequence[RegisteredLine]) -> str:
        """Why a candidate need not, or cannot, be compared with it, as part of a sentence; empty: it can."""
        if self.version is None:
            return ""
        if LearnedFrom(settings=self.training, lines=dict(self.learned_from)).is_like(candidate):
            return f"nothing is new since {self.name}"
        if len(self.taught_by(lines)) < LEAST_LINES:
            gone = f"too few of the images that {self.name} was learned from are there to compare with it"
            return f"{gone} (remove {self.folder} to begin anew)"
        return ""

    def remarks(self, lines: Sequence[RegisteredLine]) -> tuple[str, ...]:
        """That images are missing which it was learned from."""
        here = {content for line in lines for content in line.contents.values()}
        gone = {content for contents in self.learned_from.values() for content in contents} - here
        said = f"{len(gone)} of the images that {self.name} was learned from are gone or left out: both do without."
        return (said,) if gone else ()


def _rolled_back_twin(shelf: PlantMetaModels, candidate: LearnedFrom) -> str:
    """Why what would be learned is barred, as part of a sentence; empty: it is not."""
    twin = next((version for version in shelf.rolled_back() if shelf.learned_from(version).is_like(candidate)), None)
    return (
        "" if twin is None else f"nothing is new since {twin}, which was rolled back: only a person makes it live again"
    )


def _contents(line: RegisteredLine) -> tuple[str, ...]:
    return tuple(sorted(line.contents.values()))


def _finished(candidate: Teaching, settings: Settings) -> MetaModel:
    """The candidate that all lines teach, with what its heads need to be exported."""
    taught = candidate.without()
    finished = candidate.finished(taught)
    prepare_export(finished, settings)
    return finished_model(finished, taught.calibration, taught.reports)


def _compared(
    candidate: Teaching,
    present: Teaching,
    present_name: str,
    judging: Sequence[RegisteredLine],
    request: MetaTrainPlantRequest,
    on_progress: OnProgress,
) -> MetaModelComparison:
    """Both on every line with images enough, taught by the lines of the other parts."""
    folds = folds_of(judging, request.folds)
    compared: list[ComparedLine] = []
    for done, fold in enumerate(folds):
        on_progress(Progress(stage="judge held-out lines", done=done, total=len(folds)))
        names = [line.line.name for line in fold]
        new, old = candidate.without(names), present.without(names)
        compared += [
            ComparedLine(
                name=line.line.name,
                candidate=candidate.judge(new, line, request),
                present=present.judge(old, line, request),
            )
            for line in fold
        ]
    on_progress(Progress(stage="judge held-out lines", done=len(folds), total=len(folds)))
    return MetaModelComparison(present=present_name, lines=tuple(sorted(compared, key=lambda line: line.name)))
