"""Scoring that tells: what becomes a message, that a receiver does not slow it, and that a kill loses nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from deploy.messages.destination import parse_destination
from deploy.messages.message import new_message, payload
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.sender import Delivered
from deploy.messages.told import Told
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.calibration import Decision
from tests.checkout import REPOSITORY
from tests.deploy.messages.broker import Broker
from tests.deploy.messages.queued import counts, first_of_each
from tests.deploy.messages.webhook_server import WebhookServer, wait_until
from tests.deploy.results.result_rows import REGION, begin, scored, sha256
from tests.deploy.scoring.watching import by_rename
from tests.deploy.scoring_plant import Plant
from tests.parts.plant import write_image

SCHEMA = json.loads((REPOSITORY / "docs" / "message.schema.json").read_text())

SCORING_PROCESS = """
import sys, time
from pathlib import Path
from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.told import Told
from deploy.bundles.registry import Registry
from deploy.engine.runtime import ScoringEngine
from deploy.results.store import ResultStore
from tests.deploy.scoring_plant import LINE, CountingEngine, score_folder

root, address = Path(sys.argv[1]), sys.argv[2]
deployment = Registry(root / "home").deployment(LINE)
engine = ScoringEngine(deployment.backbone, "cpu")
engine.add_head(LINE, deployment.bundle.head_path, deployment.bundle.head_sha256)
with ResultStore(root / "results.sqlite") as store:
    receiver = receiver_of(parse_destination(address), None, database="here")
    publisher = Publisher(store.outbox, address, tuple(Told), receiver)
    slow = CountingEngine(engine, lambda _: time.sleep(0.01))
    score_folder(deployment.bundle, slow, root / "images", store, workers=1, publisher=publisher)
    print(publisher.end(60), flush=True)
"""


def publisher(plant: Plant, address: str, *told: Told) -> Publisher:
    receiver = receiver_of(parse_destination(address), None, database="here")
    return Publisher(plant.store.outbox, address, told or tuple(Told), receiver)


def test_every_new_result_is_told_once_as_the_schema_says(plant: Plant) -> None:
    for seed, brightness in enumerate((10, 120, 200, 250)):
        write_image(plant.images / f"{seed}.png", brightness=brightness, seed=seed)
    shutil.copy(plant.images / "3.png", plant.images / "copy.png")
    (plant.images / "text.png").write_text("no image")
    (plant.images / "gone.png").symlink_to("nowhere")
    Draft202012Validator.check_schema(SCHEMA)
    with WebhookServer().serving() as server:
        for _ in range(2):
            publishing = publisher(plant, server.address)
            plant.score(publisher=publishing)
            assert publishing.end(10).waiting == 0
    for message in server.accepted:
        Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(message)
    told = {Path(message["image_path"]).name: message for message in server.accepted}
    rows = {row.image_sha256: row for row in plant.store.query()}
    decisions = {name: message["decision"] for name, message in told.items()}
    assert decisions == {"0.png": "PASS", "1.png": "REVIEW", "2.png": "REJECT", "3.png": "REJECT"} | {
        name: None for name in ("text.png", "gone.png") if name in told
    }
    assert len(first_of_each(server.accepted)) == len(told) == len(rows)
    rejected = told["3.png"]
    row = rows[rejected["image_sha256"]]
    assert (rejected["score"], rejected["p_value"], rejected["scored_at"]) == (
        row.score,
        row.p_value,
        row.scored_at.isoformat(),
    )
    assert rejected["delay_seconds"] > 0
    assert told["text.png"]["reason"]


def test_only_what_is_asked_for_is_told(plant: Plant) -> None:
    for seed in range(20):
        write_image(plant.images / f"{seed:02}.png", brightness=10 if seed % 5 else 200, seed=seed)
    with WebhookServer().serving() as server:
        publishing = publisher(plant, server.address, Told.REJECT)
        plant.score(publisher=publishing)
        assert publishing.end(10) == Delivered(4, 0, 0)
    assert [Path(message["image_path"]).name for message in server.accepted] == ["00.png", "05.png", "10.png", "15.png"]


def test_a_receiver_that_says_nothing_does_not_hold_scoring_up(plant: Plant) -> None:
    for seed in range(100):
        write_image(plant.images / f"{seed:03}.png", brightness=10, seed=seed, size=16)
    open_up = threading.Event()

    def wait(_number: int, _message: dict[str, Any]) -> int:
        open_up.wait(30)
        return 200

    with WebhookServer(answer=wait).serving() as server:
        publishing = publisher(plant, server.address)
        summary = plant.score(publisher=publishing)
        assert summary.counts.decisions[Decision.PASS] == 100
        assert counts(plant.store, server.address) == (100, 0), "all of it waits on the disk"
        open_up.set()
        assert publishing.end(30) == Delivered(100, 0, 0)


def test_a_watched_folders_images_are_told_before_the_next_ones_come(plant: Plant) -> None:
    plant.images.mkdir()
    source = WatchedFolder(plant.images, settle_seconds=0.2)
    with WebhookServer().serving() as server:
        publishing = publisher(plant, server.address)
        watching = threading.Thread(target=lambda: plant.score_source(source, publisher=publishing))
        watching.start()
        try:
            for seed in range(3):
                image = write_image(plant.root / f"{seed}.png", brightness=200, seed=seed)
                by_rename(plant.images / image.name, image.read_bytes())
                wait_until(lambda seed=seed: len(server.accepted) == seed + 1, 10)
                assert server.accepted[-1]["delay_seconds"] < 3
        finally:
            source.stop()
            watching.join()
            publishing.end(1)


@pytest.mark.slow
def test_kill_9_in_the_middle_then_a_restart_tells_everything(plant: Plant, tmp_path: Path) -> None:
    for seed in range(300):
        write_image(plant.images / f"{seed:03}.png", brightness=200 if seed % 9 == 0 else 20, seed=seed, size=16)
    broker = Broker(tmp_path / "broker")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, *sys.path)))}
    command = [sys.executable, "-c", SCORING_PROCESS, str(plant.root), broker.address]
    with broker.running(), broker.subscribed() as heard:
        for so_many in (20, 120):
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            while len(heard.messages) < so_many and process.poll() is None:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            _, said = process.communicate()
            assert process.returncode == -signal.SIGKILL, said.decode()
        assert len(first_of_each(heard.messages)) < 300, "it was killed in the middle"
        broker.end()  # the last run begins without it
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: len(plant.store.query(limit=None)) == 300 or process.poll() is not None, 60)
        assert counts(plant.store, broker.address)[0] > 0
        broker.start()
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
        assert b"waiting=0, refused=0" in out
        wait_until(lambda: len(first_of_each(heard.messages)) >= 300)
    rows = plant.store.query(limit=None)
    assert {message["image_sha256"] for message in heard.messages} == {row.image_sha256 for row in rows}
    assert len(first_of_each(heard.messages)) == 300
    by_id = {message["id"]: message["score"] for message in heard.messages}
    assert all(by_id[message["id"]] == message["score"] for message in heard.messages)
    rejects = [name for name in heard.topics if name.endswith("/REJECT")]
    assert len(rejects) >= 34


def test_without_a_publisher_nothing_is_queued(plant: Plant) -> None:
    write_image(plant.images / "1.png", brightness=200)
    plant.score()
    assert plant.store.outbox.counts() == []


def test_regions_are_told_the_largest_first_and_no_more_than_fifty(plant: Plant) -> None:
    row = scored(begin(plant.store, plant.bundle), plant.bundle, 1, score=0.9)
    with WebhookServer().serving() as server:
        publishing = publisher(plant, server.address)
        for number, regions in ((1, (REGION,)), (2, (REGION,) * 60)):
            content = row._replace(image_sha256=sha256(number), regions=regions)
            plant.store.add([content._replace(message=publishing.message(content))])
        assert publishing.end(10) == Delivered(2, 0, 0)
    one, many = server.accepted
    Draft202012Validator(SCHEMA).validate(one)
    told = {"box": [1.5, 2.0, 30.0, 4.0], "area": 60.25, "area_mm2": 0.6, "peak": 2.5}
    assert (one["regions"], one["region_count"]) == ([told], 1)
    assert (len(many["regions"]), many["region_count"]) == (50, 60)


@pytest.mark.parametrize(("kind", "probability"), [("crack", 0.75), ("none of these", None)])
def test_a_kind_of_defect_is_told_in_a_format_of_its_own(plant: Plant, kind: str, probability: float | None) -> None:
    row = scored(begin(plant.store, plant.bundle), plant.bundle, 1)
    messages = [
        new_message(each, "mqtt://plant/lines") for each in (row, row._replace(kind=kind, kind_probability=probability))
    ]
    without, told = (json.loads(payload(message.body)) for message in messages)
    for message in (without, told):
        Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(message)
    assert (without["format_version"], "kind" in without) == (1, False)
    assert (told["format_version"], told["kind"], told["kind_probability"]) == (3, kind, probability)
    assert list(Draft202012Validator(SCHEMA).iter_errors({**told, "format_version": 1}))
