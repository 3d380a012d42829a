"""What earlier runs decided on the files of a watched folder: a line is told of each part once, however often the watch
is begun, and whichever version is live by then.

A file that cannot be read is told once, too, where its bytes are: equal bytes, not written since another version told
of them. Both are asked for: cameras use names again, and a time may be wrong, while broken files of two parts may be
equal, as those that are cut off behind the header or hold zeros alone. What remains: a file whose bytes nobody gets
(refused by its permissions, larger than is read, on a share that is away) is told by each version that meets it, as
nothing shows that it is still the same one; so is one whose share's clock is ahead of ours, or that was touched since.
And where that clock is behind, a file that was written after the first was told, with its very bytes, is taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.results.store import ResultStore
from deploy.scoring.sources.taken import Taking

TOLD_BEFORE = (
    "images that lay in the watched folder already had a decision of another version, and are not scored anew: `score` "
    "without --watch does that."
)

TOLD_UNREADABLE = (
    "files that lay in the watched folder could not be read by another version either, which told of them: they are "
    "not told again."
)


@dataclass(frozen=True, kw_only=True)
class EarlierDecisions:
    """Of a line, where a run looks for them.

    Args:
        store: None: nowhere.
        line: its name.
        of_parts: images are views of parts. A part takes views of one version: those are scored anew.
    """

    store: ResultStore | None
    line: str
    of_parts: bool

    def on_content(self, taking: Taking | None, sha256: str) -> bool:
        """Whether this content was there when the watch began, and any version of the line had given it a score."""
        if self.store is None or self.of_parts or taking is None or taking.on_lost is None:
            return False
        return self.store.was_content_scored(self.line, sha256)

    def on_unreadable(self, taking: Taking | None, sha256: str, bundle_id: str) -> bool:
        """Whether this content, that cannot be read, was there when the watch began, and a version of the line other
        than the bundle's had told of it since it was written.
        """
        if self.store is None or self.of_parts or taking is None or taking.on_lost is None or taking.since is None:
            return False
        return self.store.was_told_unreadable(self.line, sha256, taking.since, but_by=bundle_id)

    def on_what_is_gone(self, taking: Taking | None, path: Path) -> bool:
        """Whether what was taken, of which nobody knows the content now, got a score since it was written; counts it.

        Once the messages of a run that was killed are sent, a controller uses the name again or clears the file away.
        """
        if self.store is None or taking is None or taking.on_lost is None or taking.since is None:
            return False
        if found := self.store.was_scored(self.line, path, taking.since):
            taking.on_lost()
        return found


def is_gone(path: Path) -> bool:
    """Whether there is nothing under a path. A share that is away has not lost its files."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
