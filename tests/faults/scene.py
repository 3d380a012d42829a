"""A plant for one fault: a home with an adapted line, its images, and what must hold in it at any moment."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2

from deploy.bundles.registry import Registry
from deploy.results.schema import ResultRow, ResultStatus
from deploy.results.store import ResultStore
from pipeline.settings import Settings, load_settings
from pipeline.storage import PARTIAL_SUFFIX, sha256_file
from pipeline.synthetic.lines import write_line, write_lines
from tests.faults import activities
from tests.faults.children import Child

Kept = dict[str | None, tuple[object, ...]]
"""Result rows by content: their id, score, decision and time."""


@dataclass
class Scene:
    """A home of its own below `root`.

    Args:
        root: of everything that one fault leaves.
        line: the line's images, in the MVTec AD layout, which faults leave as they are.
        images: those to score.
        scores: of each content of `images`, by an undisturbed run.
    """

    root: Path
    line: Path
    images: Path
    scores: dict[str, float]

    @property
    def settings(self) -> Settings:
        """Of the home."""
        return load_settings(self.root / "home")

    @property
    def registry(self) -> Registry:
        """Of the home."""
        return Registry(self.root / "home")

    @property
    def said(self) -> Path:
        """What children say goes here."""
        return self.root / "said"

    def child(self, work: object, *arguments: object) -> Child:
        """Begin an activity in this home."""
        assert callable(work)
        return Child(work, self.settings, *arguments, said=self.said)

    def rows(self, url: str | None = None) -> list[ResultRow]:
        """All result rows, none of them twice, each scored one with the score that its content has."""
        with ResultStore(url or self.settings.database) as store:
            rows = store.query(limit=None)
        hashes = [row.image_sha256 for row in rows if row.image_sha256 is not None]
        assert len(hashes) == len(set(hashes)), "a content has two rows"
        for row in rows:
            if row.status is ResultStatus.SCORED:
                assert row.image_sha256 in self.scores, f"{row.image_path} was scored as no camera wrote it"
                difference = abs((row.score or 0.0) - self.scores[row.image_sha256])
                assert difference < 1e-4, f"{row.image_path} has a score that is {difference:g} off"
                if row.overlay_path is not None:
                    assert cv2.imread(row.overlay_path) is not None, f"the picture {row.overlay_path} is not whole"
        return rows

    def kept(self, url: str | None = None) -> Kept:
        """See `Kept`."""
        return {row.image_sha256: (row.id, row.score, row.decision, row.scored_at) for row in self.rows(url)}

    def all_scored(self, url: str | None = None) -> None:
        """Every image of the line has its row."""
        scored = {row.image_sha256 for row in self.rows(url) if row.status is ResultStatus.SCORED}
        assert scored == set(self.scores), f"{len(scored)} of {len(self.scores)} images have a score"

    def reports_are_whole(self) -> None:
        """No report or file of rows is there that is not whole."""
        for path in (self.root / "home").rglob("report.html"):
            assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), f"{path} is not whole"
        for path in (self.root / "home").rglob("results.json"):
            json.loads(path.read_text(encoding="utf-8"))

    def versions_are_whole(self) -> list[str]:
        """Every listed version opens, every byte checked, and so does what is live; their names, oldest first."""
        if activities.LINE not in self.registry.lines():
            return []
        names = [record.version for record in self.registry.versions(activities.LINE)]
        for name in names:
            self.registry.deployment(activities.LINE, name)
        if self.registry.live_version(activities.LINE) is not None:
            self.registry.deployment(activities.LINE)
        return names

    def no_litter(self, folder: Path) -> None:
        """Nothing half-written lies about."""
        litter = [path.name for path in folder.rglob(f".*{PARTIAL_SUFFIX}")]
        assert not litter, f"half-written files stay: {litter}"


class Stage:
    """Makes scenes: a line generated and adapted once, then copied.

    Args:
        root: a new folder.
        images: how many images there are to score.
    """

    def __init__(self, root: Path, images: int = 24) -> None:
        self._root = root
        self._made = 0
        line = write_line(root / "lines", 7, good=3, test_good=images // 2, defects=images - images // 2, size=128)
        first = Scene(root / "first", line, line / "test", {})
        first.child(activities.adapt, line).result()
        first.child(activities.score, line / "test").result()
        with closing(sqlite3.connect(first.settings.home / "results.sqlite")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            pairs = connection.execute("SELECT image_sha256, score FROM results").fetchall()
        self._scores: dict[str, float] = dict(pairs)
        assert set(self._scores) == {sha256_file(path) for path in (line / "test").rglob("*.png")}
        (first.root / "home" / "results.sqlite").unlink()
        for name in ("reports", "overlays"):
            shutil.rmtree(first.root / "home" / name, ignore_errors=True)
        self._first = first

    @cached_property
    def meta_lines(self) -> Path:
        """Lines to meta-train on. Scenes made after it was asked for know their features and traced heads: a first
        meta-training takes several times as long as the others.
        """
        lines = self._root / "meta-lines"
        write_lines(lines, (11, 12), good=4, test_good=4, defects=6, size=64)
        self._first.child(activities.meta_train, lines, self._root / "first-run", False).result()
        return lines

    def scene(self) -> Scene:
        """A home as it is after adaptation: nothing scored, one version, live."""
        self._made += 1
        root = self._root / f"scene-{self._made}"
        shutil.copytree(self._first.root / "home", root / "home")
        return Scene(root, self._first.line, self._first.images, dict(self._scores))
