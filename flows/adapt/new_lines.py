"""New lines: folders with the first images of a line that no bundle is registered for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.bundles.registry import Registry
from flows.adapt import job
from flows.adapt.job import AdaptResult
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.progress import OnProgress, ignore_progress
from pipeline.errors import LineError, LinewiseError
from pipeline.settings import Settings
from pipeline.storage import plain_storage_error
from pipeline.system_files import is_passed_over
from pipeline.unicode_names import composed


@dataclass(frozen=True, kw_only=True)
class NewLine:
    """A line that was tried; `problem` says in a sentence why it has no bundle that may be used, None: it has one."""

    name: str
    problem: str | None


@dataclass(frozen=True, kw_only=True)
class NewLinesResult:
    """What became of each new line of a folder."""

    incoming: Path
    lines: tuple[NewLine, ...]


def run(request: AdaptNewLinesRequest, settings: Settings, on_progress: OnProgress = ignore_progress) -> NewLinesResult:
    """Adapt to every new line; one that fails does not stop the others.

    Raises:
        LineError: no such folder.
    """
    incoming = incoming_folder(request, settings)
    lines = [
        NewLine(name=name, problem=_adapt(request, incoming / name, settings, on_progress))
        for name in new_lines(incoming, settings)
    ]
    return NewLinesResult(incoming=incoming, lines=tuple(lines))


def request_for(request: AdaptNewLinesRequest, images: Path) -> AdaptRequest:
    """The adaptation to one new line, through the gate, with all that is asked of every one.

    Args:
        request: of all new lines.
        images: the line's folder, under its name.

    Raises:
        ConfigError: no line can have that name.
    """
    return AdaptRequest.asked(line=images.name, images=images, gate=True, **request.model_dump(exclude={"incoming"}))


def incoming_folder(request: AdaptNewLinesRequest, settings: Settings) -> Path:
    """The folder asked for, else the home's."""
    return request.incoming or settings.home / "incoming"


def new_lines(incoming: Path, settings: Settings) -> list[str]:
    """Names of the folders in `incoming` that no registered line is called by, sorted.

    Raises:
        LineError: no such folder.
    """
    if not incoming.is_dir():
        raise LineError("a folder of new lines", f"no folder {incoming}", "make it, or name another")
    known = {composed(line) for line in Registry(settings.home).lines()}
    names = sorted(path.name for path in incoming.iterdir() if path.is_dir() and not is_passed_over(path.name))
    return [name for name in names if composed(name) not in known]


def _adapt(request: AdaptNewLinesRequest, images: Path, settings: Settings, on_progress: OnProgress) -> str | None:
    """Why the line in a folder could not be adapted to, or is held; None: it is live."""
    try:
        result = job.run(request_for(request, images), settings, on_progress)
    except (LinewiseError, OSError) as error:
        sentence = error if isinstance(error, LinewiseError) else plain_storage_error(error)
        if sentence is None:
            raise
        return str(sentence)
    return problem_of(result)


def problem_of(result: AdaptResult) -> str | None:
    """Why a line that was adapted to is not live, where the gate holds it."""
    return result.gate.sentence if result.gate is not None and result.gate.reasons else None
