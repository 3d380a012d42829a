"""Images to workers and back: in order, in bounded memory, none lost by another's failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import pytest

from deploy.scoring import dispatch as module
from deploy.scoring.dispatch import Batched, Dispatch, Fused
from deploy.scoring.image_result import FileStatus
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.worker import ImageScorer, Outcome, ScoringWorker
from pipeline.imaging.images import image_limits
from tests.deploy.scoring_plant import LINE, CountingEngine, Plant
from tests.parts.plant import write_image

BATCH = 4
MAKE = {"fused": lambda: Fused[Lane](2), "batched": lambda: Batched[Lane](2, BATCH)}


@dataclass(frozen=True)
class Lane:
    """A line's worker, and nothing else."""

    worker: ScoringWorker


@pytest.fixture(params=list(MAKE))
def dispatch(request: pytest.FixtureRequest) -> Iterator[Dispatch[Lane]]:
    with closing(MAKE[request.param]()) as made:
        yield made


def lane_on(plant: Plant, engine: ImageScorer) -> Lane:
    worker = ScoringWorker(
        bundle=plant.bundle, engine=engine, head=LINE, known=None, overlays=None, limits=image_limits()
    )
    return Lane(worker)


def items_in(plant: Plant, count: int) -> list[SourceItem]:
    for number in range(count):
        write_image(plant.images / f"{number:03}.png", brightness=10 + number, seed=number)
    return [SourceItem(name=path.name, path=path) for path in sorted(plant.images.iterdir())]


def names(outcomes: Sequence[tuple[Lane, Outcome]]) -> list[str]:
    return [outcome.result.name for _, outcome in outcomes]


def test_outcomes_come_in_the_order_of_their_images(plant: Plant, dispatch: Dispatch[Lane]) -> None:
    items = items_in(plant, 91)
    for number in (0, 7, 8, 90):  # at once, while others wait for their batch
        assert items[number].path is not None
        items[number].path.write_bytes(b"no image")
    lane = lane_on(plant, CountingEngine(plant.engine, lambda count: time.sleep(0.005 * (count % 3))))
    outcomes: list[tuple[Lane, Outcome]] = []
    for item in items:
        dispatch.put(lane, item)
        outcomes.extend(dispatch.take())
    assert outcomes, "most are counted on the way"
    outcomes.extend(dispatch.take(everything=True))
    assert names(outcomes) == [item.name for item in items]
    unreadable = [name for name, (_, each) in zip(names(outcomes), outcomes, strict=True) if each.view is None]
    assert unreadable == ["000.png", "007.png", "008.png", "090.png"]
    assert not dispatch.busy


def test_images_that_fill_no_batch_are_scored_without_waiting_for_more(plant: Plant, dispatch: Dispatch[Lane]) -> None:
    lane = lane_on(plant, plant.engine)
    for item in items_in(plant, BATCH + 1):
        dispatch.put(lane, item)
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while len(seen) < BATCH + 1:
        assert time.monotonic() < deadline, "the last image waits for a batch that never fills"
        seen.extend(names(list(dispatch.take())))
        time.sleep(0.001)


def test_frames_in_memory_are_bounded(plant: Plant, dispatch: Dispatch[Lane], monkeypatch: pytest.MonkeyPatch) -> None:
    frame = np.zeros((100, 100, 3), np.uint8)
    monkeypatch.setattr(module, "MAX_FRAME_BYTES", 3 * frame.nbytes)
    lane = lane_on(plant, CountingEngine(plant.engine, lambda _: time.sleep(0.01)))
    taken = 0
    for number in range(20):
        dispatch.put(lane, SourceItem(name=f"clip#{number}", path=None, frame=frame + np.uint8(number)))
        taken += len(list(dispatch.take()))
        assert number + 1 - taken <= 3
    assert taken + len(list(dispatch.take(everything=True))) == 20


def test_a_failure_is_raised_in_its_place_and_loses_no_other_image(plant: Plant, dispatch: Dispatch[Lane]) -> None:
    class Poisoned(CountingEngine):
        def score_mixed(self, names, images_BHWC, /):
            if images_BHWC[: len(names)].max() > 200:
                raise RuntimeError("the device is gone")
            return plant.engine.score_mixed(names, images_BHWC)

    lane = lane_on(plant, Poisoned(plant.engine))
    items = items_in(plant, 12)
    write_image(plant.images / "005.png", brightness=250)
    for item in items:
        dispatch.put(lane, item)
    seen: list[str] = []
    failed = 0
    while dispatch.busy:
        try:
            for _, outcome in dispatch.take(everything=True):
                seen.append(outcome.result.name)
        except RuntimeError:
            failed += 1
    assert 1 <= failed <= BATCH, "it takes no more than its batch with it"
    assert len(seen) == 12 - failed
    assert seen == sorted(seen)
    assert "005.png" not in seen


def test_what_no_thread_has_begun_can_be_forgotten(plant: Plant, dispatch: Dispatch[Lane]) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def wait(_: int) -> None:
        begun.release()
        assert go_on.wait(60)

    class Slow(ScoringWorker):
        def prepare(self, item: SourceItem):
            wait(0)
            return super().prepare(item)

    made = lane_on(plant, plant.engine).worker
    lane = Lane(Slow(**vars(made)))
    for item in items_in(plant, 9):
        dispatch.put(lane, item)
    for _ in range(2):  # both workers
        assert begun.acquire(timeout=60)
    dispatch.cancel()
    go_on.set()
    outcomes = list(dispatch.take(everything=True))
    assert len(outcomes) == 2, "one image each"
    assert names(outcomes)[0] == "000.png"
    assert [outcome.result.status for _, outcome in outcomes] == [FileStatus.SCORED] * 2


def test_one_batch_mixes_lines(plant: Plant) -> None:
    plant.engine.add_head("other", plant.bundle.head_path)
    counted: list[list[str]] = []
    all_there = threading.Event()

    class Patient(ScoringWorker):
        def prepare(self, item: SourceItem):
            assert all_there.wait(60)
            return super().prepare(item)

    class Watched(CountingEngine):
        def score_mixed(self, names, images_BHWC, /):
            counted.append(list(names))
            assert len(images_BHWC) == BATCH, "short batches are padded"
            return plant.engine.score_mixed(names, images_BHWC)

    made, items = vars(lane_on(plant, Watched(plant.engine)).worker), items_in(plant, 10)
    own, other = Lane(Patient(**made)), Lane(Patient(**{**made, "head": "other"}))
    with closing(Batched[Lane](1, BATCH)) as dispatch:
        for number, item in enumerate(items):
            dispatch.put((own, other)[number % 2], item)
        all_there.set()  # a decoder that is done before more is there would start a batch of one
        outcomes = list(dispatch.take(everything=True))
    assert [lane is own for lane, _ in outcomes] == [True, False] * 5
    assert sorted(counted, key=len) == [[LINE, "other"], [LINE, "other"] * 2, [LINE, "other"] * 2]
