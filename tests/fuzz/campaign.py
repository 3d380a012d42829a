"""Inputs run in processes with limits, so that a crash, a hang or too much memory is a finding and not an end."""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from pipeline.errors import LinewiseError
from tests.fuzz.surface import Input, PassedInSilenceError, Surface

MEGABYTES = 512
"""That one input may take, beside what the process holds before the first one."""
MAX_PIXELS = 1_000_000
"""LINEWISE_MAX_PIXELS meanwhile: a decoder's 6 MB, with its copies, stay far below that limit."""
CPU_SECONDS, WALL_SECONDS = 10, 120
KINDS = ("crash", "hang", "memory", "error", "silence")
"""Of findings. Every other outcome is one that should be."""
_BATCH = 25  # small, so that a stop comes soon and every surface had its turn by then
_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(frozen=True)
class Finding:
    """What should not have happened to an input; `kind` is one of `KINDS`."""

    surface: str
    number: int
    kind: str
    what: str


@dataclass
class Tally:
    """What became of a surface's inputs, and the seconds that they took together."""

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def input_of(surface: Surface, seed: int, number: int) -> Input:
    """The input of that number: equal on every machine."""
    return surface.make(Random(f"{seed}:{surface.name}:{number}"))


def judged(surface: Surface, made: Input) -> tuple[str, str]:
    """What became of an input, here and now: ("read", ""), ("refused", the sentence), or a finding's kind and text."""
    folder = Path(tempfile.mkdtemp(prefix="linewise-fuzz-"))
    try:
        made.write(folder)
        return surface.look(made, folder), ""
    except LinewiseError as error:
        sentence = str(error)
        if "\n" in sentence or len(sentence) > 20_000:
            return "error", f"a refusal of {len(sentence)} characters, or of more than a line: {sentence[:200]!r}"
        return "refused", sentence
    except PassedInSilenceError as error:
        return "silence", str(error)
    except MemoryError as error:
        return "memory", f"more than {MEGABYTES} MB ({error})"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "error", f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name}:{where.lineno})"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_campaign(
    surfaces: Mapping[str, Surface], seed: int, inputs: int, workers: int, table: str = "tests.fuzz.surfaces"
) -> Iterator[Finding | tuple]:
    """Run the inputs of all surfaces; yields findings as they come, and (surface's name, tally of a batch).

    Args:
        surfaces: a part of those of `table`, by name.
        seed: of all inputs.
        inputs: how many, of all surfaces together.
        workers: processes beside this one.
        table: the module whose SURFACES these are; each process imports it anew.
    """
    shares = sum(surface.share for surface in surfaces.values())
    counts = {name: math.ceil(inputs * surface.share / shares) for name, surface in surfaces.items()}
    batches = [
        (name, first, min(_BATCH, count - first)) for name, count in counts.items() for first in range(0, count, _BATCH)
    ]
    batches.sort(key=lambda batch: batch[1] / counts[batch[0]])  # all surfaces advance together: a stop leaves a sample
    crew = [_Worker(surfaces, seed, table) for _ in range(workers)]
    try:
        while batches or any(worker.busy for worker in crew):
            for worker in crew:
                if not worker.busy and batches:
                    worker.begin(*batches.pop(0))
            wait([worker.pipe for worker in crew if worker.busy] + [w.process.sentinel for w in crew], timeout=1)
            for worker in crew:
                yield from worker.news()
    finally:
        for worker in crew:
            worker.end()


class _Worker:
    """A process that runs inputs, and is made anew when one of them ends it."""

    def __init__(self, surfaces: Mapping[str, Surface], seed: int, table: str) -> None:
        self._surfaces, self._seed, self._table = surfaces, seed, table
        self.busy: tuple[str, int, int] | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._scratch = tempfile.mkdtemp(prefix="linewise-fuzz-", dir=_SCRATCH)
        self._at = context.Value("l", -1)
        self.process = context.Process(
            target=_work, args=(list(self._surfaces), self._seed, self._table, self._scratch, theirs, self._at)
        )
        self.process.start()
        theirs.close()
        self._since, self._seen = time.monotonic(), -1

    def begin(self, name: str, first: int, count: int) -> None:
        self.busy = (name, first, count)
        self._at.value = first
        self._since, self._seen = time.monotonic(), first
        self.pipe.send(self.busy)

    def news(self) -> Iterator[Finding | tuple]:
        if self.busy is None:
            return
        with suppress(EOFError, ConnectionResetError):
            while self.pipe.poll():
                said = self.pipe.recv()
                yield said
                if isinstance(said, tuple):
                    self.busy = None
                    return
        if self._at.value != self._seen:
            self._since, self._seen = time.monotonic(), self._at.value
        hangs = time.monotonic() - self._since > WALL_SECONDS
        if hangs:
            self.process.kill()
            self.process.join()
        if not self.process.is_alive():
            self.process.join()
            name, first, count = self.busy
            at, code = self._at.value, self.process.exitcode or 0
            if hangs or code == -signal.SIGPROF:
                yield Finding(name, at, "hang", f"more than {CPU_SECONDS} s of CPU, or {WALL_SECONDS} s in all")
            else:
                yield Finding(name, at, "crash", f"the process ended with {code}")
            self.end()
            self._start()
            self.begin(name, at + 1, first + count - at - 1)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _work(names: list[str], seed: int, table: str, scratch: str, pipe: Connection, at: object) -> None:
    tempfile.tempdir = scratch  # all of it goes with the process, however that ends
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # what libtiff, libpng and onnxruntime have to say of each input
    surfaces = {name: importlib.import_module(table).SURFACES[name] for name in names}
    for name in names:
        judged(surfaces[name], input_of(surfaces[name], seed, 0))  # loads what it needs
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEGABYTES * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        name, first, count = pipe.recv()
        tally, began = Tally(), time.monotonic()
        for number in range(first, first + count):
            at.value = number  # type: ignore[attr-defined]  # a ctypes value
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            try:
                outcome, what = judged(surfaces[name], input_of(surfaces[name], seed, number))
            except BaseException as error:  # beside the surface: the fuzzer's own fault, or memory that is gone
                outcome, what = "error", f"{type(error).__name__} beside the surface: {error}"
            tally.inputs += 1
            tally.outcomes[outcome] += 1
            if outcome in KINDS:
                pipe.send(Finding(name, number, outcome, what))
        signal.setitimer(signal.ITIMER_PROF, 0)
        tally.seconds = time.monotonic() - began
        pipe.send((name, tally))
