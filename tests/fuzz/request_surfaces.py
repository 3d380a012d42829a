"""What people and programs ask for: requests, stream addresses; and what they are shown, reports."""

from __future__ import annotations

import json
import re
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from pydantic import ValidationError

from deploy.reports.report import NotJudged, write_report
from deploy.reports.rows import ReportRow, write_csv, write_json
from deploy.scoring.sources.address import camera_index, is_url, stream_address
from deploy.scoring.sources.capture import parse_sampling
from flows.adapt.request import AdaptNewLinesRequest, AdaptRequest
from flows.asking.request import Request
from flows.calibrate.request import CalibrateRequest
from flows.doctor.request import DoctorRequest
from flows.evaluate.request import EvaluateRequest
from flows.export.request import ExportRequest
from flows.meta_train.request import MetaTrainRequest
from flows.score.request import ScorePlantRequest, ScoreRequest
from pipeline.calibration import Decision
from pipeline.imaging.images import UnreadableImage
from tests.deploy.reports.report_parts import item, manifest, report_data
from tests.fuzz.mutations import ODD_TEXTS, damaged_value, odd_value
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.parts.html_page import Page

_REQUESTS: tuple[tuple[type[Request], dict[str, Any]], ...] = (
    (ScoreRequest, {"line": "a/b", "images": "/data/today", "device": "cpu", "workers": 2, "every": None}),
    (ScoreRequest, {"line": "a/b", "images": "rtsp://user:hush@camera7/line1", "every": "0.5s"}),
    (ScorePlantRequest, {"images": "/data/plant", "watch": True, "report": "/tmp/report.html"}),
    (AdaptRequest, {"line": "a", "images": "/data/a", "good": 4, "defects": 4, "size": 256, "learner": "auto"}),
    (AdaptNewLinesRequest, {"incoming": "/data/incoming", "target_false_reject_rate": 0.01}),
    (CalibrateRequest, {"line": "a", "images": "/data/a", "target_false_reject_rate": 0.01, "unlabelled": True}),
    (DoctorRequest, {"device": "cpu", "json_path": "/tmp/doctor.json"}),
    (EvaluateRequest, {"lines": "/data/lines", "learners": "memory_bank,auto", "good": 4, "defects": [0, 4]}),
    (ExportRequest, {"line": "a", "destination": "/tmp/pack", "version": "v1"}),
    (MetaTrainRequest, {"lines": "/data/lines", "output": "/tmp/run", "learner": "maml", "iterations": 60}),
)


def _request(rng: Random) -> Input:
    kind, values = rng.choice(_REQUESTS)
    if rng.random() < 0.3:
        field = rng.choice(list(kind.model_fields))
        values = values | {field: odd_value(rng)}
    else:
        values = damaged_value(values, rng)
    return Input(done=f"{kind.__name__} of changed values", facts={"kind": kind, "values": values})


def _look_at_request(made: Input, _folder: Path) -> str:
    kind, values = made.facts["kind"], made.facts["values"]
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        return "refused"  # no form, flag or config makes one
    request = kind.asked(**values)
    kept = json.dumps(request.model_dump(mode="json"))
    if "hush" in kept:
        raise PassedInSilenceError("a password in what is logged and stored")
    request.absolute()
    try:
        again = kind.model_validate(json.loads(kept))
    except ValidationError as error:
        raise PassedInSilenceError(
            f"a request that cannot be read back: {error.errors(include_url=False)[0]}"
        ) from error
    if again.model_dump() != request.model_dump():
        raise PassedInSilenceError("a request that is another one when it is read back")
    return "read"


_PIECES = ("rtsp", "http", "file", "concat", "://", ":", "/", "@", "user", "hush", "camera7", "8554", "[::1]", "?", "#")
_MORE_PIECES = (
    "password=secret",
    "&token=secret",
    "%40",
    "%2F",
    "\n",
    "\0",
    "é",
    "..",
    "camera:0",
    "|",
    ";",
    "user=admin_password=secret_x",
)


def _address(rng: Random) -> Input:
    if rng.random() < 0.5:
        text = "".join(rng.choice(_PIECES + _MORE_PIECES) for _ in range(rng.randrange(1, 12)))
    else:
        text = "rtsp://user:hush@camera7:554/line1?password=secret"
        for _ in range(rng.choice((1, 2, 3))):
            start = rng.randrange(len(text) + 1)
            text = text[:start] + rng.choice((*_MORE_PIECES, *ODD_TEXTS)) + text[start + rng.randrange(3) :]
    return Input(
        done=f"address {text[:100]!r}", facts={"text": text, "every": rng.choice((*ODD_TEXTS, "1s", "007", "9" * 40))}
    )


def _look_at_address(made: Input, _folder: Path) -> str:
    text = made.facts["text"]
    camera_index(text)
    if made.facts["every"] and len(text) % 3 == 0:
        parse_sampling(made.facts["every"])
    if not is_url(text):
        return "no address"
    address = stream_address(text)
    if not address.url.startswith(("rtsp://", "rtsps://", "http://", "https://")):
        raise PassedInSilenceError(f"a stream of another scheme: {address.url!r}")
    place, _, rest = text.partition("://")[2].partition("/")
    credentials, _, host = place.rpartition("@")
    if "hush" in credentials and "hush" not in f"{host}/{rest}" and "hush" in f"{address.shown} {address!r}":
        raise PassedInSilenceError(f"a password in {address!r}")
    named = "secret" not in place and re.search(r"[?&;/,]password=secret(?=[&;/,#]|$)", rest)
    if named and "password=secret" in address.shown:
        raise PassedInSilenceError(f"a password in {address.shown!r}")
    return "read"


_FRAGMENTS = (
    "<script>",
    "</script>",
    "<img src=x onerror=alert(1)>",
    "\"'>",
    "<!--",
    "-->",
    "]]>",
    "&lt;",
    "&#60;script",
)
_MORE_FRAGMENTS = (
    "{{7*7}}",
    "{%",
    "javascript:alert(1)",
    "\x00",
    "\u2028",
    "\u202e",
    "\ud800",
    "\n",
    "</style>",
    "<svg onload=alert(1)>",
)


def _hostile_name(rng: Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(ODD_TEXTS)
    return "".join(rng.choice((*_FRAGMENTS, *_MORE_FRAGMENTS, "part", "/", ".png")) for _ in range(rng.randrange(1, 7)))


def _report(rng: Random) -> Input:
    return Input(done="hostile names in a report", facts={"names": [_hostile_name(rng) for _ in range(6)]})


def _look_at_report(made: Input, folder: Path) -> str:
    tags = _tags(folder / "hostile.html", made.facts["names"])
    if tags != _harmless_tags():
        raise PassedInSilenceError("other tags or attributes than a report of harmless names has")
    names = made.facts["names"]
    rows = [ReportRow(line=names[0], bundle_version="v1", path=name, sha256=None, reason=names[1]) for name in names]
    write_csv(folder / "rows.csv", rows)
    write_json(folder / "rows.json", {"source": names[2]}, rows)
    written = json.loads((folder / "rows.json").read_text())
    if [row["path"] for row in written["rows"]] != names:
        raise PassedInSilenceError("other names in the JSON")
    return "read"


@cache
def _harmless_tags() -> list[tuple[str, tuple[str, ...]]]:
    with tempfile.TemporaryDirectory(prefix="linewise-fuzz-") as folder:
        return _tags(Path(folder) / "harmless.html", [f"name{number}" for number in range(6)])


def _tags(path: Path, names: list[str]) -> list[tuple[str, tuple[str, ...]]]:
    line = "".join(character for character in names[3] if character.isprintable())[:100].strip() or "x"
    data = report_data(
        [],
        gallery=[item(names[0], 1.5), item(names[1], 0.2)],
        scores=[1.5, 0.2],
        source=names[2],
        manifest=manifest(line=line),
        unreadable=[UnreadableImage(Path(names[4].replace("\0", "")), None, names[5])],
        not_judged=[NotJudged(names[5], Decision.REVIEW, names[0])],
        notes=[names[1]],
        files=["rows.json"],
    )
    write_report(path, data)
    return [(tag, tuple(sorted(attributes))) for tag, attributes in Page(path).tags]


SURFACES = (
    Surface("requests", 0.10, _request, _look_at_request),
    Surface("stream addresses", 0.095, _address, _look_at_address),
    Surface("reports", 0.005, _report, _look_at_report),
)
