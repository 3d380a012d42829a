"""Files among images that no image is read from: nothing is left out in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from pipeline.imaging.files import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES
from pipeline.unicode_names import one_line

JPEG_ALIASES = frozenset({".jfif", ".jpe", ".jif", ".jfi"})
"""Suffixes of what is a JPEG under another name."""

PICTURE_SUFFIXES = JPEG_ALIASES | {
    *(".webp", ".heic", ".heif", ".hif", ".avif", ".avifs", ".jxl", ".jp2", ".j2k", ".jpf", ".jpx", ".jpc", ".jxr"),
    *(".gif", ".apng", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".dib", ".tga", ".pcx", ".sgi", ".ras"),
    *(".raw", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".bay"),
    *(".exr", ".hdr", ".dcm", ".fits"),
}  # fmt: skip
"""Suffixes of pictures that are not read, in lower case: each may be a part that gets no decision."""

BROKEN_LINK = "broken link"
"""Stands for the suffix of a link that leads nowhere and has no image's."""

_NOTES = frozenset(
    {
        *(".txt", ".md", ".rst", ".rtf", ".pdf", ".doc", ".docx", ".odt", ".htm", ".html", ".ppt", ".pptx"),
        *(".csv", ".tsv", ".xls", ".xlsx", ".ods", ".parquet", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml"),
        *(".ini", ".cfg", ".conf", ".log", ".db", ".sqlite", ".sqlite3", ".sha256", ".md5", ".lock", ".pid"),
        *(".py", ".ipynb", ".sh", ".bat", ".cmd", ".ps1"),
    }
)  # fmt: skip
_NOTICES = frozenset({"license", "licence", "readme", "notice", "copying", "authors", "changelog"})
_KINDS = 6  # suffixes that a sentence names before it only counts


def is_note(name: str) -> bool:
    """Whether nobody takes a file of that name for an image: a text, a table, a program, a licence."""
    path = Path(name)
    return path.suffix.lower() in _NOTES or path.stem.lower() in _NOTICES


class NotRead:
    """Counts what a walk through a folder meets and does not read.

    Args:
        folder: that is walked through; the sentence names files below it.
        masks: folders below it where notes count too: labels may be in them.
    """

    def __init__(self, folder: Path, masks: Collection[Path] = ()) -> None:
        self._folder = folder
        self._masks = masks
        self._by_suffix: Counter[str] = Counter()
        self._example: Path | None = None

    def see(self, path: Path) -> None:
        """Take in a file that is no image by its name."""
        if is_note(path.name) and not any(path.is_relative_to(folder) for folder in self._masks):
            return
        suffix = BROKEN_LINK if path.is_symlink() and not path.exists() else path.suffix.lower()
        self._by_suffix[suffix] += 1
        if self._example is None or path < self._example:
            self._example = path

    @property
    def count(self) -> int:
        """How many there are."""
        return self._by_suffix.total()

    @property
    def pictures(self) -> int:
        """How many are pictures by their suffix, or links that, for all one knows, led to a folder of pictures."""
        return sum(count for suffix, count in self._by_suffix.items() if suffix in PICTURE_SUFFIXES | {BROKEN_LINK})

    @property
    def found(self) -> str:
        """How many files of which suffixes, and one of them; empty: none."""
        if self._example is None:
            return ""
        most_first = sorted(self._by_suffix.items(), key=lambda kind: (-kind[1], not kind[0], kind[0]))
        kinds = [f"{count} {one_line(suffix) or 'without a suffix'}" for suffix, count in most_first]
        more = f" and {len(kinds) - _KINDS} more kinds" if len(kinds) > _KINDS else ""
        name = one_line(self._example.relative_to(self._folder).as_posix())
        files = f"{self.count} file{'' if self.count == 1 else 's'} left out, not read as images"
        return f"{files} ({', '.join(kinds[:_KINDS])}{more}), such as {name}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to say of them: one sentence, or none."""
        return (f"{self.found}: {remedy(self._by_suffix)}.",) if self.found else ()


def remedy(suffixes: Collection[str]) -> str:
    """What to do about files of these suffixes that should be read."""
    aliases = sorted(JPEG_ALIASES & set(suffixes))
    rename = f"{' and '.join(aliases)} is JPEG, so rename it to .jpg; " if aliases else ""
    archives = sorted(ARCHIVE_SUFFIXES & set(suffixes))
    unpack = f"unpack {' and '.join(archives)} where they hold images; " if archives else ""
    mend = "mend or remove what leads nowhere; " if BROKEN_LINK in suffixes else ""
    return f"{mend}{unpack}{rename}what is read is {', '.join(sorted(IMAGE_SUFFIXES))}"
