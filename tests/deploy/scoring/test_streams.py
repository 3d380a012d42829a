"""Streams: which frames are scored, what happens when they break off, and where a password goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from itertools import count

import cv2
import pytest

from deploy.scoring.image_result import ImageResult, ImageView
from deploy.scoring.sources.address import stream_address
from deploy.scoring.sources.capture import Sampling
from deploy.scoring.sources.choose import open_source
from deploy.scoring.sources.stream import LiveStream
from flows.score.request import ScoreRequest
from flows.score.requested_source import request_source
from pipeline.errors import ConfigError, ImageError, StorageError
from pipeline.settings import load_settings
from tests.deploy.scoring.rtsp_camera import rtsp_camera
from tests.deploy.scoring.videos import frame, write_video
from tests.deploy.scoring_plant import Plant
from tests.parts.http_server import serving


@contextmanager
def served(serve: Callable[[Callable[[bytes], object]], None]) -> Iterator[str]:
    """An HTTP camera (multipart JPEG) on this machine; `serve` sends the frames of one connection. Its URL."""

    class Camera(BaseHTTPRequestHandler):
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

    with serving(Camera) as address:
        yield f"http://me:geheim@{address}/line1"


def stored_bytes(plant: Plant) -> bytes:
    """Everything that the result store has written, its log included."""
    return b"".join(path.read_bytes() for path in plant.root.glob("results.sqlite*"))


def part(number: int) -> bytes:
    encoded = cv2.imencode(".jpg", frame(number))[1].tobytes()
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(encoded), encoded)


def test_a_stream_that_breaks_off_is_opened_again_and_said_so(plant, capfd):
    numbers = count(1)

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
    assert summary.counts.scored > 0
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
    assert summary.counts.scored >= 4
    assert all(name.startswith(f"rtsp://127.0.0.1:{port}/line1#") and int(name[-1]) % 5 == 0 for name in seen)
    assert [run.folder for run in plant.store.runs()] == [f"rtsp://127.0.0.1:{port}/line1"]
    said = "".join(capfd.readouterr())
    for secret in ("geh", "wrong"):
        assert secret not in said
        assert secret.encode() not in stored_bytes(plant)
    assert seen[0].encode() in stored_bytes(plant), "we look in the right place"


def test_a_slow_reader_gets_the_latest_frames(plant):
    def serve(write: Callable[[bytes], object]) -> None:
        for number in count():  # until the reader hangs up
            write(part(number % 50))
            time.sleep(0.002)

    with served(serve) as url:
        stream = LiveStream(stream_address(url), Sampling())
        items = stream.items()
        frames = (int(item.name.rpartition("#")[2]) for item in items if item is not None)
        taken, before = [next(frames)], stream._dropped
        deadline = time.monotonic() + 120
        while stream._dropped < before + 8:  # twice what may wait
            assert time.monotonic() < deadline, "old frames are queued, not dropped"
            time.sleep(0.01)
        taken += [next(frames) for _ in range(6)]  # more than may wait
        stream.stop()
        assert list(items) == []
    assert taken == sorted(set(taken))
    assert taken[1] - taken[0] > 8, "the oldest ones were dropped"
    (said,) = [remark for remark in stream.remarks if "frames were not scored" in remark]
    assert said.endswith(" frames were not scored: the camera is faster than this machine.")


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


def test_an_address_with_bytes_that_are_not_utf8_is_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="a stream's URL that is text") as caught:
        stream_address("rtsp://user:hush\udcff@camera7/line1")
    assert "hush" not in str(caught.value)


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


def test_what_fails_while_frames_are_received_ends_the_run_in_its_own_words(plant, monkeypatch):
    def serve(write: Callable[[bytes], object]) -> None:
        for number in range(200):
            write(part(number % 40))
            time.sleep(0.01)

    def refuse(*_: object) -> None:
        raise ImageError("frames of at most 100 pixels", "larger ones", "raise the limit")

    with served(serve) as url:
        stream = open_source(url)
        monkeypatch.setattr("deploy.scoring.sources.stream.retrieve", refuse)
        with pytest.raises(ImageError, match="expected frames of at most 100 pixels, got larger ones: raise the limit"):
            plant.score_source(stream)
    assert plant.store.runs() == [], "no frame came, so none began"
