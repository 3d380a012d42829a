"""What people say of images in the result store, in SQLite and PostgreSQL, and as CSV."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.results.records import NewVerdict
from deploy.results.schema import QuestionKind, Verdict, VerdictRow
from deploy.results.store import ResultStore
from deploy.results.verdict_files import COLUMNS, read_verdicts, verdict_on, write_verdicts
from pipeline.errors import ConfigError, ImageError, LinewiseError, StorageError
from pipeline.storage import sha256_file
from tests.deploy.results.result_rows import sha256
from tests.deploy.results.schema_steps import step_back
from tests.parts.line_on_disk import picture, save


def said(number: int, verdict: Verdict, line: str = "caps", **more: str) -> NewVerdict:
    return NewVerdict(line, f"/images/{number}.png", sha256(number), verdict, **more)


def words(rows: list[VerdictRow]) -> list[tuple[str, Verdict, str | None]]:
    return [(row.image_path, row.verdict, row.by) for row in rows]


def test_the_latest_word_on_a_content_of_a_line_counts_and_earlier_ones_stay(store: ResultStore) -> None:
    good, defective = Verdict.GOOD, Verdict.DEFECTIVE
    assert store.verdicts("caps") == []
    assert store.add_verdicts([said(1, good, by="Ada", note="a hair"), said(2, defective), said(1, good, "nuts")]) == 3
    assert store.add_verdicts([said(1, defective, by="Bo")]) == 1
    assert words(store.verdicts("caps")) == [("/images/1.png", defective, "Bo"), ("/images/2.png", defective, None)]
    assert words(store.verdicts("nuts")) == [("/images/1.png", good, None)]
    assert words(store.verdicts("caps", image_sha256=sha256(1), overruled=True)) == [
        ("/images/1.png", defective, "Bo"),
        ("/images/1.png", good, "Ada"),
    ]
    assert len(store.verdicts("caps", overruled=True)) == 3
    first = store.verdicts("caps", overruled=True)[-1]
    assert (first.image_sha256, first.note) == (sha256(1), "a hair")
    assert timedelta() <= datetime.now(UTC) - first.said_at < timedelta(minutes=5)


def test_of_two_verdicts_the_later_one_counts_whichever_came_first(store: ResultStore) -> None:
    """As where an export of another store comes in."""
    now = datetime.now(UTC)
    for hours, verdict in ((2, Verdict.DEFECTIVE), (5, Verdict.GOOD), (3, Verdict.GOOD)):
        store.add_verdicts([said(1, verdict)._replace(said_at=now - timedelta(hours=hours))])
    assert [row.verdict for row in store.verdicts("caps")] == [Verdict.DEFECTIVE]
    assert [row.said_at for row in store.verdicts("caps", overruled=True)] == [
        now - timedelta(hours=hours) for hours in (2, 3, 5)
    ]
    store.add_verdicts([said(1, Verdict.GOOD)])
    assert [row.verdict for row in store.verdicts("caps", image_sha256=sha256(1))] == [Verdict.GOOD]


def test_a_word_that_was_taken_back_does_not_count_and_an_earlier_one_does_again(store: ResultStore) -> None:
    good, defective = Verdict.GOOD, Verdict.DEFECTIVE
    store.add_verdicts([said(1, good, by="Ada"), said(2, good)])
    store.add_verdicts([said(1, defective, by="Bo")])
    taken_back = store.verdicts("caps", image_sha256=sha256(1))[0]
    with store.writing_session() as session:
        more = {"image_sha256": sha256(1), "image_path": "/images/1.png", "said_at": datetime.now(UTC), "by": "Bo"}
        session.add(VerdictRow(line="caps", verdict=defective, withdraws=taken_back.id, **more))
    assert words(store.verdicts("caps", image_sha256=sha256(1))) == [("/images/1.png", good, "Ada")]
    assert len(store.verdicts("caps", overruled=True)) == 2
    assert len(store.verdicts("caps", withdrawn=True)) == 4, "nothing is lost"


def test_words_of_before_questions_stay_and_what_was_taken_back_goes_with_the_step(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    with ResultStore(path) as store:
        store.add_verdicts([said(1, Verdict.GOOD), said(2, Verdict.GOOD)._replace(kind="scratch", box=[1, 2, 3, 4])])
        with store.writing_session() as session:
            first = store.verdicts("caps", image_sha256=sha256(1))[0]
            more = {"image_sha256": sha256(1), "image_path": "/images/1.png", "said_at": datetime.now(UTC)}
            session.add(VerdictRow(line="caps", verdict=Verdict.GOOD, withdraws=first.id, **more))
    step_back(path, "0004")
    with ResultStore(path) as store:
        (word,) = store.verdicts("caps", withdrawn=True)
        assert (word.image_sha256, word.kind, word.box, word.withdraws) == (sha256(2), None, None, None)


def test_verdicts_are_noted_together_or_not_at_all(store: ResultStore) -> None:
    def words_and_a_mistake() -> Iterator[NewVerdict]:
        yield said(1, Verdict.GOOD)
        raise ImageError("an image", "none", "look")

    with pytest.raises(ImageError):
        store.add_verdicts(words_and_a_mistake())
    assert store.verdicts("caps") == []
    assert store.add_verdicts([]) == 0


def test_a_store_of_before_gets_the_table_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    ResultStore(path).close()
    step_back(path, "0002")
    with ResultStore(path) as store:
        store.add_verdicts([said(1, Verdict.GOOD)])
        assert len(store.verdicts("caps")) == 1


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / f"images/{number}.png", picture(number))
    return tmp_path / "images"


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_verdict_is_of_the_content_that_a_file_has(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    found = verdict_on(Path("1.png"), "caps", Verdict.GOOD, by="", note="a hair")
    path = images / "1.png"
    assert found == NewVerdict("caps", str(path), sha256_file(path), Verdict.GOOD, None, "a hair")
    for name, words in (("none.png", "no such file"), ("text.png", "other contents"), ("pipe.png", "a pipe or device")):
        if name == "text.png":
            Path(name).write_text("no image")
        if name == "pipe.png":
            os.mkfifo(name)
        with pytest.raises(ImageError, match=words) as caught:
            verdict_on(Path(name), "caps", Verdict.GOOD)
        assert name in str(caught.value)


def test_a_table_is_read_whole_relative_paths_from_its_own_folder(images: Path) -> None:
    path = table(
        images / "said.csv",
        "\ufeffshift, verdict,image_path,note,by",
        'early,Good,0.png,"a hair,\nnot a crack",Ada',
        "",
        f"late, DEFECTIVE ,{images / '1.png'}",
        "late,defective,1.png,said twice,",
    )
    assert read_verdicts(path, "caps") == [
        verdict_on(images / "0.png", "caps", Verdict.GOOD, by="Ada", note="a hair,\nnot a crack"),
        verdict_on(images / "1.png", "caps", Verdict.DEFECTIVE),
    ]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (["path,verdict", "0.png,good"], "expected a column image_path in FILE, got 'path, verdict': name the"),
        (["image_path;verdict"], "expected a column image_path and a column verdict in FILE, got 'image_path;verdict'"),
        ([""], "expected a column image_path and a column verdict in FILE, got ''"),
        (["image_path,verdict"], "expected verdicts in FILE, got none"),
        (["image_path,verdict", "0.png,good", "1.png,bad"], "a verdict, good or defective in row 3 of FILE, got 'bad'"),
        (["image_path,verdict", "", "0.png"], "a verdict, good or defective in row 3 of FILE, got ''"),
        (["image_path,verdict", ",good"], "an image's path in row 2 of FILE, got an empty cell"),
        (["image_path,verdict,line", "0.png,good,nuts"], "images of caps in row 2 of FILE, got one of nuts: import it"),
        (["image_path,verdict,image_sha256", "0.png,good,77"], "64 digits in hex, in row 2 of FILE, got '77': leave"),
        (["image_path,verdict,said_at", "0.png,good,noon"], "such as 2026-03-01T06:30:00+00:00, in row 2 of FILE, got"),
        (["image_path,verdict,said_at", "0.png,good,2026-03-01"], "got '2026-03-01': write it so, or leave the cell"),
        (
            ["image_path,verdict", "a\0.png,good"],
            "expected an image file in row 2 of FILE, got a name with a zero byte",
        ),
        (["image_path,verdict,defect_box", "0.png,defective,1 2 3"], "pixels, in row 2 of FILE, got '1 2 3': write it"),
        (["image_path,verdict,defect_box", "0.png,defective,1 2 0 4"], "width and height in pixels, in row 2 of FILE"),
        (
            ["image_path,verdict,asked_as", "0.png,good,so"],
            "or unlike or contested or random, in row 2 of",
        ),
        (["image_path,verdict", "9.png,good"], "expected an image file in row 2 of FILE, got no such file in "),
        (
            ["image_path,verdict", "0.png,good", "1.png,good", "0.png,defective"],
            "expected one verdict an image, got good in row 2 and defective in row 4 of FILE: remove the row",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_a_sentence_that_names_the_row(
    images: Path, rows: list[str], sentence: str
) -> None:
    path = table(images / "said.csv", *rows)
    with pytest.raises(LinewiseError) as caught:
        read_verdicts(path, "caps")
    assert sentence.replace("FILE", str(path)) in str(caught.value)


def test_a_file_that_is_no_table_is_a_sentence(images: Path) -> None:
    with pytest.raises(StorageError):
        read_verdicts(images / "none.csv", "caps")
    with pytest.raises(ConfigError, match="a CSV file in UTF-8"):
        read_verdicts(images / "0.png", "caps")


def test_what_is_written_can_be_read_again(images: Path, store: ResultStore, tmp_path: Path) -> None:
    store.add_verdicts([verdict_on(images / "0.png", "caps", Verdict.GOOD, by="Ada", note="a, hair")])
    defect = verdict_on(images / "1.png", "caps", Verdict.DEFECTIVE, note="=1+1")
    asked = {"question": QuestionKind.RANDOM, "bundle_id": "b" * 64}
    store.add_verdicts([defect._replace(kind="scratch", box=[1.5, 2, 30, 4], **asked)])
    path = tmp_path / "out.csv"
    rows = store.verdicts("caps")
    assert write_verdicts(rows, path) == 2
    with path.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert tuple(written[0]) == COLUMNS
    assert written[0]["note"] == "'=1+1", "no formula for a spreadsheet"
    assert written[1]["said_at"] == rows[1].said_at.isoformat()
    again = read_verdicts(path, "caps")
    assert [said.image_sha256 for said in again] == [row.image_sha256 for row in rows]
    assert again[0].note == "=1+1", "without the apostrophe"
    assert (again[0].kind, again[0].box) == ("scratch", [1.5, 2, 30, 4])
    assert (again[0].question, again[0].bundle_id) == (QuestionKind.RANDOM, "b" * 64)
    assert again[1].kind is again[1].box is again[1].question is again[1].bundle_id is None
    assert (again[1].by, again[1].note, again[1].verdict) == ("Ada", "a, hair", Verdict.GOOD)


def test_verdicts_that_changed_and_images_that_moved_come_back_as_they_were(
    images: Path, store: ResultStore, tmp_path: Path
) -> None:
    """An image with two verdicts was refused, and so was one that is gone."""
    zero, one = images / "0.png", images / "1.png"
    store.add_verdicts([verdict_on(zero, "caps", Verdict.GOOD), verdict_on(one, "caps", Verdict.GOOD, by="Ada")])
    store.add_verdicts([verdict_on(zero, "caps", Verdict.DEFECTIVE)])
    path = tmp_path / "out.csv"
    rows = store.verdicts("caps", overruled=True)
    write_verdicts(reversed(rows), path)
    one.rename(images / "moved.png")
    zero.write_bytes((images / "2.png").read_bytes())
    with ResultStore(tmp_path / "other.sqlite") as other:
        other.add_verdicts(read_verdicts(path, "caps"))
        found = other.verdicts("caps", overruled=True)
    for row, before in zip(found, rows, strict=True):
        told = ("image_path", "image_sha256", "verdict", "by", "said_at")
        assert [getattr(row, name) for name in told] == [getattr(before, name) for name in told]
