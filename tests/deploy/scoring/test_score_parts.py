"""Runs that judge parts of several views: one row and one message a part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from deploy.messages.destination import parse_destination
from deploy.messages.message import payload
from deploy.messages.part_message import part_message
from deploy.messages.publisher import Publisher
from deploy.messages.receivers import receiver_of
from deploy.messages.told import Told
from deploy.results.part_queries import parts_of
from deploy.results.records import NewPart
from deploy.results.retention import drop_old_rows
from deploy.scoring.image_result import FileStatus, ImageResult
from deploy.scoring.open_parts import OpenParts
from deploy.scoring.part_rule import parse_part_rule
from deploy.scoring.part_tally import PartTally
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.source import SourceItem
from pipeline.calibration import Decision
from pipeline.kinds import SaidKind
from tests.checkout import REPOSITORY
from tests.deploy.messages.webhook_server import WebhookServer
from tests.deploy.scoring.part_views import BAD, DOUBTFUL, GOOD, RULE, VIEWS, rows, told, view
from tests.deploy.scoring_plant import LINE, Plant
from tests.parts.plant import write_image
from tests.parts.whole_plant import WholePlant

SCHEMA = json.loads((REPOSITORY / "docs" / "message.schema.json").read_text())
CRACK = SaidKind("crack", 0.75)


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
            assert summary.remarks == (
                f"{LINE}: images that fit no part by {{part}}_{{view}}.png with top, side, bottom are told by "
                "themselves, such as calibration.png.",
            )
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


def test_a_part_has_the_kind_of_the_view_that_decided(plant: Plant) -> None:
    parts, ended = OpenParts(RULE, plant.bundle, plant.store), list[NewPart]()
    for number, (name, kind) in enumerate((("top", None), ("side", SaidKind("dent", 0.9)), ("bottom", CRACK)), 1):
        result = ImageResult(
            name=f"a_{name}.png",
            path=plant.images / f"a_{name}.png",
            sha256=f"{number:064x}",
            status=FileStatus.SCORED,
            score=number / 10,
            decision=Decision.PASS if kind is None else Decision.REVIEW,
            kind=kind,
        )
        ended += parts.take(result) or []
    (told_part,) = ended
    assert (told_part.worst_view, told_part.kind, told_part.kind_probability) == ("bottom", *CRACK)
    message = json.loads(payload(part_message(told_part, "http://mes/").body))
    Draft202012Validator(SCHEMA, format_checker=FormatChecker()).validate(message)
    assert (message["format_version"], message["kind"], message["kind_probability"]) == (4, *CRACK)
    plant.store.add([told_part])
    assert [(row.kind, row.kind_probability) for row in rows(plant)] == [CRACK]
    tally = PartTally()
    for part in (told_part, *rows(plant)):  # as it is told now, and as the store has it
        tally.add(part)
    assert [part.kind for part in tally.shown.worst] == [CRACK, CRACK]


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


@pytest.mark.parametrize("other", [GOOD, BAD])
def test_a_part_with_a_view_that_cannot_be_read_counts_as_before_in_a_later_run(plant: Plant, other: int) -> None:
    for name in ("top", "bottom"):
        view(plant, "a", name, other)
    (plant.images / "a_side.png").write_text("no image")
    first, again = plant.score(part_rule=RULE).parts, plant.score(part_rule=RULE).parts
    assert first is not None
    assert first.counts.figures()["parts_incomplete"] == 0
    assert again == first
    assert told(plant) == [("a", first.worst[0].decision, first.worst[0].worst_view, "")]


@pytest.mark.parametrize("unread", ["no image", None])
def test_a_view_that_could_not_be_read_and_is_written_anew_tells_its_part_again(
    plant: Plant, unread: str | None
) -> None:
    for name in ("top", "bottom"):
        view(plant, "a", name)
    side = plant.images / "a_side.png"
    if unread is None:
        side.symlink_to(plant.images / "nowhere.png")
    else:
        side.write_text(unread)
    plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REVIEW", "side", "")]
    before = rows(plant)[0].content_id
    side.unlink()
    view(plant, "a", "side", BAD)
    summary = plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REJECT", "side", "")], "one row, as complete as before, in place of the old one"
    assert rows(plant)[0].content_id != before
    assert summary.parts is not None
    assert (summary.parts.counts.found, summary.parts.counts.incomplete) == (1, 0)
    assert plant.score(part_rule=RULE).parts == summary.parts, "told once"


def test_views_of_the_next_part_are_not_taken_for_one_that_could_not_be_read(plant: Plant) -> None:
    for name in ("top", "bottom"):
        view(plant, "a", name)
    (plant.images / "a_side.png").write_text("no image")
    plant.score(part_rule=RULE)
    view(plant, "a", "side", GOOD, 1)
    view(plant, "a", "top", GOOD, 1)
    plant.score(part_rule=RULE)
    assert told(plant) == [("a", "REVIEW", "side", ""), ("a", "REVIEW", "top", "bottom")]


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


def test_old_parts_go_with_their_rows(plant: Plant) -> None:
    for name in VIEWS:
        view(plant, "a", name)
    plant.score(part_rule=RULE)
    assert drop_old_rows(plant.store, datetime.now(UTC) + timedelta(hours=1)) == 3
    assert rows(plant) == []
