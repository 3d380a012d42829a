"""Videos: which frames are scored, what is refused, and what is left of one that ends early."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
import simplejpeg

from deploy.results.schema import ResultStatus
from deploy.scoring.image_result import ImageView
from deploy.scoring.sources.capture import Sampling, open_capture, parse_sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.video import VideoFile
from flows.progress import Progress
from flows.score import job as score_job
from flows.score.request import ScoreRequest
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, ImageError
from pipeline.imaging.images import ImageLimits, PreprocessSpec, decode_frame, read_image
from pipeline.settings import Device, load_settings
from tests.deploy.scoring.videos import frame, write_video
from tests.deploy.scoring_plant import LINE
from tests.parts.plant import write_plant


def test_a_video_is_scored_frame_by_frame(plant):
    clip = write_video(plant.root / "clip.avi")
    source = VideoFile(clip, Sampling(frames=10))
    assert source.total == 4
    views: list[ImageView | None] = []
    summary, _ = plant.score_source(source, overlays=plant.root / "o", on_result=lambda _, view: views.append(view))
    np.testing.assert_allclose(summary.scores, np.array([9, 50, 100, 150]) / 255, atol=0.04)
    assert summary.counts.decisions == {Decision.PASS: 3, Decision.REVIEW: 1, Decision.REJECT: 0}
    (worst,) = summary.flagged
    assert (worst.name, worst.path, worst.location) == ("clip.avi#30", clip.with_name("clip.avi#30"), f"{clip}#30")
    assert worst.overlay_path is not None
    picture = cv2.imread(str(worst.overlay_path))
    assert picture is not None
    assert picture.shape == (48, 64, 3), "at the frame's own size"
    assert views[1] is not None
    assert worst.sha256 == hashlib.sha256(views[3].pixels.tobytes()).hexdigest()
    again, _ = plant.score_source(VideoFile(clip, Sampling(seconds=0.5)))
    assert (again.counts.found, again.counts.skipped, again.duplicate_count) == (8, 4, 0), (
        "0.5 s of a 10 Hz video is 5 frames"
    )
    assert {row.image_path for row in plant.store.query()} == {f"{clip}#{index}" for index in range(0, 40, 5)}


def test_a_job_puts_frames_into_report_rows_and_maps(tmp_path):
    write_plant(tmp_path / "home")
    clip = write_video(tmp_path / "clip.avi")
    request = ScoreRequest(line=LINE, images=clip, every="10", maps=tmp_path / "maps", device=Device.CPU)
    told: list[Progress] = []
    result = score_job.run(request, load_settings(tmp_path / "home"), told.append)
    names = [f"clip.avi#{index}" for index in (0, 10, 20, 30)]
    assert [row["path"] for row in json.loads(result.json_path.read_text())["rows"]] == names
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"{name}.tiff" for name in names]
    assert sorted(item.name for item in result.gallery) == names
    shown = simplejpeg.decode_jpeg(result.gallery[0].image, colorspace="RGB")
    assert shown.shape == (48, 64, 3), "the frame itself, not what the model saw of it"
    assert all(name in result.report.read_text() for name in names)
    assert (told[-1].done, told[-1].total, told[-1].seconds_left) == (4, 4, 0)
    again = score_job.run(request, load_settings(tmp_path / "home"))
    assert again.summary.counts.skipped == 4
    assert [item.name for item in again.gallery] == ["clip.avi#30"], "flagged earlier, shown with that overlay"


def test_a_frame_is_seen_as_the_same_picture_in_a_file_is(tmp_path):
    pixels = frame(20, (150, 200))
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    spec = PreprocessSpec(height=32, width=48)
    from_file = read_image(tmp_path / "a.png", spec)
    np.testing.assert_array_equal(decode_frame(pixels, spec).pixels, from_file.pixels)


def test_a_video_that_ends_early_is_an_unreadable_image(plant):
    clip = write_video(plant.root / "clip.avi")
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 3 // 4])
    summary, _ = plant.score_source(VideoFile(clip, Sampling()))
    assert summary.counts.unreadable == 1
    assert "expected a video of 40 frames, got only" in summary.unreadable_files[0].reason
    assert 10 < summary.counts.scored < 40
    (row,) = plant.store.query(status=ResultStatus.UNREADABLE)
    assert row.image_path == str(clip)


def test_decode_limits_hold_for_videos(tmp_path):
    clip = write_video(tmp_path / "clip.avi", 2)
    with pytest.raises(ImageError, match="at most 1,000 pixels, got 48 x 64 pixels"):
        VideoFile(clip, Sampling(), ImageLimits(max_pixels=1000))


def test_a_video_whose_name_is_no_text_is_a_sentence(tmp_path):
    """OpenCV ended the process."""
    path = tmp_path / "clip\udcff.avi"
    path.write_bytes(b"x")
    with pytest.raises(ImageError, match=r"expected a video whose name is in UTF-8, got .*clip.xff.avi: rename it"):
        open_source(path)


def test_only_videos_open_as_videos(tmp_path):
    """ffmpeg would follow a playlist or a list of files to wherever they lead."""
    clip = write_video(tmp_path / "clip.avi", 3)
    (tmp_path / "list.ts").write_text("ffconcat version 1.0\nfile clip.avi\n")
    followed = open_capture(str(tmp_path / "list.ts"), "", ImageLimits())
    assert followed is not None, "it does, without our list of formats"
    followed.release()
    (tmp_path / "play.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    (tmp_path / "text.avi").write_text("no video")
    for name in ("list.ts", "play.mp4", "text.avi"):
        with pytest.raises(ImageError, match="one that does not open"):
            open_source(tmp_path / name)


def test_sampling_is_frames_or_seconds():
    assert parse_sampling("10") == Sampling(frames=10)
    assert parse_sampling("0.5s") == Sampling(seconds=0.5)
    for text in ("0", "0s", "-1", "1.5", "s", "1m", ""):
        with pytest.raises(ConfigError, match="every to be a number of frames"):
            parse_sampling(text)
