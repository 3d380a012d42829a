"""The page of a question: which one it is, and all that a person sees of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from deploy.bundles.contested_images import contested_images
from deploy.bundles.manifest import BANK_SOURCES
from deploy.results.region_rows import read_regions
from deploy.results.schema import QuestionKind, ResultRow, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.verdict_queries import verdicts_of
from deploy.review.pictures import Picture, PictureShelf, heat_map
from deploy.review.questions import Asked, Question, latest_result, next_question, open_questions
from deploy.review.words import kinds_of
from pipeline.calibration import Decision
from pipeline.regions import Region

WHY = {
    QuestionKind.FLAGGED: "Flagged: the highest score without a word",
    QuestionKind.BORDERLINE: "Borderline: the score nearest to the reject threshold",
    QuestionKind.UNLIKE: "Unlike the line",
    QuestionKind.CONTESTED: "Contested: a version that is held flags it, the live one does not",
    QuestionKind.RANDOM: "At random: such answers tell the rates",
    None: "You chose this one",
}
_MOST_LOOKED_AT = 25
"""Images that are tried for one page: where files have gone, many cannot be shown."""
_MOST_MISSING = 5_000
_MISSING_SECONDS = 600.0


class Asking(NamedTuple):
    """Who looks at a line, what they left for later, and the kind of question they are asked now."""

    line: str
    by: str
    aside: tuple[int, ...] = ()
    after: QuestionKind | None = None


@dataclass(frozen=True)
class Shown:
    """A question as it is shown.

    Args:
        question: what is asked.
        picture: of the image.
        has_heat_map: whether there is one.
        has_patches: whether it was flagged by a bundle that says what its strongest cell was compared with.
        regions: that the bundle marked.
        earlier: the word that counts by now; None: there is none, or it must not lead the answer to a question.
    """

    question: Question
    picture: Picture
    has_heat_map: bool
    has_patches: bool
    regions: tuple[Region, ...]
    earlier: VerdictRow | None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of the upright image."""
        result = self.question.result
        if result.image_height is None or result.image_width is None:
            return self.picture.size
        return result.image_height, result.image_width


class Questions:
    """Puts questions on lines.

    Args:
        store: the results and verdicts.
        shelf: makes the pictures.
        home: where the lines' folders tell of contested images.
    """

    def __init__(self, store: ResultStore, shelf: PictureShelf, home: Path) -> None:
        self._store, self._shelf, self._home = store, shelf, home
        self._missing: dict[str, dict[int, float]] = {}

    def next(self, asking: Asking) -> tuple[Shown | None, int]:
        """The next question whose image can be shown, and how many of the line were passed over as theirs cannot.

        Where one of a kind cannot, one of the next kind is tried: a kind whose images have gone keeps nobody.
        """
        missing, after = self._missing_of(asking.line), asking.after
        for _ in range(_MOST_LOOKED_AT):
            with self._store.session() as session:
                asked = self._asked(session, asking._replace(aside=(*asking.aside, *missing), after=after))
                question = None if asked is None else next_question(session, asked)
            if question is None:
                break
            shown = self.show(question)
            if shown.picture.jpeg is not None or shown.has_heat_map:
                return shown, len(missing)
            missing[question.result.id] = time.monotonic()
            self._missing[asking.line] = dict(missing)  # another thread may read the last one
            after = question.kind
        return None, len(missing)

    def show(self, question: Question) -> Shown:
        """A question with its pictures."""
        result = question.result
        with self._store.session() as session:
            regions = read_regions(session.connection(), result.bundle_id, result.image_sha256 or "")
            earlier = None
            if question.kind is None:
                latest = verdicts_of(result.line, image_sha256=result.image_sha256, overruled=False, withdrawn=False)
                earlier = session.scalars(latest).first()
        manifest = self._shelf.manifest(result)
        names_sources = manifest is not None and BANK_SOURCES in manifest.files
        return Shown(
            question=question,
            picture=self._shelf.picture(result),
            has_heat_map=heat_map(result) is not None,
            has_patches=names_sources and result.decision is not Decision.PASS,
            regions=regions,
            earlier=earlier,
        )

    def about(self, asking: Asking) -> dict[str, Any]:
        """What the page tells beside the question: open ones, and the kinds of defects that were named."""
        with self._store.session() as session:
            asked = self._asked(session, asking)
            return {
                "open": 0 if asked is None else open_questions(session, asked),
                "kinds": kinds_of(session, asking.line),
            }

    def _asked(self, session: Session, asking: Asking) -> Asked | None:
        """Whom to ask about which bundle's results; None: there is none."""
        latest: ResultRow | None = latest_result(session, asking.line)
        if latest is None:
            return None
        return Asked(
            line=asking.line,
            bundle_id=latest.bundle_id,
            reject_threshold=latest.reject_threshold,
            by=asking.by,
            aside=asking.aside,
            after=asking.after,
            contested=contested_images(self._home, asking.line),
        )

    def _missing_of(self, line: str) -> dict[int, float]:
        """Results of the line whose images could not be shown lately, each with the time of that: they may come back,
        as from a share that is not there.
        """
        limit = time.monotonic() - _MISSING_SECONDS
        newest = list(self._missing.get(line, {}).items())[-_MOST_MISSING:]
        return {result: at for result, at in newest if at > limit}
