"""Videos and streams: which frames are scored, what happens when they break off, and where a password goes."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from deploy.results.store import ResultStatus
from deploy.scoring.scorer import ImageResult, ImageView
from deploy.scoring.sources.address import stream_address
from deploy.scoring.sources.capture import Sampling, open_capture, parse_sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.stream import LiveStream
from deploy.scoring.sources.video import VideoFile
from flows.jobs import score as score_job
from flows.jobs.progress import Progress
from flows.jobs.score_source import request_source
from flows.jobs.scoring_requests import ScoreRequest
from pipeline.calibration import Decision
from pipeline.errors import ConfigError, ImageError, StorageError
from pipeline.imaging.images import ImageLimits, PreprocessSpec, fit_frame, read_image
from pipeline.settings import DeviceName, load_settings
from tests.deploy.scoring.rtsp_camera import rtsp_camera
from tests.deploy.scoring.scoring_plant import LINE, Plant, open_plant
from tests.parts.plant import write_plant


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with open_plant(tmp_path) as plant:
        yield plant


def frame(number: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame whose brightest cell is 5 a number."""
    pixels = np.random.default_rng(number).integers(0, 9, (*size, 3), dtype=np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = 5 * number
    return pixels


def write_video(path: Path, count: int = 40, codec: str = "MJPG") -> Path:
    """A video of 10 frames a second."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 10, (64, 48))
    assert writer.isOpened()
    for number in range(count):
        writer.write(frame(number % 50))
    writer.release()
    return path


# Videos


def test_a_video_is_scored_frame_by_frame(plant):
    clip = write_video(plant.root / "clip.avi")
    source = VideoFile(clip, Sampling(frames=10))
    assert source.total == 4
    views: list[ImageView | None] = []
    summary, _ = plant.score_source(source, overlays=plant.root / "o", on_result=lambda _, view: views.append(view))
    np.testing.assert_allclose(summary.scores, np.array([9, 50, 100, 150]) / 255, atol=0.04)
    assert summary.decisions == {Decision.PASS: 3, Decision.REVIEW: 1, Decision.REJECT: 0}
    (worst,) = summary.flagged
    assert (worst.name, worst.path, worst.location) == ("clip.avi#30", clip.with_name("clip.avi#30"), f"{clip}#30")
    assert worst.overlay_path is not None
    picture = cv2.imread(str(worst.overlay_path))
    assert picture is not None
    assert picture.shape == (48, 64, 3), "at the frame's own size"
    assert views[1] is not None
    assert worst.sha256 == hashlib.sha256(views[3].pixels.tobytes()).hexdigest()
    again, _ = plant.score_source(VideoFile(clip, Sampling(seconds=0.5)))
    assert (again.found, again.skipped, again.duplicate_count) == (8, 4, 0), "0.5 s of a 10 Hz video is 5 frames"
    assert {row.image_path for row in plant.store.query()} == {f"{clip}#{index}" for index in range(0, 40, 5)}


def test_a_job_puts_frames_into_report_rows_and_maps(tmp_path):
    write_plant(tmp_path / "home")
    clip = write_video(tmp_path / "clip.avi")
    request = ScoreRequest(line=LINE, images=clip, every="10", maps=tmp_path / "maps", device=DeviceName.CPU)
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
    assert again.summary.skipped == 4
    assert [item.name for item in again.gallery] == ["clip.avi#30"], "flagged earlier, shown with that overlay"


def test_a_frame_is_seen_as_the_same_picture_in_a_file_is(tmp_path):
    pixels = frame(20, (150, 200))
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    spec = PreprocessSpec(height=32, width=48)
    from_file = read_image(tmp_path / "a.png", spec)
    np.testing.assert_array_equal(fit_frame(pixels, spec), from_file.pixels)


def test_a_video_that_ends_early_is_an_unreadable_image(plant):
    clip = write_video(plant.root / "clip.avi")
    whole = clip.read_bytes()
    clip.write_bytes(whole[: len(whole) * 3 // 4])
    summary, _ = plant.score_source(VideoFile(clip, Sampling()))
    assert summary.unreadable == 1
    assert "expected a video of 40 frames, got only" in summary.unreadable_files[0].reason
    assert 10 < summary.scored < 40
    (row,) = plant.store.query(status=ResultStatus.UNREADABLE)
    assert row.image_path == str(clip)


def test_decode_limits_hold_for_videos(tmp_path):
    clip = write_video(tmp_path / "clip.avi", 2)
    with pytest.raises(ImageError, match="at most 1,000 pixels, got 48 x 64 pixels"):
        VideoFile(clip, Sampling(), ImageLimits(max_pixels=1000))


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


# Streams


@contextmanager
def served(serve: Callable[[Callable[[bytes], object]], None]) -> Iterator[str]:
    """An HTTP camera (multipart JPEG) on this machine; `serve` sends the frames of one connection. Its URL."""

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            serve(self.wfile.write)

        def log_message(self, format: str, *args: object) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

        def handle(self) -> None:
            with suppress(OSError):  # the reader hung up, as it may
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://me:geheim@127.0.0.1:{server.server_address[1]}/line1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def stored_bytes(plant: Plant) -> bytes:
    """Everything that the result store has written, its log included."""
    return b"".join(path.read_bytes() for path in plant.root.glob("results.sqlite*"))


def part(number: int) -> bytes:
    encoded = cv2.imencode(".jpg", frame(number))[1].tobytes()
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(encoded), encoded)


def test_a_stream_that_breaks_off_is_opened_again_and_said_so(plant, capfd):
    numbers = iter(range(1, 500))

    def serve(write: Callable[[bytes], object]) -> None:
        for _ in range(12):
            write(part(next(numbers) % 40))
            time.sleep(0.01)

    with served(serve) as url:
        stream = open_source(url, sampling=Sampling(frames=2))
        assert isinstance(stream, LiveStream)

        def stop_after_a_break(result: ImageResult, _: ImageView | None) -> None:
            seen.append(result)
            if stream._losses >= 2 and len(seen) > 8:
                stream.stop()

        seen: list[ImageResult] = []
        summary, _ = plant.score_source(stream, on_result=stop_after_a_break)
    shown = url.replace("me:geheim@", "")
    assert stream.name == shown
    assert summary.scored > 0
    frames = [int(result.name.removeprefix(f"{shown}#")) for result in seen]
    assert all(number % 2 == 0 for number in frames)
    assert frames == sorted(set(frames)), "numbers go on after a break"
    assert f"{shown} broke off" in stream.remarks[0]
    rows = plant.store.query()
    assert {row.image_path for row in rows} <= {result.name for result in seen}
    assert plant.store.runs()[0].folder == shown
    assert shown.encode() in stored_bytes(plant)
    assert b"geheim" not in stored_bytes(plant)
    assert "geheim" not in "".join(capfd.readouterr())


def test_an_rtsp_camera_gets_the_password_and_nobody_else(plant, capfd):
    video = write_video(plant.root / "stream.ts", 150, "mp4v")
    with rtsp_camera(video, "me:geh@im") as port:
        with pytest.raises(StorageError, match="its user and password"):
            open_source(f"rtsp://me:wrong@127.0.0.1:{port}/line1")
        stream = open_source(f"rtsp://me:geh%40im@127.0.0.1:{port}/line1", sampling=Sampling(frames=5))
        assert isinstance(stream, LiveStream)
        seen: list[str] = []

        def enough(result: ImageResult, _: ImageView | None) -> None:
            seen.append(result.name)
            if len(seen) == 4:
                stream.stop()

        summary, _ = plant.score_source(stream, on_result=enough)
    assert summary.scored >= 4
    assert all(name.startswith(f"rtsp://127.0.0.1:{port}/line1#") and int(name[-1]) % 5 == 0 for name in seen)
    assert [run.folder for run in plant.store.runs()] == [f"rtsp://127.0.0.1:{port}/line1"]
    said = "".join(capfd.readouterr())
    for secret in ("geh", "wrong"):
        assert secret not in said
        assert secret.encode() not in stored_bytes(plant)
    assert seen[0].encode() in stored_bytes(plant), "we look in the right place"


def test_a_slow_reader_gets_the_latest_frames(plant):
    def serve(write: Callable[[bytes], object]) -> None:
        for number in range(400):
            write(part(number % 50))
            time.sleep(0.002)

    with served(serve) as url:
        stream = LiveStream(stream_address(url), Sampling())
        items = stream.items()
        taken: list[int] = []
        deadline = time.monotonic() + 60
        while len(taken) < 3 or taken[-1] - taken[0] == len(taken) - 1:
            assert time.monotonic() < deadline, "old frames are queued, not dropped"
            if (item := next(items)) is not None:
                taken.append(int(item.name.rpartition("#")[2]))
                time.sleep(0.1)
        stream.stop()
        assert list(items) == []
    assert taken == sorted(taken)
    assert "frames were not scored: the camera is faster than this machine" in stream.remarks[0]


@pytest.mark.parametrize(
    ("url", "shown", "opened"),
    [
        ("RTSP://cam7:554/line1?channel=1", "rtsp://cam7:554/line1?channel=1", None),
        ("rtsp://me:geheim@cam7/line1", "rtsp://cam7/line1", None),
        ("rtsp://me:geh@im?#@cam7/1", "rtsp://cam7/1", "rtsp://me:geh%40im%3F%23@cam7/1"),
        ("rtsp://me:geh%40im@[::1]:80/1", "rtsp://[::1]:80/1", None),
        ("http://cam/v?user=me&pwd=geheim&ch=2", "http://cam/v?user=***&pwd=***&ch=2", None),
        ("rtsp://cam/user=me_password=geheim_channel=1.sdp", "rtsp://cam/user=***_password=***_channel=1.sdp", None),
    ],
)
def test_secrets_of_a_url_are_not_shown(url, shown, opened):
    address = stream_address(url)
    assert address.shown == shown
    assert address.url == (opened or url.replace("RTSP", "rtsp"))
    assert "geh" not in f"{address!r}{address}"
    request = ScoreRequest(line="a", images=url)
    assert (request.images, request.source) == (shown, address)
    assert "geh" not in f"{request!r}{request.model_dump()}{request.model_dump_json()}"


def test_credentials_come_from_the_environment_where_prefect_carries_the_request(monkeypatch):
    monkeypatch.setenv("LINEWISE_STREAM_CREDENTIALS", "me:geheim")
    assert stream_address("rtsp://cam/1").signed_in("me:geheim").url == "rtsp://me:geheim@cam/1"
    assert stream_address("rtsp://you:x@cam/1").signed_in("me:geheim").url == "rtsp://you:x@cam/1"
    carried = ScoreRequest.model_validate_json(
        ScoreRequest(line="a", images="http://127.0.0.1:9/v?token=geheim").model_dump_json()
    )
    with pytest.raises(ConfigError, match=r"token=\*\*\*, whose secret was left out"):
        request_source(carried, load_settings(), None)
    with pytest.raises(StorageError, match=r"a stream at rtsp://127\.0\.0\.1:9/1, got none that opens") as refused:
        request_source(ScoreRequest(line="a", images="rtsp://127.0.0.1:9/1"), load_settings(), None)
    assert "geheim" not in str(refused.value)
    assert "geheim" not in repr(load_settings())
    pattern = ScoreRequest.model_json_schema()["properties"]["images"]["pattern"]
    assert "?!" in pattern, "a form refuses a URL with a user before a run keeps it"
