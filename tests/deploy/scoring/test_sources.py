"""Where images come from: lists and watched folders, in what they promise, and what every source refuses."""

from __future__ import annotations

import os
import signal

import pytest

from deploy.results.schema import RunStatus
from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.listing import ListSource
from deploy.scoring.sources.watch import WatchedFolder
from flows.score.requested_source import count_images, ended_by_signals
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, DeviceError, LineError, LinewiseError, StorageError
from pipeline.imaging import files
from tests.deploy.scoring.watching import Watching
from tests.parts.plant import write_image

# Folders and lists


def test_a_folder_too_large_to_sort_in_memory_keeps_its_order(tmp_path, monkeypatch):
    names = [f"{number:03}.png" for number in range(50)] + ["ü.png", os.fsdecode(b"caf\xe9.png"), "line\nend.png"]
    for name in ["inner/x.png", "inner/.hidden.png", *names]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    usual = list(files.iter_image_files(tmp_path))
    monkeypatch.setattr(files, "SORTED_IN_MEMORY", 7)
    assert list(files.iter_image_files(tmp_path)) == usual
    assert len(usual) == 54
    assert FolderSource(tmp_path, leave_out=tmp_path / "inner").total == 53


def test_what_a_folder_leaves_out_is_told(plant, tmp_path):
    write_image(plant.images / "a.png", brightness=30)
    for name in ("b.webp", "c.heic", "notes.txt", "own/d.webp"):
        (plant.images / name).parent.mkdir(exist_ok=True)
        (plant.images / name).write_bytes(b"RIFF0000WEBP")
    source, told = FolderSource(plant.images, leave_out=plant.images / "own"), []
    assert source.remarks == ()
    plant.score_source(source, on_progress=lambda progress: told.extend(progress.remarks))
    assert set(told) == set(source.remarks)
    assert source.remarks[0].startswith("2 files left out, not read as images (1 .heic, 1 .webp), such as b.webp: ")
    assert source.pictures_left_out == 2


PARTS = ("good/0.png", "train/masks/1.png", "bolts/train/good/2.png", "nuts/good/3.png", "masks of cloth/4.png")
MASKS = ("masks/0.png", "ground_truth/crack/5.png", "bolts/GT/6.png", "nuts/mask/7.png")
REGIONS = ("region.png", "nuts/region.png")


@pytest.mark.parametrize("watched", [False, True])
def test_a_lines_masks_are_no_parts_and_are_told_of(tmp_path, watched):
    for number, name in enumerate((*PARTS, *MASKS, *REGIONS)):
        write_image(tmp_path / name, brightness=30, seed=number)
    source = Watching(tmp_path, settle_seconds=0) if watched else FolderSource(tmp_path)
    given = [*source.poll(), *source.poll()] if isinstance(source, Watching) else [item.name for item in source.items()]
    assert sorted(given) == sorted(PARTS)
    (said,) = source.source.remarks if isinstance(source, Watching) else source.remarks
    assert said == (
        "bolts/GT/, ground_truth/, masks/ and 1 more left out, as masks of a line whose good parts lie beside them: "
        "where they are parts, name their folder itself."
    )
    assert FolderSource(tmp_path / "masks").total == 1


def test_a_folder_of_nothing_but_masks_says_why_it_has_no_image(tmp_path):
    write_image(tmp_path / "masks" / "0.png", brightness=30)
    (tmp_path / "good").mkdir()
    with pytest.raises(LineError, match=r"got none in .*, but masks/ left out, as masks of a line"):
        count_images(FolderSource(tmp_path))


def test_a_list_is_scored_line_by_line(plant):
    for seed, name in enumerate(["b.png", "a.png", "caf\udce9.png"]):
        write_image(plant.images / "in" / f"{seed}.png", brightness=30, seed=seed).rename(plant.images / "in" / name)
    listed = plant.images / "parts.txt"
    absolute = plant.images / "in" / "a.png"
    listed.write_bytes(b"\xef\xbb\xbfin/b.png\r\n\n" + os.fsencode(absolute) + b"\nin/caf\xe9.png\n  \nin/gone.png")
    source = ListSource(listed)
    assert source.total == 4
    summary, seen = plant.score_source(source)
    assert [result.name for result in seen] == ["in/b.png", str(absolute), "in/caf\udce9.png", "in/gone.png"]
    assert (summary.counts.scored, summary.counts.unreadable) == (3, 1)
    assert summary.unreadable_files[0].reason.endswith("no such file: check the path (line 6 of parts.txt)")
    assert plant.store.runs()[0].folder == str(listed)
    assert plant.score_source(FolderSource(plant.images))[0].counts.skipped == 3, (
        "one content, one score, whatever names it"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"a\0b.png", "a path in line 2 of .*, got one with a zero byte"),
        (b"x" * 5000, "a path in line 2 of .*, got one of more than 4096 characters"),
        (b"rtsp://me:geheim@cam/1", "a file's path in line 2 of .*, got a URL"),
    ],
)
def test_a_line_that_is_no_path_is_named(tmp_path, line, words):
    (tmp_path / "list.txt").write_bytes(b"fine.png\n" + line + b"\n")
    with pytest.raises(ConfigError, match=words) as refused:
        _ = ListSource(tmp_path / "list.txt").total
    assert "geheim" not in str(refused.value)


# Watching


def test_a_file_is_taken_when_it_is_complete(tmp_path):
    watching = Watching(tmp_path)
    part = tmp_path / "a.png"
    part.write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"no image")
    assert watching.poll() == []
    assert watching.poll(0.9) == []
    part.write_bytes(b"half and more")  # the camera goes on: its second begins again
    assert watching.poll(0.9) == []
    assert watching.poll(0.9) == []
    assert watching.poll(0.2) == ["a.png"]
    assert watching.poll(5) == []
    part.write_bytes(b"half and more, and then the rest")  # it had only paused
    assert watching.poll() == []
    assert watching.poll(1) == ["a.png"]
    assert watching.poll(90) == []


def test_a_renamed_file_is_taken_at_once(tmp_path):
    watching = Watching(tmp_path)
    (tmp_path / ".a.png.part").write_bytes(b"whole")
    assert watching.poll() == []
    (tmp_path / ".a.png.part").rename(tmp_path / "a.png")
    assert watching.poll() == ["a.png"]
    (tmp_path / "b.tmp").write_bytes(b"half")
    assert watching.poll() == []
    (tmp_path / "b.tmp").write_bytes(b"whole")
    (tmp_path / "b.tmp").rename(tmp_path / "b.png")  # written to since the last poll: it has to settle
    assert watching.poll() == []
    assert watching.poll(1) == ["b.png"]


def test_a_folders_files_are_given_again_on_demand(tmp_path):
    watching = Watching(tmp_path)
    for name in ("a/1.png", "a/b/2.png", "3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert watching.poll() == []
    assert len(watching.poll(1)) == 3
    assert watching.poll(90) == []
    watching.source.again({"a"})
    assert watching.poll(1) == ["a/1.png"], "files of other folders, and of those below, stay taken"


def test_what_stays_under_no_images_name_is_told_once(tmp_path):
    watching = Watching(tmp_path)
    for name in ("a.webp", "b.webp", "c.png.part", "frame", "notes.txt", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"x")
    watching.poll()
    watching.poll(50)
    assert watching.source.remarks == [], "they may still be renamed"
    (tmp_path / "c.png.part").rename(tmp_path / "c.png")
    assert watching.poll(15) == ["c.png"]
    watching.poll(90)
    first, second = sorted(watching.source.remarks)
    assert first.startswith("Files of .webp are left out, not read as images, such as ")
    assert second.startswith("Files without a suffix are left out, not read as images, such as frame: what is read is ")


def test_files_and_folders_come_and_go(tmp_path):
    watching = Watching(tmp_path, leave_out=tmp_path / "overlays")
    for name in ("late/deep/2.png", "late/1.png", "overlays/x.png", "gone.png", ".hidden/3.png", "empty.png",
                 "@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", "late/#recycle/1.png", "__MACOSX/._1.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == "empty.png" else name.encode())
    os.utime(tmp_path / "late/1.png", ns=(0, 2_000))
    os.utime(tmp_path / "late/deep/2.png", ns=(0, 1_000))
    (tmp_path / "late" / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere")
    assert watching.poll() == []
    (tmp_path / "gone.png").unlink()
    assert watching.poll(1) == ["late/deep/2.png", "late/1.png"], "as they were written"
    away = tmp_path.with_name("away")
    tmp_path.rename(away)  # a share that is not there for a while
    assert watching.poll() == []
    away.rename(tmp_path)
    (tmp_path / "late/1.png").unlink()
    assert watching.poll(1) == [], "nothing is taken twice"
    assert "could not be listed for a while (No such file or directory)" in watching.source.remarks[0]
    assert len(watching.source._taken) == 1, "what is gone is forgotten"


def test_a_watched_folder_is_scored_until_a_signal_ends_it(plant):
    write_image(plant.images / "0.png", brightness=10, seed=0)
    source = WatchedFolder(plant.images, settle_seconds=0.05)
    told: list[int] = []

    def carry_on(result: ImageResult, _: ImageView | None) -> None:
        told.append(len(told))
        if result.name == "0.png":
            write_image(plant.images / "later" / "1.png", brightness=250, seed=1)
            (plant.images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        if len(told) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with ended_by_signals(source):
        summary, _ = plant.score_source(source, on_result=carry_on, batch_size=4)  # which never fills
    assert signal.getsignal(signal.SIGTERM) == before
    assert (summary.counts.scored, summary.counts.unreadable, summary.counts.decisions[Decision.REJECT]) == (2, 1, 1)
    (run,) = plant.store.runs()
    assert (run.status, run.scored) == (RunStatus.FINISHED, 2)
    assert len(plant.store.query()) == 3


def test_a_folder_to_watch_must_be_there(tmp_path):
    with pytest.raises(StorageError, match=r"expected a folder to watch, got no folder .*/nowhere: check the path"):
        WatchedFolder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="expected a folder to watch, got a file: check the path"):
        WatchedFolder(tmp_path / "file")


# What is refused


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        ("ftp://me:geheim@cam/1", {}, ConfigError, "begins with 'ftp'"),
        ("concat:a|b", {}, LineError, "no folder concat:a|b"),
        ("rtsp://me:ge/heim@cam/1", {}, ConfigError, "without a usable host"),
        ("rtsp://me:geheim@cam:x/1", {}, ConfigError, "without a usable host"),
        ("rtsp://me:geheim@", {}, ConfigError, "without a usable host"),
        ("rtsp://me:geheim@127.0.0.1:9/1", {}, StorageError, "a stream at rtsp://127.0.0.1:9/1, got none that opens"),
        ("rtsp://cam/1", {"watch": True}, ConfigError, "leave watch out"),
        ("camera:63", {}, DeviceError, "a camera 63, got none that opens"),
        ("{}/nowhere", {}, LineError, "no folder"),
        ("{}/nowhere", {"watch": True}, ConfigError, "a folder to watch, got no folder"),
        ("{}/a.pdf", {}, LineError, "another file"),
        ("{}/a.pdf", {"watch": True}, ConfigError, "a folder to watch, got a file"),
        ("{}/a.txt", {"sampling": Sampling()}, ConfigError, "every with a video or a stream, got a list"),
        ("{}", {"sampling": Sampling()}, ConfigError, "every with a video or a stream, got a folder"),
    ],
)
def test_a_source_is_refused_in_one_sentence(tmp_path, capfd, source, options, error, words):
    for name in ("a.pdf", "a.txt"):
        (tmp_path / name).touch()
    with pytest.raises(error) as refused:
        open_source(source.format(tmp_path), **options)
    assert isinstance(refused.value, LinewiseError)
    assert words in str(refused.value)
    assert "heim" not in str(refused.value) + "".join(capfd.readouterr())
