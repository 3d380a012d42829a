"""The images of a plant's registered lines that a meta-model may learn from: those that adaptation may."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from deploy.bundles.manifest import BundleManifest
from deploy.bundles.registry import Registry
from deploy.results.store import ResultStore
from flows.adapt.from_store import KnownLine, know_line, with_verdicts, without_held_back
from flows.adapt.line_images import choose_images
from flows.adapt.request import AdaptRequest
from flows.life.line_folders import line_folders
from flows.progress import OnProgress, Progress
from pipeline.errors import BundleError, ConfigError, ImageError, LineError
from pipeline.imaging.images import read_file
from pipeline.learner import Learner
from pipeline.product_lines.left_out import LeftOut
from pipeline.product_lines.lines import ImageRecord, ProductLine
from pipeline.settings import Settings
from pipeline.unicode_names import composed

LEAST_JUDGED = 5
"""Good images beside a support, and defective ones in all, from which a line is judged by."""
_GONE = "adapted from, and gone or changed"
_UNREADABLE = ""  # stands for the content of a file that has none


@dataclass(frozen=True, kw_only=True)
class RegisteredLine:
    """A line of the registry: its images, their contents by path, and the false-reject rate its live version promises.

    What its versions are compared on is not among them, nor is `test/good/` of the MVTec AD layout, which adaptation
    does not learn from either: a line's gate goes on judging by images that nothing has learned.
    """

    line: ProductLine
    contents: dict[Path, str]
    rate: float

    @property
    def teaches(self) -> bool:
        """Whether episodes can be drawn of it."""
        return len(self.line.train_good) > 1 and bool(self.line.defects)

    def judges(self, good: int) -> bool:
        """Whether it has images enough to judge by, beside a support of `good` good ones."""
        return len(self.line.train_good) >= good + LEAST_JUDGED and len(self.line.defects) >= LEAST_JUDGED

    def only(self, contents: Iterable[str]) -> RegisteredLine:
        """The line with no other images than these contents."""
        known = frozenset(contents)

        def of(records: tuple[ImageRecord, ...]) -> tuple[ImageRecord, ...]:
            return tuple(record for record in records if self.contents[record.path] in known)

        line = replace(self.line, train_good=of(self.line.train_good), defects=of(self.line.defects))
        return replace(self, line=line, contents={p: sha256 for p, sha256 in self.contents.items() if sha256 in known})


@dataclass(frozen=True, kw_only=True)
class RegisteredLines:
    """The lines that teach, and how many images were left out, by reason. `remarks`: which lines were, and why."""

    lines: tuple[RegisteredLine, ...]
    left_out: dict[str, int]
    remarks: tuple[str, ...]


def find_registered_lines(
    folder: Path, learner: Learner, settings: Settings, on_progress: OnProgress
) -> RegisteredLines:
    """Every line that has a live version, with its labelled images and those that people judged.

    Args:
        folder: of the lines' folders; a line without one has its verdicts alone.
        learner: may take fewer defects than there are.
        settings: of the home and its result store.
        on_progress: told which line is looked at, and of a line that is left out.

    Raises:
        LineError: no such folder.
        StorageError: registry, result store or folder cannot be read.
    """
    registry, folders = Registry(settings.home), line_folders(folder)
    names = registry.lines()
    found, remarks, left_out = list[RegisteredLine](), list[str](), Counter[str]()
    for done, name in enumerate(names):
        on_progress(Progress(stage="look at lines", done=done, total=len(names)))
        try:
            manifest = registry.live(name).manifest
            known = _known(name, folders.get(composed(name)), manifest, settings)
            line, counts = _usable(known, manifest, learner)
        except (BundleError, ConfigError, ImageError, LineError) as error:
            remarks.append(f"{name} is left out: {error}")
            continue
        left_out.update(counts)
        if line.teaches:
            found.append(line)
        else:
            good, defects = len(line.line.train_good), len(line.line.defects)
            remarks.append(f"{name} is left out: it has {good} good and {defects} defective images to learn from.")
    for remark in remarks:
        on_progress(Progress(stage="look at lines", done=len(names), total=len(names), remark=remark))
    counted = {reason: count for reason, count in left_out.items() if count}
    return RegisteredLines(lines=tuple(found), left_out=counted, remarks=tuple(remarks))


def _asked(name: str, folder: Path, manifest: BundleManifest) -> AdaptRequest:
    """What adaptation would be asked, so that both learn from the same images."""
    seen = {"bayer": manifest.preprocess.bayer, "white_level": manifest.preprocess.white_level}
    return AdaptRequest.asked(line=name, images=folder, verdicts=True, gate=True, **seen)


def _known(name: str, folder: Path | None, manifest: BundleManifest, settings: Settings) -> KnownLine:
    data_set = name.rpartition("/")[0] or name
    if folder is not None:
        known = know_line(_asked(name, folder, manifest), settings)
        return replace(known, line=replace(known.line, name=name, data_set=data_set, test_good=()))
    with ResultStore(settings.database) as store:
        verdicts = store.verdicts(name)
    empty = ProductLine(name, data_set, Path(), (), (), ())
    masks = settings.line_folder("verdict_masks", name)
    judged = frozenset(row.image_sha256 for row in verdicts)
    return replace(without_held_back(with_verdicts(empty, LeftOut((), {}), verdicts, masks)), judged=judged)


def _usable(known: KnownLine, manifest: BundleManifest, learner: Learner) -> tuple[RegisteredLine, Counter[str]]:
    """The line without what cannot be read, and what is left out."""
    line, support = known.line, manifest.support
    images = [*line.train_good, *line.defects]
    contents = {record.path: read_file(record.path).sha256 or _UNREADABLE for record in images}
    noted = {*support.good, *support.defects}.difference(support.taken_up)
    gone = noted.difference(contents.values(), known.judged)
    left_out = Counter({**known.left_out.counts, _GONE: len(gone)})
    if not line.train_good:
        return RegisteredLine(line=line, contents=contents, rate=0.0), left_out
    chosen = choose_images(_asked(line.name, line.root, manifest), line, LeftOut((), left_out), learner)

    def seen(records: Iterable[ImageRecord]) -> tuple[ImageRecord, ...]:
        bayer = manifest.preprocess.bayer
        return tuple(replace(record, white_level=chosen.white_level, bayer=bayer) for record in records)

    usable = replace(line, train_good=seen(chosen.good), defects=seen(chosen.defects))
    kept = {record.path: contents[record.path] for record in (*usable.train_good, *usable.defects)}
    rate = manifest.threshold.target_false_reject_rate
    return RegisteredLine(line=usable, contents=kept, rate=rate), Counter(chosen.left_out)
