"""Runs that judge parts of several views: one row and one message a part, whatever order its images come in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from deploy.messages.destination import parse_destination
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.told import Told
from deploy.results.part_queries import parts_of
from deploy.results.retention import drop_old_rows
from deploy.results.schema import PartRow
from deploy.scoring.part_rule import PartRule, parse_part_rule
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import SourceItem
from deploy.scoring.sources.watch import WatchedFolder
from pipeline.calibration import Decision
from tests.checkout import REPOSITORY
from tests.deploy.messages.webhook_server import WebhookServer, wait_until
from tests.deploy.scoring.watching import by_rename
from tests.deploy.scoring_plant import LINE, Plant
from tests.parts.plant import write_image
from tests.parts.whole_plant import WholePlant, look_all_the_time

VIEWS = ("top", "side", "bottom")
RULE = parse_part_rule("{part}_{view}.png", VIEWS)
GOOD, DOUBTFUL, BAD = 10, 120, 200
SCHEMA = json.loads((REPOSITORY / "docs" / "message.schema.json").read_text())


def view(plant: Plant, part: str, name: str, brightness: int = GOOD, seed: int = 0) -> Path:
    """Write a view of a part; other parts, views and seeds have other contents."""
    seed = content_seed(part, name, seed)
    return write_image(plant.images / f"{part}_{name}.png", brightness=brightness, seed=seed)


def content_seed(part: str, name: str, seed: int) -> int:
    return zlib.crc32(f"{part} {name} {seed}".encode())


def rows(plant: Plant) -> list[PartRow]:
    return list(parts_of(plant.store, LINE))


def told(plant: Plant) -> list[tuple[str, str, str, str]]:
    return [(row.part, row.decision, row.worst_view, ",".join(row.views_missing)) for row in rows(plant)]


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


def test_the_worst_view_decides_and_the_report_is_told_the_worst_part_first(plant: Plant) -> None:
    for part, worst in {"a": GOOD, "b": BAD, "c": DOUBTFUL}.items():
        for name in VIEWS:
            view(plant, part, name, worst if name == "side" else GOOD)
    view(plant, "d", "top")
    view(plant, "e", "top", BAD)
    (plant.images / "f_side.png").write_text("no image")
    view(plant, "f", "top")
    view(plant, "f", "bottom")
    summary = plant.score(part_rule=RULE)
    assert summary.parts is not None
    assert summary.parts.counts.figures() == {
        "parts": 6,
        "parts_pass": 1,
        "parts_review": 3,
        "parts_reject": 2,
        "parts_incomplete": 2,
    }
    assert {part.part for part in summary.parts.worst[:2]} == {"b", "e"}
    by_name = {row.part: row for row in rows(plant)}
    assert (by_name["b"].decision, by_name["b"].worst_view) == (Decision.REJECT, "side")
    assert by_name["b"].image_path == str(plant.images / "b_side.png")
    scores = [row.score for row in plant.store.query() if "/b_" in row.image_path and row.score is not None]
    assert by_name["b"].score == max(scores)
    assert (by_name["a"].decision, by_name["a"].reason, by_name["a"].views_seen) == (Decision.PASS, None, list(VIEWS))
    assert by_name["d"].decision is Decision.REVIEW
    assert by_name["d"].reason == "views side, bottom of top, side, bottom are missing"
    assert by_name["e"].decision is Decision.REJECT, "a seen view rejects"
    assert (by_name["f"].decision, by_name["f"].worst_view) == (Decision.REVIEW, "side")
    assert (by_name["f"].reason or "").startswith("view side could not be read: ")


def test_each_part_is_told_in_one_message_as_the_schema_says_and_other_images_by_themselves(plant: Plant) -> None:
    for name in VIEWS:
        view(plant, "a", name, BAD if name == "bottom" else GOOD)
    view(plant, "b", "top")
    write_image(plant.images / "calibration.png", brightness=GOOD, seed=9)
    with WebhookServer().serving() as server:
        for _ in range(2):
            receiver = receiver_of(parse_destination(server.address), None, database="here")
            publisher = Publisher(plant.store.outbox, server.address, tuple(Told), receiver)
            summary = plant.score(publisher=publisher, part_rule=RULE)
            assert publisher.end(10).waiting == 0
            assert summary.parts is not None
            assert summary.parts.counts.found == 2, "the second run has nothing to tell, and counts them all the same"
    for message in server.accepted:
        Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(message)
    assert {message.get("part"): message["decision"] for message in server.accepted} == {
        "a": "REJECT",
        "b": "REVIEW",
        None: "PASS",
    }
    (part,) = (message for message in server.accepted if message.get("part") == "a")
    assert part["worst_view"] == "bottom"
    assert [seen["view"] for seen in part["views"]] == list(VIEWS)
    assert len(server.accepted) == 3
    assert summary.remarks == (
        f"{LINE}: images that fit no part by {{part}}_{{view}}.png with top, side, bottom are told by themselves, "
        "such as calibration.png.",
    )


def test_a_part_that_comes_to_its_end_in_a_later_run_keeps_one_row(plant: Plant) -> None:
    view(plant, "a", "top")
    plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REVIEW", "top", "side,bottom")]
    view(plant, "a", "side")
    view(plant, "a", "bottom", DOUBTFUL)
    plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REVIEW", "bottom", "")]
    (plant.images / "a_side.png").unlink()
    plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REVIEW", "bottom", "")], "a file that went away takes nothing back"


def test_a_name_used_again_is_another_part(plant: Plant) -> None:
    for seed in range(3):
        for name in VIEWS:
            view(plant, "a", name, BAD if seed == 1 else GOOD, seed)
        plant.score(part_rule=RULE)
    assert [(part, decision) for part, decision, _, _ in told(plant)] == [("a", "PASS"), ("a", "REJECT"), ("a", "PASS")]
    view(plant, "a", "side", GOOD, 3)  # the next part's first view, beside two of a part that was told
    plant.score(part_rule=RULE)
    assert told(plant)[3:] == [("a", "REVIEW", "side", "top,bottom")]


def test_only_the_number_of_views_is_known(plant: Plant) -> None:
    for name in ("x", "y", "z"):
        view(plant, "a", name)
    view(plant, "b", "y")
    plant.score(part_rule=parse_part_rule("{part}_{view}.png", ("3",)))
    first, second = rows(plant)
    assert (first.part, first.decision, first.views_seen) == ("a", Decision.PASS, ["x", "y", "z"])
    assert (second.decision, second.reason) == (Decision.REVIEW, "2 of 3 views are missing: only y came")


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


def test_a_plants_parts_are_found_below_each_lines_folder(tmp_path: Path, plant: Plant) -> None:
    whole = WholePlant(tmp_path / "whole")
    for line in ("lids", "hall/7"):
        whole.add(line, "v1")
        for name in VIEWS:
            write_image(whole.images / line / "x" / f"{name}.png", brightness=GOOD, seed=len(line) * 700 + ord(name[0]))
    summary = whole.score(plant.store, part_rule=parse_part_rule("{part}/{view}.png", VIEWS))
    assert summary.parts is not None
    assert summary.parts.decisions[Decision.PASS] == summary.parts.found == 2
    assert [row.part for line in ("lids", "hall/7") for row in parts_of(plant.store, line)] == ["x", "x"]


def test_a_promotion_while_a_part_comes_tells_what_each_bundle_saw(tmp_path: Path, plant: Plant) -> None:
    whole = WholePlant(tmp_path / "whole")
    whole.add("lids", "v1")
    for number, name in enumerate(VIEWS):
        write_image(whole.images / "lids" / f"a_{name}.png", brightness=GOOD, seed=900 + number)

    class Promoting(FolderSource):
        def items(self) -> Iterator[SourceItem]:
            for item in super().items():
                if item.name == "lids/a_side.png":
                    whole.add("lids", "v2")
                yield item

    summary = whole.score(plant.store, source=Promoting(whole.images), part_rule=RULE)
    found = [(row.bundle_version, row.views_seen, row.decision) for row in parts_of(plant.store, "lids")]
    assert found == [("v1", ["bottom"], Decision.REVIEW), ("v2", ["top", "side"], Decision.REVIEW)]
    assert summary.parts is not None
    assert summary.parts.incomplete == 2


def test_nothing_is_grouped_without_a_rule(plant: Plant) -> None:
    view(plant, "a", "top")
    assert plant.score().parts is None
    assert rows(plant) == []


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


def test_old_parts_go_with_their_rows(plant: Plant) -> None:
    for name in VIEWS:
        view(plant, "a", name)
    plant.score(part_rule=RULE)
    assert drop_old_rows(plant.store, datetime.now(UTC) + timedelta(hours=1)) == 3
    assert rows(plant) == []
