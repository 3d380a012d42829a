"""What adaptation takes from the result store: people's verdicts, and the images of the last hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from deploy.bundles.facts import all_facts
from deploy.results.records import NewResult
from deploy.results.schema import ResultStatus, Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.adapt import job, show
from flows.adapt.from_store import KnownLine, know_line
from flows.adapt.job import AdaptResult
from flows.adapt.request import AdaptRequest
from flows.score import job as score
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, LineError
from pipeline.likeness import UNLIKE
from pipeline.settings import Settings, load_settings
from pipeline.storage import sha256_file
from pipeline.support import read_defect_mask
from pipeline.synthetic.lines import generate_line
from tests.flows.adapted_home import score_request
from tests.parts.line_on_disk import save

SIZE, LINE = 64, "caps"
GOOD, DEFECTIVE = Verdict.GOOD, Verdict.DEFECTIVE


class Folders(NamedTuple):
    line: Path
    shots: Path


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Four good images and two defects in the line's folder; 20 good shots, four defective ones and a dark one."""
    rng = np.random.default_rng(0)
    part, _ = generate_line(8, size=SIZE).good(rng)
    for number in range(30):
        pixels = np.clip(part.astype(np.int16) + rng.integers(-12, 13, part.shape), 0, 255).astype(np.uint8)
        if number < 24:
            folder, name = "line/good" if number < 4 else "shots", f"good {number:02}.png"
        else:
            column = 4 + 8 * (number - 24)
            pixels[20:28, column : column + 7] = 255 - pixels[20:28, column : column + 7]
            folder, name = "line/defect/spot" if number < 26 else "shots", f"bad {number}.png"
        save(tmp_path / folder / name, pixels)
    save(tmp_path / "shots/dark.png", np.zeros((SIZE, SIZE, 3), np.uint8))
    return Folders(tmp_path / "line", tmp_path / "shots")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("LINEWISE_DATABASE_URL", raising=False)
    monkeypatch.setenv("LINEWISE_HOME", str(tmp_path / "home"))
    return load_settings()


def request_of(folders: Folders, **changes: Any) -> AdaptRequest:
    return AdaptRequest.asked(line=LINE, images=folders.line, size=SIZE, **changes)


def say(settings: Settings, verdict: Verdict, *paths: Path, by: str | None = None) -> None:
    with ResultStore(settings.database) as store:
        store.add_verdicts(verdict_on(path, LINE, verdict, by=by) for path in paths)


def known(folders: Folders, settings: Settings, **changes: Any) -> KnownLine:
    return know_line(request_of(folders, **changes), settings)


# --- verdicts -------------------------------------------------------------------------------------------------------


def test_judged_images_are_the_line_s_behind_those_of_its_folder(folders: Folders, settings: Settings):
    good, bad = folders.shots / "good 07.png", folders.shots / "bad 27.png"
    say(settings, DEFECTIVE, good, bad)
    say(settings, GOOD, good, folders.line / "good/good 00.png")
    say(settings, DEFECTIVE, folders.line / "defect/spot/bad 24.png")
    found = known(folders, settings, verdicts=True)
    plain = known(folders, settings)
    assert found.line.train_good[:-1] == plain.line.train_good
    assert found.line.defects[:-1] == plain.line.defects
    added = found.line.train_good[-1], found.line.defects[-1]
    assert [(record.path, record.is_defect, record.mask_path) for record in added] == [
        (good, False, None),
        (bad, True, None),
    ]
    assert found.by_verdict == {good, bad}
    assert found.left_out.sentences == plain.left_out.sentences
    assert not plain.by_verdict


def test_a_box_round_a_defect_is_its_mask_and_its_kind_the_one_that_was_named(folders: Folders, settings: Settings):
    bad, other, good = (folders.shots / name for name in ("bad 27.png", "bad 28.png", "good 07.png"))
    words = [
        verdict_on(bad, LINE, DEFECTIVE)._replace(kind="scratch", box=[-3, 20.4, 30.2, 900]),
        verdict_on(other, LINE, DEFECTIVE)._replace(kind="good", box=[70, 0, 5, 5]),
        verdict_on(good, LINE, GOOD)._replace(kind="scratch", box=[1, 2, 3, 4]),
    ]
    with ResultStore(settings.database) as store:
        store.add_verdicts(words)
    found = {record.path: record for record in (known(folders, settings, verdicts=True)).line.defects}
    assert (found[other].kind, found[other].mask_path) == ("defect", None), "outside the image, and no kind of defect"
    assert found[bad].kind == "scratch"
    mask = read_defect_mask(found[bad])
    assert mask is not None
    expected = np.zeros((SIZE, SIZE), bool)
    expected[20:, :27] = True
    assert np.array_equal(mask, expected)
    result = job.run(request_of(folders, verdicts=True), settings)
    assert (result.bundle.manifest.support.masks, result.bundle.manifest.support.defects_by_verdict) == (1, 2)


def test_verdicts_on_images_that_are_gone_or_changed_are_told_and_counted(folders: Folders, settings: Settings):
    gone, changed, again = (folders.shots / f"good {number:02}.png" for number in (5, 6, 7))
    say(settings, GOOD, gone, changed, again)
    gone.unlink()
    changed.write_bytes(again.read_bytes())
    found = known(folders, settings, verdicts=True)
    assert found.by_verdict == {again}
    assert found.left_out.sentences[-2:] == (
        f"1 verdict is left out, as its image is gone: {gone}.",
        f"1 verdict is left out, as another image has its name: {changed}.",
    )
    assert found.left_out.counts["with a verdict but gone"] == 1
    assert found.left_out.counts["with a verdict but changed"] == 1


@pytest.mark.parametrize(
    ("name", "verdict", "folder_says"),
    [("good/good 00.png", DEFECTIVE, "good"), ("defect/spot/bad 24.png", GOOD, "defective")],
)
def test_a_verdict_against_the_folder_is_a_sentence_that_names_both(
    folders: Folders, settings: Settings, name: str, verdict: Verdict, folder_says: str
):
    copy = folders.shots / "copy.png"
    copy.write_bytes((folders.line / name).read_bytes())
    say(settings, verdict, copy, by="Ada")
    with pytest.raises(LineError) as caught:
        known(folders, settings, verdicts=True)
    assert str(caught.value) == (
        f"expected every image either good or defective, got {folders.line / name} as {folder_says} and Ada's verdict "
        f"on the same image, {copy}, as {verdict}: move the file, or say the other verdict with linewise verdicts add"
    )


def test_without_a_verdict_that_is_said_and_without_the_switch_no_store_is_opened(folders: Folders, settings: Settings):
    plain = known(folders, settings)
    assert not Path(settings.home / "results.sqlite").exists()
    found = known(folders, settings, verdicts=True)
    assert found.line == plain.line
    assert found.left_out.sentences[-1] == "The result store has no verdict on images of caps."


def test_a_bundle_learns_from_verdicts_and_says_so(folders: Folders, settings: Settings):
    good = [folders.shots / f"good {number:02}.png" for number in (4, 5, 6)]
    bad = folders.shots / "bad 29.png"
    say(settings, GOOD, *good)
    say(settings, DEFECTIVE, bad)
    result = job.run(request_of(folders, verdicts=True, unlabelled=folders.shots), settings)
    support = result.bundle.manifest.support
    assert (result.good, result.defects) == (7, 3)
    assert (support.good_by_verdict, support.defects_by_verdict, support.masks) == (3, 1, 0)
    assert list(support.good[4:7]) == [sha256_file(path) for path in good]
    assert support.defects[2] == sha256_file(bad)
    unlabelled = {*support.taken_up, *support.not_taken_up}
    assert len(unlabelled) == 25 - 4
    assert not unlabelled & {sha256_file(path) for path in (*good, bad)}
    facts = {fact.key: fact.value for fact in all_facts(result.bundle.manifest)}
    assert facts["by_verdict"] == "3 good, 1 defective"
    assert facts["good"] == "7"


def test_a_judged_image_that_cannot_be_read_is_left_out_by_its_whole_path(folders: Folders, settings: Settings):
    damaged = folders.shots / "damaged.png"
    whole = (folders.shots / "good 04.png").read_bytes()
    damaged.write_bytes(whole[:200] + bytes(1000) + whole[1200:])  # still a PNG by its chunks
    say(settings, GOOD, damaged)
    result = job.run(request_of(folders, verdicts=True), settings)
    assert result.good == 4
    assert [remark for remark in result.remarks if f"{damaged.as_posix()} (" in remark]
    assert result.bundle.manifest.support.left_out["not usable"] == 1


# --- production -----------------------------------------------------------------------------------------------------


def note(settings: Settings, rows: list[tuple[Path, dict[str, Any]]]) -> None:
    """Rows as scoring writes them, an hour ago unless it is said."""
    plain = {
        "line": LINE,
        "bundle_version": "1",
        "status": ResultStatus.SCORED,
        "reason": None,
        "score": 0.5,
        "decision": Decision.PASS,
        "reject_threshold": 1.0,
        "review_threshold": 0.9,
        "overlay_path": None,
    }
    with ResultStore(settings.database) as store:
        run = store.runs(limit=1)
        for number, (path, changes) in enumerate(rows):
            bundle_id = f"{number:064x}"
            values = {"image_path": str(path), "image_sha256": sha256_file(path), "bundle_id": bundle_id, **plain}
            values |= {"run_id": run[0].id, "scored_at": datetime.now(UTC) - timedelta(hours=1), **changes}
            store.add([NewResult(**values)])


@pytest.fixture
def adapted(folders: Folders, settings: Settings) -> AdaptResult:
    """The line's first version, with a run of it that scored two images."""
    result = job.run(request_of(folders), settings)
    score.run(score_request(folders.line, line=LINE, images=folders.line / "defect"), settings)
    return result


def production(folders: Folders, settings: Settings, hours: float) -> list[str]:
    found = known(folders, settings, production_hours=hours).production
    assert found is not None
    for file in found.files:
        assert file.sha256 is not None
    return sorted(file.path.name for file in found.files if file.path.parent == folders.shots)


def test_images_of_the_last_hours_whatever_their_decision_but_none_unlike_the_line_and_none_without_a_score(
    folders: Folders, settings: Settings, adapted: AdaptResult
):
    shots = [folders.shots / f"good {number:02}.png" for number in range(4, 12)]
    unlike = {"decision": Decision.REVIEW, "reason": f"{UNLIKE}: dark"}
    rows: list[tuple[Path, dict[str, Any]]] = [
        (shots[0], {}),
        (shots[1], {"decision": Decision.REJECT, "score": 2.0}),
        (shots[2], {"decision": Decision.REVIEW}),
        (shots[3], unlike),
        (shots[4], {"score": None, "decision": Decision.REVIEW, "reason": "no finite score"}),
        (shots[5], {"line": "nuts"}),
        (shots[6], {"scored_at": datetime.now(UTC) - timedelta(hours=30)}),
        (shots[0], {}),
        (shots[7], unlike),
        (shots[7], {}),
    ]
    note(settings, rows)
    names = ["good 04.png", "good 05.png", "good 06.png", "good 11.png"]
    assert production(folders, settings, 24) == names, "each content once, as the latest version saw it"
    assert production(folders, settings, 48) == [*names[:3], "good 10.png", names[3]]
    assert production(folders, settings, 0.5) == []


def test_adaptation_takes_up_what_was_scored_and_leaves_out_defects(
    folders: Folders, settings: Settings, adapted: AdaptResult, capsys: pytest.CaptureFixture[str]
):
    score.run(score_request(folders.line, line=LINE, images=folders.shots), settings)
    say(settings, DEFECTIVE, folders.shots / "bad 26.png")
    request = request_of(folders, production_hours=1)
    result = job.run(request, settings)
    support = result.bundle.manifest.support
    names = {sha256_file(path): path.name for path in folders.shots.iterdir()}
    seen = {names[sha256] for sha256 in (*support.taken_up, *support.not_taken_up)}
    with ResultStore(settings.database) as store:
        rows = store.stream(line=LINE)
        unlike = {Path(row.image_path).name for row in rows if (row.reason or "").startswith(UNLIKE)}
    assert "dark.png" in unlike
    assert seen == {*names.values()} - unlike - {"bad 26.png"}
    assert not any(names[sha256].startswith("bad") for sha256 in support.taken_up)
    assert support.not_taken_up
    assert len(support.taken_up) > 12
    assert support.defects_by_verdict == 0
    capsys.readouterr()
    show.show(request, result)
    told = capsys.readouterr().out
    assert any(f"    {folders.shots / names[sha256]}: " in told for sha256 in support.not_taken_up)

    both = job.run(request.model_copy(update={"verdicts": True, "max_unlabelled": 8}), settings)
    assert both.bundle.manifest.support.defects_by_verdict == 1
    assert len(both.bundle.manifest.support.taken_up) + len(both.bundle.manifest.support.not_taken_up) == 8


def test_hours_without_an_image_are_a_sentence(folders: Folders, settings: Settings):
    with pytest.raises(LineError) as caught:
        job.run(request_of(folders, production_hours=2.5), settings)
    assert str(caught.value) == (
        "expected unlabelled images among the images of caps that were scored in the last 2.5 hours, got none: "
        "take others, or do without"
    )
    with pytest.raises(ConfigError, match="production-hours to be greater than 0"):
        request_of(folders, production_hours=0)
