"""Parts whose views come one by one: in any order, late, never, under names used again, and around a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.scoring.part_rule import PartRule, parse_part_rule
from deploy.scoring.sources.watch import WatchedFolder
from tests.checkout import REPOSITORY
from tests.deploy.messages.webhook_server import WebhookServer, wait_until
from tests.deploy.scoring.part_views import BAD, GOOD, RULE, VIEWS, content_seed, rows, told, view
from tests.deploy.scoring.watching import by_rename
from tests.deploy.scoring_plant import Plant
from tests.parts.plant import write_image
from tests.parts.whole_plant import look_all_the_time


@contextmanager
def watched(plant: Plant, monkeypatch: pytest.MonkeyPatch, rule: PartRule = RULE, **options) -> Iterator[WatchedFolder]:
    """The plant's folder, scored while the body writes into it."""
    look_all_the_time(monkeypatch)
    plant.images.mkdir(exist_ok=True)
    source = WatchedFolder(plant.images, settle_seconds=0.05)
    scoring = threading.Thread(target=lambda: plant.score_source(source, part_rule=rule, **options))
    scoring.start()
    try:
        yield source
    finally:
        source.stop()
        scoring.join()


def arrive(plant: Plant, part: str, name: str, brightness: int = GOOD, seed: int = 0) -> None:
    """A view comes as from a careful camera."""
    image = write_image(plant.root / "camera.png", brightness=brightness, seed=content_seed(part, name, seed))
    by_rename(plant.images / f"{part}_{name}.png", image.read_bytes())


def test_a_watched_folders_views_come_in_any_order(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(plant, monkeypatch):
        for part, name in [("a", "bottom"), ("b", "side"), ("a", "top"), ("b", "top"), ("b", "bottom"), ("a", "side")]:
            arrive(plant, part, name, BAD if (part, name) == ("b", "top") else GOOD)
            time.sleep(0.1)
        wait_until(lambda: len(told(plant)) == 2, 10)
    assert told(plant) == [("b", "REJECT", "top", ""), ("a", "PASS", told(plant)[1][2], "")]


def test_a_part_that_misses_a_view_is_told_in_time(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(plant, monkeypatch, parse_part_rule("{part}_{view}.png", VIEWS, 0.6)):
        arrive(plant, "a", "side")
        arrive(plant, "a", "top")
        time.sleep(0.3)
        assert told(plant) == []
        wait_until(lambda: len(told(plant)) == 1, 10)
        assert told(plant)[0][1:] == ("REVIEW", told(plant)[0][2], "bottom")
        assert rows(plant)[0].reason == "view bottom of top, side, bottom is missing"


def test_one_name_for_all_parts_of_a_watched_folder(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(plant, monkeypatch):
        for number in range(3):
            for name in VIEWS:
                arrive(plant, "cell", name, BAD if number == 1 else GOOD, number)
            wait_until(lambda number=number: len(told(plant)) == number + 1, 10)
        arrive(plant, "cell", "top", GOOD, 3)  # its other views never come
        wait_until(lambda: len(plant.store.query()) == 10, 10)
        for name in VIEWS:
            arrive(plant, "cell", name, GOOD, 4)
        wait_until(lambda: len(told(plant)) == 5, 10)
    assert [(decision, missing) for _, decision, _, missing in told(plant)] == [
        ("PASS", ""),
        ("REJECT", ""),
        ("PASS", ""),
        ("REVIEW", "side,bottom"),
        ("PASS", ""),
    ]


def test_a_folder_stopped_while_a_part_comes_tells_it_and_takes_it_up_again(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(plant, monkeypatch):
        arrive(plant, "a", "top")
        wait_until(lambda: len(plant.store.query()) == 1, 10)
    assert told(plant) == [("a", "REVIEW", "top", "side,bottom")]
    with watched(plant, monkeypatch):
        arrive(plant, "a", "side")
        arrive(plant, "a", "bottom")
        wait_until(lambda: told(plant)[0][1] == "PASS", 10)
    assert [row[1] for row in told(plant)] == ["PASS"]


KILLED = """
import sys, time
from pathlib import Path
from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.told import Told
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from deploy.scoring.part_rule import parse_part_rule
from tests.deploy.scoring_plant import LINE, CountingEngine, score_folder

root, address = Path(sys.argv[1]), sys.argv[2]
deployment = Registry(root / "home").deployment(LINE)
engine = ScoringEngine(deployment.backbone, "cpu")
engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
with ResultStore(root / "results.sqlite") as store:
    receiver = receiver_of(parse_destination(address), None, database="here")
    publisher = Publisher(store.outbox, address, tuple(Told), receiver)
    slow = CountingEngine(engine, lambda _: time.sleep(0.01))
    rule = parse_part_rule("{part}_{view}.png", ("top", "side", "bottom"))
    score_folder(deployment.bundle, slow, root / "images", store, workers=1, publisher=publisher, part_rule=rule)
    publisher.end(60)
"""


@pytest.mark.slow
def test_kill_9_and_a_restart_give_each_part_once(plant: Plant) -> None:
    for number in range(40):
        for name in VIEWS:
            image = view(plant, f"{number:03}", name)
            if number % 7 == 0 and name == "side":
                image.unlink()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *sys.path)))}
    with WebhookServer().serving() as server:
        command = [sys.executable, "-c", KILLED, str(plant.root), server.address]
        for so_many in (5, 15):
            process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
            while len(server.accepted) < so_many and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            assert process.returncode == -signal.SIGKILL, said.decode()
        assert len(rows(plant)) < 40, "it was killed in the middle"
        subprocess.run(command, env=environment, check=True)
    found = {row.part: row for row in rows(plant)}
    assert len(found) == len(rows(plant)) == 40
    assert all((row.views_missing == ["side"]) == (int(part) % 7 == 0) for part, row in found.items())
    assert {message["part"] for message in server.accepted} == set(found)
    assert len({message["id"] for message in server.accepted}) == 40
