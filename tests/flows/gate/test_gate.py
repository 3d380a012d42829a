"""The gate: a worse version is held and the live one stays as it is, an equal one goes live."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from deploy.bundles.contested_images import contested_images
from deploy.bundles.registry import Registry
from deploy.bundles.version_decisions import Ruling
from deploy.engine.devices import open_device
from deploy.results.schema import QuestionKind, Verdict
from deploy.results.store import ResultStore
from deploy.results.verdict_files import verdict_on
from flows.adapt import job as adapt
from flows.adapt.request import AdaptRequest
from flows.calibrate.new_images import Kind
from flows.gate import job
from flows.gate.evidence import EvidenceImage
from flows.gate.job import compare_versions
from flows.gate.paired_scores import LEAST_TIMED, score_pairs
from flows.gate.request import ComparedOn, GateRequest
from flows.gate.resident_memory import resident_bytes
from flows.score import job as score
from flows.score.request import ScoreRequest
from flows.threshold import job as threshold
from flows.threshold.request import LARGEST_SCORE, ThresholdRequest
from pipeline.errors import ConfigError
from pipeline.held_back import is_held_back
from pipeline.settings import Device, Settings, load_settings
from pipeline.storage import sha256_file
from tests.flows.conftest import use_home
from tests.parts.spotted_line import SIZE, write_spotted_line

LINE = "caps"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good images to learn from, and 24 good and 16 defective ones of which adaptation takes a few defects."""
    return write_spotted_line(tmp_path_factory.mktemp("lines") / "caps", good=6, test_good=24, defects=16)


@pytest.fixture(scope="module")
def adapted_home_of_caps(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        use_home(home, patch)
        assert adapt.run(request_of(folder, defects=4), load_settings()).live
    return home


@pytest.fixture
def settings(adapted_home_of_caps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of this test alone with one live version of the line."""
    use_home(shutil.copytree(adapted_home_of_caps, tmp_path / "home"), monkeypatch)
    return load_settings()


def request_of(folder: Path, **changes: object) -> AdaptRequest:
    return AdaptRequest.asked(**({"line": LINE, "images": folder, "size": SIZE} | changes))


def with_defects_as_good(folder: Path, copy: Path) -> Path:
    """A folder whose good images are defective, as somebody may mix them up."""
    mixed = write_spotted_line(copy / "mixed", good=0, defects=16, seed=1)
    shutil.copytree(folder / "train", copy / "train")
    for path in (mixed / "test" / "spot").iterdir():
        shutil.copy(path, copy / "train" / "good" / f"wrong_{path.name}")
    return copy


def test_a_version_that_learned_defects_as_good_is_held_and_the_live_one_stays(
    settings: Settings, folder: Path, tmp_path: Path
) -> None:
    registry = Registry(settings.home)
    live = registry.live(LINE)
    pointer = (registry.home / "lines" / LINE / "live.json").read_bytes()
    bad = adapt.run(request_of(with_defects_as_good(folder, tmp_path / "bad"), defects=0, promote=False), settings)
    result = job.run(GateRequest(line=LINE, images=folder, device=Device.CPU), settings)
    assert not result.live
    assert any("held-back defects, the live version" in reason for reason in result.reasons), result.reasons
    assert result.comparison.candidate == bad.bundle.manifest.version
    assert registry.live(LINE) == live
    assert (registry.home / "lines" / LINE / "live.json").read_bytes() == pointer
    noted = registry.decisions(LINE)[-1]
    assert (noted.version, noted.ruling, noted.by, noted.why) == (
        bad.bundle.manifest.version,
        Ruling.HELD,
        "gate",
        result.reasons,
    )
    assert result.sentence.startswith(f"held: {LINE} {noted.version} is not promoted, as ")


def test_no_image_is_judged_by_a_version_that_learned_it(settings: Settings, folder: Path) -> None:
    adapt.run(request_of(folder, defects=6, promote=False), settings)
    result = job.run(GateRequest(line=LINE, images=folder, promote=False), settings)
    registry = Registry(settings.home)
    learned = set()
    for record in registry.versions(LINE):
        assert record.manifest is not None
        learned |= {*record.manifest.support.good, *record.manifest.support.defects}
    compared = {pair.image.sha256 for pair in result.comparison.pairs}
    assert compared
    assert not compared & learned
    everything = {sha256_file(path) for path in folder.rglob("*.png")}
    assert compared == everything - learned


def test_what_was_rolled_back_is_not_promoted_again_nor_its_twin(settings: Settings, folder: Path) -> None:
    registry = Registry(settings.home)
    first = registry.live_version(LINE)
    candidate = adapt.run(request_of(folder, defects=5, promote=False), settings).bundle.manifest.version
    result = job.run(GateRequest(line=LINE, images=folder), settings)
    assert result.reasons == ()
    assert registry.live_version(LINE) == candidate
    assert result.sentence == f"promoted: {LINE} {candidate} is live."
    with pytest.raises(ConfigError, match="not live"):
        job.run(GateRequest(line=LINE, candidate=candidate), settings)
    registry.roll_back(LINE, by="Ada", why="misses scratches")
    again = job.run(GateRequest(line=LINE, candidate=candidate, images=folder), settings)
    assert again.reasons == ("it was rolled back: only a person may promote it again",)
    twin = adapt.run(request_of(folder, defects=5, gate=True), settings)
    assert twin.gate is not None
    assert twin.gate.reasons == (f"it is equal to {candidate}, which was rolled back: only a person may promote it",)
    assert registry.live_version(LINE) == first


def test_a_damaged_candidate_is_held(settings: Settings, folder: Path) -> None:
    candidate = adapt.run(request_of(folder, defects=5, promote=False), settings).bundle
    candidate.head_path.write_bytes(b"no graph")
    result = job.run(GateRequest(line=LINE, images=folder), settings)
    assert "head.onnx" in result.sentence
    assert not result.live


def test_without_anything_to_compare_on_a_candidate_is_held(settings: Settings, folder: Path) -> None:
    adapt.run(request_of(folder, defects=5, promote=False), settings)
    result = job.run(GateRequest(line=LINE), settings)
    assert result.reasons == ("there is no image to compare on that neither version has learned",)


def test_verdicts_and_the_production_are_compared_on(settings: Settings, folder: Path) -> None:
    good = sorted((folder / "test" / "good").iterdir())
    score.run(ScoreRequest(line=LINE, images=str(folder / "test" / "good"), device=Device.CPU, workers=1), settings)
    with ResultStore(settings.database) as store:
        store.add_verdicts(verdict_on(path, LINE, Verdict.GOOD) for path in good[:3])
    adapt.run(request_of(folder, defects=5, promote=False), settings)
    result = job.run(GateRequest(line=LINE, promote=False), settings)
    kinds = [pair.image.kind.value for pair in result.comparison.pairs]
    assert (kinds.count("good"), kinds.count("unlabelled")) == (3, len(good) - 3)
    assert result.sentence.startswith("passed: ")
    assert not result.live


@pytest.fixture
def held(settings: Settings, tmp_path: Path) -> str:
    """A version that finds the spots of the production, which the live one, whose threshold somebody raised, passes."""
    candidate = Registry(settings.home).live_version(LINE)
    assert candidate is not None
    threshold.run(ThresholdRequest(line=LINE, reject=LARGEST_SCORE, review=LARGEST_SCORE, why="a test"), settings)
    production = write_spotted_line(tmp_path / "production", good=0, test_good=40, defects=30, seed=7)
    score.run(ScoreRequest(line=LINE, images=str(production), device=Device.CPU, workers=1), settings)
    return candidate


def answer(settings: Settings, count: int, verdict: Verdict | None = None) -> None:
    """What the review page asks about as contested, in its order; None: as the image is."""
    with ResultStore(settings.database) as store:
        rows = {row.image_sha256: row for row in store.query(line=LINE)}
        for sha256 in sorted(contested_images(settings.home, LINE))[:count]:
            path = Path(rows[sha256].image_path)
            said = verdict or (Verdict.DEFECTIVE if path.parent.name == "spot" else Verdict.GOOD)
            store.add_verdicts([verdict_on(path, LINE, said)._replace(question=QuestionKind.CONTESTED)])


def test_a_held_version_goes_through_once_people_say_that_what_it_flags_is_defective(
    settings: Settings, held: str
) -> None:
    request = GateRequest(line=LINE, candidate=held, device=Device.CPU)
    result = job.run(request, settings)
    (reason,) = result.reasons
    assert not result.live
    asked = len(contested_images(settings.home, LINE))
    assert 20 < asked <= 35
    assert f"only it flags {asked} of them: say on the review page what they show" in reason
    needed = int(re.findall(r"about (\d+) answers decide", reason)[0])
    assert 3 < needed < asked
    answer(settings, 3)
    (reason,) = job.run(request, settings).reasons
    assert "3 of 3 that people spoke of are defective so far" in reason
    assert "(look 2 at it: " in reason
    assert len(contested_images(settings.home, LINE)) == asked - 3, "nobody is asked twice"
    answer(settings, asked)
    result = job.run(request, settings)
    assert result.reasons == ()
    assert result.live
    assert Registry(settings.home).live_version(LINE) == held
    assert contested_images(settings.home, LINE) == (), "of a version that is live, nothing is contested"


def test_a_held_version_stays_held_where_people_say_that_what_it_flags_is_good(settings: Settings, held: str) -> None:
    request = GateRequest(line=LINE, candidate=held, device=Device.CPU)
    job.run(request, settings)
    asked = len(contested_images(settings.home, LINE))
    answer(settings, asked, Verdict.GOOD)
    result = job.run(request, settings)
    assert not result.live
    (reason,) = result.reasons
    assert f"0 of {asked} that people spoke of are defective, which does not explain them either" in reason


def test_a_held_version_is_not_let_through_by_other_images_alone(settings: Settings, held: str, tmp_path: Path) -> None:
    """The production that held it is cleared away, and what comes next happens to show good parts only."""
    request = GateRequest(line=LINE, candidate=held, device=Device.CPU)
    (first,) = job.run(request, settings).reasons
    shutil.rmtree(tmp_path / "production")
    lucky = write_spotted_line(tmp_path / "lucky", good=0, test_good=20, defects=0, seed=8)
    score.run(ScoreRequest(line=LINE, images=str(lucky), device=Device.CPU, workers=1), settings)
    result = job.run(request, settings)
    (reason,) = result.reasons
    flagged = len(result.comparison.changed)
    before = re.match(r"it flags (\d+) of (\d+) images of the production", first)
    assert before is not None
    assert (flagged, len(result.comparison.pairs)) == (int(before[1]), int(before[2]) + 20)
    assert reason.startswith(f"it flags {flagged} of {len(result.comparison.pairs)} images of the production")
    assert reason.endswith("(look 2 at it: the images of all looks count, so that more of them, or answers, decide)")
    assert contested_images(settings.home, LINE) == (), "nobody is asked about what is gone"
    assert not result.live
    assert not result.comparison.left_out


def test_adapt_behind_the_gate_holds_images_back(home: Path, tmp_path: Path) -> None:
    folder = write_spotted_line(tmp_path / "many", good=40, defects=4)
    result = adapt.run(request_of(folder, gate=True), load_settings())
    contents = {sha256_file(path) for path in (folder / "train" / "good").iterdir()}
    held_back = {content for content in contents if is_held_back(content)}
    assert held_back
    assert set(result.bundle.manifest.support.good) == contents - held_back
    assert result.gate is not None
    assert {pair.image.sha256 for pair in result.gate.comparison.pairs} == held_back
    assert result.live, result.gate.sentence
    assert f"{len(held_back)} of 44 labelled images are held back to compare versions on." in result.remarks


def test_two_versions_are_compared_for_a_person(settings: Settings, folder: Path) -> None:
    registry = Registry(settings.home)
    first = registry.live_version(LINE)
    assert first is not None
    second = adapt.run(request_of(folder, defects=5, promote=False), settings).bundle.manifest.version
    before = registry.decisions(LINE)
    comparison = compare_versions(LINE, second, first, ComparedOn(images=folder), settings)
    assert (comparison.candidate, comparison.live) == (second, first)
    assert len(comparison.pairs) > 20
    (memory,) = [check for check in comparison.checks if check.what == "memory that scoring takes"]
    assert all(5 < float(told.removesuffix(" MiB")) < 500 for told in (memory.live, memory.candidate))
    assert registry.decisions(LINE) == before


def test_memory_is_measured_beside_packages_of_our_names(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("flows", "deploy"):
        (own := tmp_path / "own" / package).mkdir(parents=True)
        (own / "__init__.py").write_text("raise SystemExit('what a user keeps here')\n")
    monkeypatch.chdir(tmp_path / "own")
    (measured,) = resident_bytes([Registry(settings.home).deployment(LINE)])
    assert measured is not None
    assert measured > 1_000_000


def test_few_images_are_timed_again_and_no_time_counts_of_what_cannot_be_scored(
    settings: Settings, folder: Path, tmp_path: Path
) -> None:
    version, device = Registry(settings.home).deployment(LINE), open_device(Device.CPU, settings)
    shots = [Path(shutil.copy(path, tmp_path)) for path in sorted((folder / "train" / "good").iterdir())[:3]]
    images = [EvidenceImage(name=p.name, path=p, sha256=sha256_file(p), kind=Kind.GOOD) for p in shots]
    shots[1].unlink()
    scored = score_pairs(version, version, images, device, settings, lambda _done, _of: None)
    assert [pair.image.name for pair in scored.pairs] == [shots[0].name, shots[2].name]
    assert list(scored.left_out.values()) == [1]
    assert len(scored.times) == LEAST_TIMED
    assert all(one.live is not None and 0 < one.candidate < 60 for one in scored.times)
    nothing = score_pairs(version, None, images[1:2], device, settings, lambda _done, _of: None)
    assert not nothing.pairs
    assert not nothing.times
