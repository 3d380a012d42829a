"""Requests to `linewise serve`, whoever sends them."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from random import Random
from typing import Any

from deploy.engine.devices import resolve_device
from deploy.loopback import is_own_origin, names_loopback
from deploy.rest.app import make_app
from deploy.rest.image_service import ImageService
from deploy.results.store import ResultStore
from pipeline.imaging.images import PreprocessSpec, UnreadableImage, read_image
from tests.fuzz.image_surfaces import hostile_image, png_problem, specimens
from tests.fuzz.mutations import ODD_TEXTS, as_json, odd_value
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.fuzz.web_requests import (
    ODD_HOSTS,
    ODD_ORIGINS,
    OWN_HOST,
    WebRequest,
    answered,
    lasting_folder,
    odd_headers,
    odd_method,
    odd_target,
)
from tests.parts.plant import SIZE, write_plant

LINE = "mvtec/pill"
_TOKEN = "a token of enough characters"
_KNOWN = f"Bearer {_TOKEN}"
_ODD_PASSES = ("Bearer", "Bearer ", "Bearer another", f"Basic {_TOKEN}", _TOKEN, f"Bearer  {_TOKEN}x", "Bearer \xff")
_PUBLIC = ("/health", "/openapi.json")


def _body(rng: Random) -> tuple[bytes, str]:
    match rng.randrange(10):
        case 0 | 1:
            kind = rng.choice(list(specimens()))
            return specimens()[kind], f"a whole {kind}"
        case 2:
            return as_json({"image": odd_value(rng)}, rng), "JSON"
        case 3:
            return rng.choice((b"", b"\0", b"image=x", rng.randbytes(2000), bytes(3_000_000))), "no image"
        case _:
            made = hostile_image(rng, specimens())
            return made.files["input"], made.done


def _request(rng: Random) -> Input:
    line = LINE if rng.random() < 0.8 else rng.choice((*ODD_TEXTS, f"{LINE}/", f"/{LINE}", "mvtec", f"{LINE}/../pill"))
    method, path, query, body, done = "GET", rng.choice(("/lines", f"/lines/{line}", "/metrics", *_PUBLIC)), {}, b"", ""
    if rng.random() < 0.8:
        method, path = "POST", f"/lines/{line}/score"
        body, done = _body(rng)
    if rng.random() < 0.4:
        query["map"] = rng.choice(("png", "png", "jpeg", "", *ODD_TEXTS))
    if rng.random() < 0.4:
        query["name"] = rng.choice((*ODD_TEXTS, "a" * 500, "part 7.png"))
    headers = [("Host", OWN_HOST if rng.random() < 0.9 else rng.choice(ODD_HOSTS)), *odd_headers(rng)]
    if rng.random() < 0.1:
        headers.append(("Origin", rng.choice((f"http://{OWN_HOST}", *ODD_ORIGINS))))
    if guarded := rng.random() < 0.3:
        headers.append(("Authorization", _KNOWN if rng.random() < 0.6 else rng.choice(_ODD_PASSES)))
    if rng.random() < 0.1:
        headers.append(("Content-Length", str(rng.choice((len(body), len(body) + 1, 0, 10**12)))))
    request = WebRequest(
        odd_method(method, rng),
        odd_target(path, query, rng),
        tuple(headers),
        body,
        rng.choice((1, 1, 1, 2, 50)),
        breaks_off=rng.random() < 0.03,
    )
    return Input(done=f"{request.method} {request.target[:100]} {done}", facts={"request": request, "guarded": guarded})


@cache
def _apps() -> tuple[Any, Any]:
    """One that asks for a token, and one that does not; both keep results."""
    home = lasting_folder() / "home"
    registry = write_plant(home)
    apps = []
    for token in (_TOKEN, None):
        store = ResultStore(f"sqlite:///{home / 'results.sqlite'}")
        service = ImageService(registry, resolve_device("cpu"), workers=1, store=store)
        service.lines.open_all()
        apps.append(make_app(service, token=token, places=2))
    return apps[0], apps[1]


def _look(made: Input, folder: Any) -> str:
    request, guarded = made.facts["request"], made.facts["guarded"]
    given = dict(reversed(request.headers))  # of two, the first counts
    answer = answered(_apps()[0 if guarded else 1], request)
    told = json.loads(answer.body) if answer.headers.get("content-type") == "application/json" else None
    stranger = guarded and given.get("Authorization") != _KNOWN
    if stranger and answer.status < 300 and not request.target.startswith(_PUBLIC):
        raise PassedInSilenceError(f"{answer.status} without the token")
    host = given["Host"]
    own = names_loopback(host) and is_own_origin(given.get("Origin", f"http://{host}"), host)
    if not guarded and not own and answer.status != 403:
        raise PassedInSilenceError(f"{answer.status} to a website")
    if answer.status >= 400:
        return "refused"
    if request.method == "POST" and answer.status == 200:
        _was_read(request, told, folder)
    return "read"


def _was_read(request: WebRequest, told: Any, folder: Any) -> None:
    """What got a decision is a file that the folder's way reads, too."""
    if request.breaks_off or told["sha256"] != hashlib.sha256(request.body).hexdigest():
        raise PassedInSilenceError("a decision on another content than was sent")
    path = folder / "sent"
    path.write_bytes(request.body)
    if isinstance(found := read_image(path, PreprocessSpec(height=SIZE, width=SIZE)), UnreadableImage):
        raise PassedInSilenceError(f"a decision on what a folder's scoring refuses: {found.reason}")
    if request.body.startswith(b"\x89PNG") and (problem := png_problem(request.body)) is not None:
        raise PassedInSilenceError(f"a decision on a PNG with {problem}")


SURFACES = (Surface("REST requests", 0.08, _request, _look),)
