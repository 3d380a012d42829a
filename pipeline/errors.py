"""Every error Linewise raises on purpose, on one page.

    LinewiseError            anything a user can mend; carries expected, got, remedy
    ├── ImageError           one image file cannot be used (reason, path)
    ├── LineError            a folder is not a usable product line
    ├── ConfigError          an unknown name or a value out of range
    ├── DeviceError          the asked execution provider or GPU is not there
    ├── BundleError          a bundle or meta-model is damaged, incomplete or of another version
    ├── ParityError          ONNX and torch disagree by more than the tolerance
    ├── PrecisionError       int8 ranks or decides a line's images otherwise than float32
    ├── StorageError         a folder, file or database cannot be written or read
    └── UnfinishedError      a part of what was asked for could not be done; carries the result, which says so

A message is one sentence of three parts, on one line whatever names hold: what was expected, what came, what to do.
Programming errors are `assert` and the built-in exceptions; they are never turned into one of these.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.unicode_names import one_line

_LONGEST = 2000
"""Characters of a part: what names and values are quoted may be of any length, and a log's line may not."""


def _short(part: str) -> str:
    half = _LONGEST // 2
    return part if len(part) <= _LONGEST else f"{part[:half]} … {part[-half:]}"


class LinewiseError(Exception):
    """A problem the user can mend.

    Args:
        expected: what was needed, without a leading "expected".
        got: what was found instead.
        remedy: what to do about it, as an imperative sentence.
    """

    def __init__(self, expected: str, got: str, remedy: str) -> None:
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(one_line(f"expected {_short(expected)}, got {_short(got)}: {_short(remedy)}"))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.expected, self.got, self.remedy)  # survives process pools and Prefect's serialiser


class ImageError(LinewiseError):
    """One image file cannot be used. `path` is the file, when it came from one."""

    def __init__(self, expected: str, got: str, remedy: str, path: Path | None = None) -> None:
        super().__init__(expected, got, remedy)
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[str, str, str, Path | None]]:  # type: ignore[override]
        return type(self), (self.expected, self.got, self.remedy, self.path)


class LineError(LinewiseError):
    """A folder is not a usable product line."""


class ConfigError(LinewiseError):
    """An unknown name, or a value out of range."""


class DeviceError(LinewiseError):
    """The execution provider or GPU that was asked for is not available; nothing ever falls back silently."""


class BundleError(LinewiseError):
    """A bundle, backbone or meta-model is damaged, incomplete or of another format version."""


class ParityError(LinewiseError):
    """The exported ONNX graph and the torch module disagree by more than the tolerance."""


class PrecisionError(LinewiseError):
    """An int8 backbone ranks or decides a line's own images otherwise than the float32 one it was made from."""


class StorageError(LinewiseError):
    """A folder, file or database cannot be read or written (permissions, full disk, not a database)."""


class UnfinishedError(LinewiseError):
    """A part of what was asked for could not be done, though the rest is. `result` says what became of each part."""

    def __init__(self, expected: str, got: str, remedy: str, result: object = None) -> None:
        super().__init__(expected, got, remedy)
        self.result = result

    def __reduce__(self) -> tuple[type, tuple[str, str, str, object]]:  # type: ignore[override]
        return type(self), (self.expected, self.got, self.remedy, self.result)
