"""`linewise verdicts`: what people say of a line's images, from the command into the store and out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.bundles.registry import Registry
from deploy.results.schema import Verdict
from deploy.results.store import ResultStore
from pipeline.settings import load_settings
from pipeline.storage import sha256_file
from tests.deploy.results.result_rows import begin, scored
from tests.flows.adapted_home import LINE
from tests.flows.command import Command
from tests.parts.line_on_disk import picture, save


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for number in range(3):
        save(tmp_path / f"images/{number}.png", picture(number))
    return tmp_path / "images"


def test_verdicts_are_added_listed_and_overruled(linewise: Command, adapted_home: Path, images: Path):
    assert linewise("verdicts", "list", LINE)[1].startswith(f"No verdict on images of {LINE} yet")
    zero, one = images / "0.png", images / "1.png"
    code, out, _ = linewise("verdicts", "add", LINE, zero, one, "--verdict", "good", "--by", "Ada", "--note", "a hair")
    assert (code, out) == (0, f"2 verdicts on images of {LINE}: good\n")
    code, out, _ = linewise("verdicts", "add", LINE, one, "--verdict", "defective")
    assert (code, out) == (0, f"1 verdict on images of {LINE}: defective\n")

    code, out, _ = linewise("verdicts", "list", LINE, "--json", "-")
    rows = json.loads(out)
    told = [(row["image_path"], row["verdict"], row["by"], row["note"]) for row in rows]
    assert told == [(str(one), "defective", None, None), (str(zero), "good", "Ada", "a hair")]
    assert {len(row["image_sha256"]) for row in rows} == {64}
    code, out, _ = linewise("verdicts", "list", LINE)
    assert code == 0
    assert "defective" in out
    assert "Ada" in out
    assert len(json.loads(linewise("verdicts", "list", LINE, "--every", "--json", "-")[1])) == 3


def test_a_table_is_imported_whole_and_comes_out_again(linewise: Command, adapted_home: Path, images: Path):
    said, out_file = images / "said.csv", images / "out.csv"
    said.write_text("image_path,verdict\n0.png,good\n1.png,defective\n")
    assert linewise("verdicts", "import", LINE, said)[:2] == (0, f"2 verdicts on images of {LINE}\n")
    code, out, _ = linewise("verdicts", "export", LINE, "--output", out_file)
    assert (code, out) == (0, f"2 verdicts on images of {LINE} in {out_file}\n")
    assert [row.split(",")[:2] for row in out_file.read_text().splitlines()[1:]] == [
        [str(images / "0.png"), "good"],
        [str(images / "1.png"), "defective"],
    ]
    said.write_text("image_path,verdict\n2.png,good\n9.png,good\n")
    code, _, err = linewise("verdicts", "import", LINE, said)
    assert code == 2
    assert err.startswith(f"linewise: expected an image file in row 3 of {said}, got no such file in ")
    with ResultStore(load_settings().database) as store:
        rows = store.verdicts(LINE, overruled=True)
    assert [row.verdict for row in rows] == [Verdict.DEFECTIVE, Verdict.GOOD], "nothing of it is there"


def test_an_export_that_comes_in_twice_says_nothing_new(linewise: Command, adapted_home: Path, images: Path):
    for verdict in ("good", "defective"):
        linewise("verdicts", "add", LINE, images / "0.png", "--verdict", verdict)
    linewise("verdicts", "export", LINE, "--every", "--output", images / "out.csv")
    code, out, _ = linewise("verdicts", "import", LINE, images / "out.csv")
    assert (code, out) == (0, f"0 verdicts on images of {LINE}\n")


def test_a_verdict_on_an_image_that_the_line_never_saw_is_told_and_one_on_anothers_is_refused(
    linewise: Command, adapted_home: Path, images: Path
):
    """Nothing was said: a slip of the folder was learned."""
    zero, one, two = (images / f"{number}.png" for number in range(3))
    with ResultStore(load_settings().database) as store:
        bundle = Registry(load_settings().home).live(LINE)
        row = scored(begin(store, bundle), bundle, 0)._replace(image_sha256=sha256_file(zero))
        store.add([row, row._replace(image_sha256=sha256_file(one), line="nuts")])
    code, _, err = linewise("verdicts", "add", LINE, zero, "--verdict", "good")
    assert (code, err) == (0, "")
    code, _, err = linewise("verdicts", "add", LINE, zero, two, "--verdict", "good")
    assert code == 0
    assert err == f"Never scored for {LINE}, so that nobody has seen whether it fits the line: {two}.\n"
    code, _, err = linewise("verdicts", "add", LINE, one, zero, "--verdict", "good")
    assert code == 2
    assert err == (
        f"linewise: expected images of {LINE}, got {one}, which was scored for nuts and never for {LINE}: name nuts, "
        f"or score the image for {LINE} first\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["add", "other", "0.png", "--verdict", "good"],
            "a line that is registered or was scored, got no line",
        ),
        (["add", LINE, "0.png", "--verdict", "bad"], "a verdict, good or defective, got 'bad': say good or defective"),
        (["add", LINE, "0.png", "9.png", "--verdict", "good"], "expected an image file, got no such file in 9.png"),
        (["list", "other"], "no line 'other'"),
        (["export", LINE, "--output", "nowhere/out.csv"], "nothing there"),
    ],
)
def test_mistakes_are_sentences_and_leave_nothing(
    linewise: Command,
    adapted_home: Path,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
):
    monkeypatch.chdir(images)
    code, _, err = linewise("verdicts", *arguments)
    assert code == 2
    assert err.startswith("linewise: expected ")
    assert words in err
    with ResultStore(load_settings().database) as store:
        assert store.verdicts(LINE) == []
