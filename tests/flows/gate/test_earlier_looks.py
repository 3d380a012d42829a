"""A version that was held is judged by the images of all looks at it: other ones let none through by luck."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks.gate_counts import DEFECTS, GOOD_PARTS, held_back_passes, looked_at
from benchmarks.gate_looks import BOTH, IMAGES, gate_rule
from deploy.bundles.packs import Deployment
from deploy.bundles.registry import Registry
from flows.calibrate.new_images import Kind
from flows.gate.earlier_looks import EarlierLooks, note_look, read_looks, with_earlier
from flows.gate.evidence import EvidenceImage
from flows.gate.paired_scores import Pair, Pairs, Said
from pipeline.calibration import Decision
from pipeline.settings import Settings, load_settings
from tests.parts.plant import write_versions

LINE = "mvtec/pill"
GOOD, DEFECT, UNSAID = Kind.GOOD, Kind.DEFECT, Kind.UNLABELLED


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(tmp_path / "home")
    write_versions(settings.home)
    return settings


def versions(settings: Settings, *names: str) -> list[Deployment]:
    return [Registry(settings.home).deployment(LINE, name) for name in names]


def pair(path: Path, number: int = 0, score: float = 0.5, **known: object) -> Pair:
    known = {"kind": UNSAID} | known
    image = EvidenceImage(name=path.name, path=path, sha256=f"{number:064x}", **known)  # type: ignore[arg-type]
    return Pair(image=image, candidate=Said(score=score, decision=Decision.REJECT), live=None)


def together(now: Sequence[Pair], before: Sequence[Pair], *labelled: EvidenceImage) -> tuple[Pair, ...]:
    looks = EarlierLooks(count=1, pairs=tuple(before))
    known = {image.sha256: image for image in labelled}
    return with_earlier(Pairs(pairs=tuple(now), left_out={}), looks, known).pairs


def test_what_a_look_saw_is_read_as_it_was_whatever_its_files_are_called(settings: Settings, tmp_path: Path) -> None:
    candidate, live = versions(settings, "v2", "v1")
    odd = Path(os.fsdecode(b"/images/\xff \xc3\xa9%.png"))
    seen = EarlierLooks(count=2, pairs=(pair(odd, produced=True), pair(tmp_path / "a.png", 1, kind=GOOD, filed=True)))
    assert read_looks(settings, LINE, candidate, live) == EarlierLooks()
    note_look(settings, LINE, candidate, live, seen)
    assert read_looks(settings, LINE, candidate, live) == seen


def test_what_was_seen_beside_another_live_version_or_cannot_be_read_says_nothing(settings: Settings) -> None:
    first, second, third = versions(settings, "v1", "v2", "v3")
    seen = EarlierLooks(count=1, pairs=(pair(Path("/images/a.png"), produced=True),))
    note_look(settings, LINE, third, second, seen)
    for live in (first, None):
        assert read_looks(settings, LINE, third, live) == EarlierLooks()
    assert read_looks(settings, LINE, third, second) == seen
    (path,) = settings.line_folder("gate", LINE).iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert read_looks(settings, LINE, third, second) == EarlierLooks()


def test_what_was_seen_of_a_version_goes_once_the_version_is_there_no_more(settings: Settings) -> None:
    first, second = versions(settings, "v1", "v2")
    note_look(settings, LINE, second, first, EarlierLooks(count=1))
    folder = settings.line_folder("gate", LINE)
    (folder / "v0.json").write_text("{}")
    note_look(settings, LINE, second, first, EarlierLooks(count=2))
    assert [path.name for path in folder.iterdir()] == ["v2.json"]


def test_images_of_the_production_count_as_they_were_scored_also_where_they_are_gone(tmp_path: Path) -> None:
    (there := tmp_path / "there.png").touch()
    gone = tmp_path / "gone.png"
    before = [pair(gone, 0, produced=True), pair(there, 1, produced=True)]
    seen = {one.image.sha256: one for one in together([pair(there, 2, produced=True)], before)}
    assert [seen[f"{n:064x}"].image.gone for n in range(3)] == [True, False, False]
    assert seen[f"{0:064x}"] == replace(before[0], image=replace(before[0].image, gone=True))
    (both,) = together([pair(there, 1, score=0.7)], before[1:])
    assert (both.candidate.score, both.image.produced) == (0.7, True), "once, and still of the production"
    assert EarlierLooks(pairs=tuple(before)).to_score([one.image for one in before]) == [before[1].image]


def test_an_image_that_cannot_be_looked_for_counts_as_gone(tmp_path: Path) -> None:
    """As one in a folder that may not be entered any more."""
    seen = pair(tmp_path / ("x" * 300), produced=True)
    assert [one.image.gone for one in together([], [seen])] == [True]
    assert EarlierLooks(pairs=(seen,)).to_score([seen.image]) == []


def test_what_people_say_of_an_image_counts_as_they_say_it_now(tmp_path: Path) -> None:
    (path := tmp_path / "a.png").touch()
    said = pair(path, kind=GOOD)
    assert together([], [said], said.image) == (said,)
    corrected = replace(said.image, kind=DEFECT, contested=True)
    (now,) = together([], [said], corrected)
    assert (now.image.kind, now.image.contested) == (DEFECT, True)
    assert together([], [said]) == (), "it was taken back"
    (of_production,) = together([], [replace(said, image=replace(said.image, produced=True))])
    assert of_production.image.kind is UNSAID


def test_a_label_of_the_folder_counts_until_its_file_is_moved_out_of_it(tmp_path: Path) -> None:
    (path := tmp_path / "good" / "a.png").parent.mkdir()
    path.touch()
    filed = pair(path, kind=GOOD, filed=True)
    assert together([], [filed]) == (filed,), "also where the next look is not asked to read the folder"
    (again,) = together([replace(filed, image=replace(filed.image, kind=UNSAID, filed=False, produced=True))], [filed])
    assert (again.image.kind, again.image.produced) == (GOOD, True)
    path.rename(tmp_path / "a.png")
    assert together([], [filed]) == ()
    path.parent.rmdir()
    assert [one.image.kind for one in together([], [filed])] == [GOOD], "as where a share is not mounted"


_SHARE = BOTH / IMAGES
_CASES = {
    "production": (lambda counts: gate_rule().unanswered(counts), (0.1, _SHARE), (0.045, _SHARE), IMAGES),
    "false rejects": (partial(held_back_passes, GOOD), (0.07, 0.01), (0.02, 0.02), GOOD_PARTS),
    "missed defects": (partial(held_back_passes, DEFECT), (0.1, 0.01), (0.03, 0.03), DEFECTS),
}


@pytest.mark.parametrize("rule", _CASES)
def test_more_looks_let_no_worse_version_through_that_the_first_one_held_and_do_let_a_good_one(rule: str) -> None:
    passes, worse, good, images = _CASES[rule]
    draws = 50 if images == IMAGES else 200

    def through(shares: tuple[float, ...], *, all_looks: bool) -> list[int | None]:
        return looked_at(passes, shares, images, 1.0, together=all_looks, draws=draws)

    def later(looks: list[int | None]) -> float:
        """Of those that the first look held, the share that a later one lets through."""
        held = [look for look in looks if look != 0]
        return sum(look is not None for look in held) / len(held)

    alone = through(worse, all_looks=False)
    assert later(alone) > 0.4, "as where each look is judged by itself"
    assert later(through(worse, all_looks=True)) < 0.15
    looks = through(good, all_looks=True)
    assert sum(look is None for look in looks) <= 0.05 * draws
