"""The day itself: what people, cameras and schedules do, step by step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prefect.client.schemas.actions import DeploymentUpdate

from benchmarks.plant_day.cameras import Camera, Mailbox, Picture, wait_for
from benchmarks.plant_day.faults import Faults
from benchmarks.plant_day.people import Person
from benchmarks.plant_day.processes import Processes
from benchmarks.plant_day.products import Product
from deploy.bundles.registry import Registry
from deploy.results.drift_rows import drift_alarms
from deploy.results.schema import QuestionKind, ResultRow
from deploy.results.store import ResultStore
from flows.server.gate_artifact import HELD
from flows.server.line_events import LINE_RESOURCE
from pipeline.errors import StorageError

T = TypeVar("T")
INPUT_SIDE = 128
DIMMED = 0.75
"""Share of the light that is left when the day's drift begins."""
STEPS = ("first line", "a new line", "verdicts", "watching", "drift", "a bad version", "roll-back")
_SECONDS = 900.0
_ANSWERS = 20  # of a person, to begin with
_RANDOM_ANSWERS = 50  # where the first ones did not do: from so many on the gate knows how many defects come
_MOST_ANSWERS = 400


@dataclass(kw_only=True)
class Noted:
    """What the day saw that no store tells afterwards.

    `first`, `taught`, `last`: versions of the first line, of the morning, of before the drift, and of after it;
    `answers`: of a person, by the kind of question; `unsure_answers`: others, of which nobody said that they arrived;
    `alarms_before`: alarms while nothing had changed.
    """

    first: str = ""
    taught: str = ""
    last: str = ""
    answers: Counter[str] = field(default_factory=Counter)
    unsure_answers: int = 0
    alarms_before: int = 0
    held: list[str] = field(default_factory=list)


class Day:
    """A day of a plant.

    Args:
        processes: that run.
        products: one for each line; the first is there in the morning, the others appear later.
        cameras: one for each of them.
        mailbox: of the receiver that the scorer tells.
        labelled: folder in which people put a new line's sorted images.
        faults: what is killed when.
        stretch: images of a line that a step waits for.
    """

    def __init__(
        self,
        processes: Processes,
        products: Sequence[Product],
        cameras: Sequence[Camera],
        mailbox: Mailbox,
        labelled: Path,
        faults: Faults,
        *,
        stretch: int,
    ) -> None:
        self.noted = Noted()
        self.settings = processes.settings
        self._processes, self._products, self._cameras = processes, products, cameras
        self.faults = faults
        self._mailbox, self._labelled, self._stretch = mailbox, labelled, stretch
        self.first, self.line = products[0], products[0].line
        self._registry = Registry(processes.home)
        self._tending = {
            "folder": str(labelled),
            "size": INPUT_SIDE,
            "quiet_seconds": 0,
            "new_verdicts": 6,
            "least_production": 30,
        }

    def go(self) -> None:
        """All of its steps.

        Raises:
            TimeoutError, RuntimeError: one of them did not come to its end.
        """
        steps: tuple[Callable[[], None], ...] = (
            self._first_line,
            self._new_lines,
            self._verdicts,
            self._watching,
            self._drift,
            self._bad_version,
            self._roll_back,
        )
        for name, step in zip(STEPS, steps, strict=True):
            with self.faults.during(name):
                step()

    def _first_line(self) -> None:
        """Its images come before it has a bundle; tending adapts to it, and the scorer takes the bundle up."""
        self._set_default("tend-plant", self._tending)
        self._begin(0)
        self._tend()
        self.noted.first = self._live(self.line)
        self._processes.linewise("drift", self.line, "--policy", "re-adapt", "--block", "1")
        self._wait_told(0, self._stretch)

    def _new_lines(self) -> None:
        for number in range(1, len(self._products)):
            self._begin(number)
        self._tend()
        for number in range(1, len(self._products)):
            self._live(self._products[number].line)
            self._wait_told(number, self._stretch)

    def _verdicts(self) -> None:
        """A person answers what the review page asks; tending takes that and production up. Where the gate holds what
        comes of it, they go on until the page asked as much at random as the gate needs to know how many defects come.
        """
        answers = self.noted.answers

        def answer(until: Callable[[Counter[str]], bool]) -> None:
            with Person(self._processes.review_page, "Ada", self._shows_a_defect) as person:
                answers.update(person.answer(self.line, lambda new: until(answers + new)))
                self.noted.unsure_answers += person.unsure

        answer(lambda sofar: sofar.total() >= _ANSWERS)
        self._tend()
        if self._live(self.line) == self.noted.first:
            answer(lambda sofar: sofar[QuestionKind.RANDOM] >= _RANDOM_ANSWERS or sofar.total() >= _MOST_ANSWERS)
            self._tend()
        self.noted.taught = self._live(self.line)

    def _shows_a_defect(self, result: int) -> bool:
        def content(store: ResultStore) -> str | None:
            with store.session() as session:
                row = session.get(ResultRow, result)
            return None if row is None else row.image_sha256

        return self._cameras[0].written[self.stored(content) or ""].defective

    def stored(self, read: Callable[[ResultStore], T]) -> T:
        """What the result store says, once it can be reached."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                with ResultStore(self.settings.database) as store:
                    return read(store)
            except StorageError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def _watching(self) -> None:
        """Nothing changes, and so an alarm is a false one."""
        self._wait_told(0, 2 * self._stretch)
        self._processes.run("watch-drift", {})
        self.noted.alarms_before = self.stored(lambda store: len(drift_alarms(store)))

    def _drift(self) -> None:
        """The light goes; the alarm's event has the line adapted anew."""
        self._cameras[0].gain = DIMMED
        self._wait_told(0, self._stretch)
        before = {run.id for run in self._processes.runs()}
        self._processes.run("watch-drift", {})

        def by_event() -> list[Any]:
            of_line = f"{LINE_RESOURCE}{self.line}"
            return [r for r in self._processes.runs() if r.id not in before and r.parameters.get("line") == of_line]

        wait_for(lambda: bool(by_event()), "a run that the alarm's event asked for", 300)
        if (run := self._processes.ended(by_event()[0].id)).state.is_completed():
            self._note_held(run)
        else:
            self._tend(line=self.line, policy="re-adapt")
        self.noted.last = self._live(self.line)

    def _bad_version(self) -> None:
        """Another line's images are taken for the last one's: the gate holds what comes of it."""
        line = self._products[-1].line
        request = {"line": line, "images": str(self._labelled / self.line), "size": INPUT_SIDE, "gate": True}
        live = self._registry.live_version(line)
        self._note_held(self._processes.run("adapt-line", request))
        if self._registry.live_version(line) != live:
            raise RuntimeError("the gate let another line's images through")

    def _roll_back(self) -> None:
        """A person promotes it all the same, sees what comes of it, and goes back."""
        line = self._products[-1].line
        live, newest = self._registry.live_version(line), self._registry.versions(line)[-1].version
        self._processes.linewise("registry", "promote", line, newest)
        self._wait_told(len(self._products) - 1, 5)
        self._processes.run("roll-back", {"line": line, "why": "rejects good parts", "by": "Ada"})
        if self._registry.live_version(line) != live:
            raise RuntimeError(f"{live} is not live again")

    def finish(self) -> None:
        """No more pictures; the scorer catches up.

        Raises:
            TimeoutError: it does not.
        """
        for camera in self._cameras:
            camera.stop()
        wait_for(lambda: not self._untold(), f"messages of all images, {len(self._untold())} to come", _SECONDS)

    def pictures(self) -> dict[str, Picture]:
        """All that the cameras wrote, by content."""
        return {content: picture for camera in self._cameras for content, picture in camera.written.items()}

    def _untold(self) -> list[str]:
        return [content for content in self.pictures() if not self._mailbox.knows(content)]

    def _begin(self, number: int) -> None:
        self._products[number].write_labelled(self._labelled / self._products[number].line)
        self._cameras[number].start()

    def _tend(self, **parameters: Any) -> None:
        self._note_held(self._processes.run("tend-plant", self._tending, **parameters))

    def _note_held(self, run: Any) -> None:
        if run.state.name == HELD:
            self.noted.held.append(f"{run.name}: {run.state.message}")

    def _live(self, line: str) -> str:
        """The version that is live, which a run of an event may still be making."""
        wait_for(lambda: self._registry.live_version(line) is not None, f"a live version of {line}", _SECONDS)
        return self._registry.live_version(line) or ""

    def _told(self, number: int) -> list[tuple[float, dict[str, Any]]]:
        line = self._products[number].line
        return [one for one in self._mailbox.messages() if one[1]["line"] == line]

    def _wait_told(self, number: int, more: int) -> None:
        """So many results of a line come from now on, by the version that is live now."""
        live = self._live(self._products[number].line)

        def count() -> int:
            return sum(message["bundle_version"] == live for _, message in self._told(number))

        before = count()
        wait_for(lambda: count() >= before + more, f"{more} results of {self._products[number].line}", _SECONDS)

    def _set_default(self, deployment: str, request: dict[str, Any]) -> None:
        """What a run that an event asks for begins with."""

        def update(client: Any) -> None:
            found = client.read_deployment_by_name(f"{deployment}/{deployment}")
            client.update_deployment(found.id, DeploymentUpdate(parameters={"request": request}))

        self._processes.asked(update)
