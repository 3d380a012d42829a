"""What is remembered of tending a line, and the lock that lets one process at a time do it.

    <home>/tending/<line>/note.json    the last adaptation that was begun, and how it ended
    <home>/tending/<line>/lock         held by whoever tends the line; the kernel frees it when its holder dies
    <home>/tending/<line>/asked        who asked for the line meanwhile has its holder look again, and need not wait
    <home>/tending/<line>/asked-drifted   the same, as its production drifted
    <home>/tending/<line>/drifted      that was asked, and the look has not come to an end: a look that fails, or whose
                                       process dies, leaves it to the next

All else is asked of the registry and the result store. Without the note a failed adaptation would be tried again every
ten minutes, though nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from pipeline.errors import StorageError
from pipeline.settings import Settings
from pipeline.storage import file_lock, make_folder_of, replace_file, storage_errors

_KIND, _NOTE, _LOCK = "tending", "note.json", "lock"
_ASKED, _ASKED_AS_DRIFTED, _DRIFTED = "asked", "asked-drifted", "drifted"


class LineNote(BaseModel):
    """An adaptation that was begun.

    Args:
        at: when it began, or ended.
        folder: the state of the line's labelled images then, see `line_folders.state_of`.
        last_verdict: id of the newest verdict then, 0: there was none.
        ended: whether it ended; an unended one was killed.
        tries: how often in a row it did not end.
        problem: why it failed, None: it did not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    folder: str
    last_verdict: int = 0
    ended: bool = False
    tries: int = 1
    problem: str | None = None


def read_note(settings: Settings, line: str) -> LineNote | None:
    """What is remembered of a line; None where nothing is, or the note is damaged: it is worth one adaptation.

    Raises:
        StorageError: it cannot be read.
    """
    path = _folder(settings, line) / _NOTE
    with storage_errors(path):
        if not path.is_file():
            return None
        encoded = path.read_bytes()
    try:
        return LineNote.model_validate_json(encoded)
    except ValidationError:
        return None


def write_note(settings: Settings, line: str, note: LineNote) -> None:
    """Remember it instead of what was.

    Raises:
        StorageError: the home cannot be written.
    """
    path = _folder(settings, line) / _NOTE
    make_folder_of(path)
    replace_file(path, f"{note.model_dump_json(indent=2)}\n".encode())


@contextmanager
def tending(settings: Settings, line: str) -> Iterator[bool]:
    """Hold the line's lock in the body; False: another process holds it, and the body should do nothing.

    Raises:
        StorageError: the lock cannot be opened, so that nobody knows who holds it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(file_lock(_folder(settings, line) / _LOCK, timeout_seconds=0.0))
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            yield False
            return
        yield True


def ask_holder(settings: Settings, line: str, *, drifted: bool) -> None:
    """Have whoever holds the line's lock look at the line again before it is done.

    It may be done already: try the lock once more afterwards. One that dies leaves this to whoever comes next.

    Raises:
        StorageError: the home cannot be written.
    """
    path = _folder(settings, line) / (_ASKED_AS_DRIFTED if drifted else _ASKED)
    make_folder_of(path)
    with storage_errors(path):
        path.touch()


def is_asked_for(settings: Settings, line: str) -> bool:
    """Whether somebody asked the line's holder to look again, and nobody has begun to."""
    return any((_folder(settings, line) / name).exists() for name in (_ASKED, _ASKED_AS_DRIFTED))


def begin_to_look(settings: Settings, line: str, *, drifted: bool = False) -> bool:
    """Take what `ask_holder` asked for, under the lock and before the look: what is asked from now on is another one.

    Args:
        settings: of this process.
        line: its name.
        drifted: whoever looks was told that the line's production drifted; remembered until a look comes to its end.

    Returns:
        Whether somebody was told or asked so, and no look has come to its end since (`end_of_look`).

    Raises:
        StorageError: the home cannot be written.
    """
    folder = _folder(settings, line)
    with storage_errors(folder):
        (folder / _ASKED).unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            (folder / _ASKED_AS_DRIFTED).replace(folder / _DRIFTED)
        if drifted:
            (folder / _DRIFTED).touch()
        return (folder / _DRIFTED).exists()


def end_of_look(settings: Settings, line: str) -> None:
    """Say, under the lock, that a look came to its end: what is due is noted, or nothing is.

    Raises:
        StorageError: the home cannot be written.
    """
    path = _folder(settings, line) / _DRIFTED
    with storage_errors(path):
        path.unlink(missing_ok=True)


def is_first_sight(settings: Settings, line: str) -> bool:
    """Whether nobody met this line before; asked once, it is remembered.

    Raises:
        StorageError: the home cannot be written.
    """
    path = _folder(settings, line) / "seen"
    make_folder_of(path)
    with storage_errors(path):
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def _folder(settings: Settings, line: str) -> Path:
    return settings.line_folder(_KIND, line)
