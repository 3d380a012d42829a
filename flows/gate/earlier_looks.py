"""What a gate saw when it held a version counts when it looks at it again.

    <home>/gate/<line>/<version>.json    what both versions said of each image, at all looks at it

A version that is held must not go through at the next look as other images are drawn: one look in which luck helps is
enough then (`benchmarks/gate_looks.md`). So each look judges the images of all looks together, those that are gone,
too. As images add up their shares come nearer to the truth: what flags too much stays held however often one looks, and
what was held by bad luck goes through.

Versions never change, so that what they said of an image stays true. What people say of it does not: a word counts as
it is now, and a label of the line's folder as long as the file lies where it lay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, ValidationError

from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from flows.calibrate.new_images import Kind
from flows.gate.evidence import EvidenceImage
from flows.gate.paired_scores import Pair, Pairs, Said
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.storage import make_folder_of, replace_file, storage_errors

_KIND = "gate"


@dataclass(frozen=True, kw_only=True)
class EarlierLooks:
    """How often a gate held a version beside the same live one, and what both said of each image that it saw."""

    count: int = 0
    pairs: tuple[Pair, ...] = ()

    def to_score(self, images: Sequence[EvidenceImage]) -> list[EvidenceImage]:
        """Those that are to be scored now: all but those that are gone, and were seen."""
        seen = {pair.image.sha256 for pair in self.pairs}
        return [image for image in images if image.sha256 not in seen or _is_there(image.path)]


class _SeenImage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str  # percent-encoded, as `path`: a name need not be text
    path: str
    sha256: str
    kind: Kind
    filed: bool
    produced: bool
    candidate: Said
    live: Said | None

    @classmethod
    def of(cls, pair: Pair) -> Self:
        image = pair.image
        return cls(
            name=quote(os.fsencode(image.name)),
            path=quote(os.fsencode(image.path)),
            sha256=image.sha256,
            kind=image.kind,
            filed=image.filed,
            produced=image.produced,
            candidate=pair.candidate,
            live=pair.live,
        )

    def pair(self) -> Pair:
        name, path = (os.fsdecode(unquote_to_bytes(text)) for text in (self.name, self.path))
        image = EvidenceImage(
            name=name,
            path=Path(path),
            sha256=self.sha256,
            kind=self.kind,
            produced=self.produced,
            filed=self.filed,
        )
        return Pair(image=image, candidate=self.candidate, live=self.live)


class _LooksFile(BaseModel):
    """`candidate`, `live`: ids of both bundles; what was seen beside another live version says nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: str
    live: str | None
    count: int
    images: tuple[_SeenImage, ...]


def read_looks(settings: Settings, line: str, candidate: Deployment, live: Deployment | None) -> EarlierLooks:
    """The looks at a version beside the same live one; none where the file is not there or damaged.

    Raises:
        StorageError: it cannot be read.
    """
    path = _path(settings, line, candidate)
    with storage_errors(path):
        encoded = path.read_bytes() if path.exists() else None
    try:
        noted = None if encoded is None else _LooksFile.model_validate_json(encoded)
    except ValidationError:
        noted = None
    if noted is None or (noted.candidate, noted.live) != _ids(candidate, live):
        return EarlierLooks()
    return EarlierLooks(count=noted.count, pairs=tuple(image.pair() for image in noted.images))


def note_look(
    settings: Settings, line: str, candidate: Deployment, live: Deployment | None, looks: EarlierLooks
) -> None:
    """Remember the looks at a version that is held, and forget those at versions that are there no more.

    Raises:
        StorageError: the home cannot be written; what was noted stays.
    """
    path, ids = _path(settings, line, candidate), _ids(candidate, live)
    images = tuple(_SeenImage.of(pair) for pair in looks.pairs)
    make_folder_of(path)
    noted = _LooksFile(candidate=ids[0], live=ids[1], count=looks.count, images=images)
    replace_file(path, f"{noted.model_dump_json()}\n".encode())
    with suppress(ConfigError), storage_errors(path.parent):
        there = {record.version for record in Registry(settings.home).versions(line)}
        for other in path.parent.glob("*.json"):
            if other.stem not in there:
                other.unlink(missing_ok=True)


def with_earlier(scored: Pairs, looks: EarlierLooks, labelled: Mapping[str, EvidenceImage]) -> Pairs:
    """The images of this look and of those before, each content once.

    Args:
        scored: what both versions say of this look's images.
        looks: those before.
        labelled: by content, every image of which people, or the line's folder, say by now what it shows.
    """
    found = {pair.image.sha256: pair for pair in scored.pairs}
    for seen in looks.pairs:
        sha256 = seen.image.sha256
        now = found.get(sha256)
        image = _known_now(seen.image, None if now is None else now.image, labelled.get(sha256))
        if image.kind is not Kind.UNLABELLED or image.produced:
            found[sha256] = replace(now or seen, image=image)
    return replace(scored, pairs=tuple(found.values()))


def _known_now(seen: EvidenceImage, now: EvidenceImage | None, label: EvidenceImage | None) -> EvidenceImage:
    """An image of an earlier look as what is known of it by now; `now`: as it is seen at this look, if it is."""
    image = replace(
        now or seen,
        produced=seen.produced or (now is not None and now.produced),
        gone=now is None and not _is_there(seen.path),
    )
    if label is not None:
        return replace(image, kind=label.kind, contested=label.contested, filed=label.filed)
    # a folder that this look is not asked to read, or that is not mounted, takes no label back; whoever moved the file
    # out of it does
    if seen.filed and (_is_there(seen.path) or not _is_there(seen.path.parent)):
        return replace(image, kind=seen.kind, contested=seen.contested, filed=True)
    return replace(image, kind=Kind.UNLABELLED, contested=False, filed=False)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a folder that may not be entered, a share that does not answer
        return False


def _ids(candidate: Deployment, live: Deployment | None) -> tuple[str, str | None]:
    return candidate.bundle.id, None if live is None else live.bundle.id


def _path(settings: Settings, line: str, candidate: Deployment) -> Path:
    return settings.line_folder(_KIND, line) / f"{candidate.bundle.manifest.version}.json"
