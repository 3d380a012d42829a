"""Requests to `linewise review`: an operator's forms, what others make of them, and what other sites' pages send."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import func, select

from deploy.bundles.registry import Registry
from deploy.loopback import is_own_origin, names_loopback
from deploy.results.schema import SkipRow, VerdictRow
from deploy.results.store import ResultStore
from deploy.review.access import HEADERS, Access
from deploy.review.app import review_app
from tests.deploy.scoring_plant import LINE, open_plant
from tests.fuzz.mutations import ODD_TEXTS, damaged_bytes
from tests.fuzz.surface import Input, PassedInSilenceError, Surface
from tests.fuzz.web_requests import (
    ODD_HOSTS,
    ODD_ORIGINS,
    OWN_HOST,
    WebAnswer,
    WebRequest,
    answered,
    lasting_folder,
    odd_headers,
    odd_method,
    odd_target,
)
from tests.parts.html_page import Page
from tests.parts.plant import write_image

_TOKEN = "a token of enough characters"
_HERE = f"http://{OWN_HOST}"
_IMAGES = 6
_VERSION = "v1"
_SIZE = 96
_LINES = (LINE, LINE, LINE, LINE, "mvtec", *ODD_TEXTS)
_GOOD_IDS = tuple(map(str, range(1, _IMAGES + 1)))
_IDS = (*_GOOD_IDS, "0", "99", "9" * 18, "9" * 19, "9" * 5000, "-1", "1.0", "٣", "1e3", *ODD_TEXTS)
_KINDS = ("", "flagged", "random", "borderline", "unlike", "contested", "RANDOM", *ODD_TEXTS)
_TIMES = (
    *("2026-01-02T03:04:05+00:00", "2026-01-02", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-12:00"),
    *("2026-01-02T03:04:05+23:59:59.999999", "2026-W01-1", *ODD_TEXTS),
)
_BOXES = (
    *(
        "1,2,30,40",
        "0,0,96,96",
        "0,0,97,97",
        "1,2,3",
        "1,2,3,4,5",
        "nan,nan,nan,nan",
        "inf,0,-inf,1",
        "1e308,0,1e308,1",
    ),
    *("0,0,0,0", "-1,-1,2,2", "1e-320,0,1e-320,1", "١,2,3,4", ",,,", "9" * 5000 + ",1,1,1", *ODD_TEXTS),
)
_LIMITS = ("", "0.3", "0.25", "-1e308", "nan", "-inf", "1e308", "1e-320", "1e400", "0,3", "٣", "9" * 5000, *ODD_TEXTS)
_PAGES = (
    *("/", "/line", "/ahead", "/words", "/threshold", "/threshold/effects", "/name", "/picture", "/heat", "/patches"),
    *("/health", "/static/review.js"),
)
_ODD_PAGES = (
    "/static/../app.py",
    "/static/%2e%2e/access.py",
    "/docs",
    "/openapi.json",
    "//evil.example/",
    "/Line",
    "/\\x",
)


def _ids(rng: Random) -> str:
    return rng.choice(("-", "-", ",", "--")).join(rng.choice(_IDS) for _ in range(rng.choice((0, 1, 2, 5, 300))))


def _query(path: str, rng: Random) -> dict[str, str]:
    query = {
        "line": rng.choice(_LINES),
        "result": rng.choice(_GOOD_IDS if rng.random() < 0.5 else _IDS),
        "kind": rng.choice(_KINDS),
        "aside": _ids(rng),
        "reject": rng.choice(_LIMITS),
        "review": rng.choice(_LIMITS),
        "before": f"{rng.choice(_TIMES if rng.random() < 0.3 else _TIMES[:5])}~{rng.choice(_GOOD_IDS)}",
        "seal": rng.choice(("0" * 64, "ü", "")),
        "token": rng.choice(("another", "", *ODD_TEXTS)),
    }
    if path.startswith("/threshold"):
        line = LINE if rng.random() < 0.8 else query["line"]
        return {"line": line, "reject": query["reject"], "review": query["review"]}
    wanted = {"/line": 5, "/ahead": 3, "/words": 2}.get(path, 1)
    return {name: query[name] for name in rng.sample(list(query), wanted)} | (
        {"line": query["line"]} if wanted > 1 else {}
    )


def _form(path: str, rng: Random) -> dict[str, str]:
    match path:
        case "/answer":
            return {
                "result": rng.choice(_GOOD_IDS) if rng.random() < 0.7 else rng.choice(_IDS),
                "kind": rng.choice(_KINDS[:5]) if rng.random() < 0.8 else rng.choice(_KINDS),
                "answer": rng.choice(("good", "defective", "defective", "skip", "GOOD", *ODD_TEXTS[:6])),
                "box": rng.choice(_BOXES),
                "defect": rng.choice(ODD_TEXTS),
                "aside": _ids(rng),
            }
        case "/threshold":
            return {
                "line": LINE if rng.random() < 0.8 else rng.choice(_LINES),
                "version": _VERSION if rng.random() < 0.8 else rng.choice(ODD_TEXTS),
                "reject": rng.choice(_LIMITS[:10]) if rng.random() < 0.7 else rng.choice(_LIMITS),
                "review": rng.choice(_LIMITS[:6]),
                "by": rng.choice(("Ada", "Ada", "", ODD_TEXTS[0])),
                "why": "holes" if rng.random() < 0.8 else rng.choice(("", "x" * 5000, *ODD_TEXTS)),
            }
        case "/undo":
            return {"line": rng.choice(_LINES)}
        case "/name":
            return {"name": rng.choice(ODD_TEXTS), "line": rng.choice(_LINES)}
        case _:
            return {"token": _TOKEN if rng.random() < 0.2 else rng.choice(ODD_TEXTS)}


def _request(rng: Random) -> Input:
    sends = rng.random() < 0.6
    form: dict[str, str] = {}
    if sends:
        path = rng.choice(("/answer", "/answer", "/answer", "/undo", "/threshold", "/name", "/login"))
        form, query = _form(path, rng), {}
    else:
        path = rng.choice(_PAGES if rng.random() < 0.9 else _ODD_PAGES)
        query = _query(path, rng)
    host = OWN_HOST if rng.random() < 0.95 else rng.choice(ODD_HOSTS)
    headers = [("Host", host), *odd_headers(rng)]
    if sends or rng.random() < 0.05:
        headers.append(("Origin", f"http://{host}" if rng.random() < 0.9 else rng.choice(ODD_ORIGINS)))
    request = WebRequest(
        odd_method("POST" if sends else "GET", rng),
        odd_target(path, query, rng),
        tuple(headers),
        pieces=rng.choice((1, 1, 2, 20)),
        breaks_off=rng.random() < 0.03,
    )
    facts = {
        "request": request,
        "form": form,
        "sealed": rng.random() < 0.8,
        "guarded": rng.random() < 0.3,
        "knows": rng.random() < 0.7,
        "operator": rng.choice(("Ada", "Ada", "", *ODD_TEXTS)),
        "damage": rng.randrange(2**32) if rng.random() < 0.1 else None,
    }
    return Input(done=f"{request.method} {request.target[:100]} of {sorted(form)}", facts=facts)


class _Plant(NamedTuple):
    store: ResultStore
    registry: Registry
    access: Access
    app: Any
    cookie: str


@cache
def _plants() -> tuple[_Plant, _Plant]:
    """A page that asks for a token, and one that does not, each with results of its own."""
    made = []
    for token in (_TOKEN, None):
        plant = ExitStack().enter_context(open_plant(lasting_folder()))  # for as long as the process lives
        names = ('"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", *(f"{number}" for number in range(_IMAGES - 2)))
        for number, name in enumerate(names):
            write_image(plant.images / f"{name}.png", brightness=40 * (number + 1), seed=number, size=_SIZE)
        plant.score(overlays=plant.root / "overlays", workers=1)
        access = Access("127.0.0.1", token)
        registry = Registry(plant.root / "home")
        app = review_app(plant.store, registry, access)
        login = WebRequest("POST", "/login", (("Host", OWN_HOST), ("Origin", _HERE)), f"token={quote(_TOKEN)}".encode())
        cookie = answered(app, login).headers.get("set-cookie", "").partition(";")[0]
        made.append(_Plant(plant.store, registry, access, app, cookie))
    return made[0], made[1]


def _sent(made: Input, plant: _Plant) -> WebRequest:
    """The request, with the cookies and seals that only a running page knows."""
    facts, request = made.facts, made.facts["request"]
    form = dict(facts["form"])
    if facts["sealed"] and form:
        values: dict[str, tuple[str, ...]] = {
            "/answer": (form.get("result", ""), form.get("kind", "")),
            "/undo": ("undo", form.get("line", "")),
            "/threshold": ("threshold", form.get("line", ""), form.get("version", "")),
        }
        form["seal"] = plant.access.seal(*values.get(request.target.partition("?")[0], ("name",)))
    body = "&".join(f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in form.items()).encode()
    if facts["damage"] is not None:
        body, _ = damaged_bytes(body, Random(facts["damage"]), (), (b"&result=1&result=2;seal=%ff",))
    cookies = [f"linewise_operator={quote(facts['operator'].encode('utf-8', 'surrogatepass'))}"]
    if facts["knows"] and plant.cookie:
        cookies.append(plant.cookie)
    headers = (*request.headers, ("Cookie", "; ".join(cookies)))
    return WebRequest(request.method, request.target, headers, body, request.pieces, request.breaks_off)


def _noted(plant: _Plant) -> tuple[int, int, str | None]:
    """How many words and skips the store has, and the version that is live, which a threshold changes."""
    with plant.store.session() as session:
        words = session.scalar(select(func.count()).select_from(VerdictRow))
        skips = session.scalar(select(func.count()).select_from(SkipRow).where(SkipRow.taken_back_at.is_(None)))
    return words or 0, skips or 0, plant.registry.live_version(LINE)


def _look(made: Input, folder: Path) -> str:
    facts, plant = made.facts, _plants()[0 if made.facts["guarded"] else 1]
    request, before = _sent(made, plant), _noted(plant)
    answer = answered(plant.app, request)
    _is_harmless(answer, folder)
    host, origin = request.headers[0][1], dict(request.headers).get("Origin", "")
    wrong_host = not facts["guarded"] and not names_loopback(host)
    wrong_origin = request.method == "POST" and not is_own_origin(origin, host)
    if (wrong_host or wrong_origin) and answer.status != 403:
        raise PassedInSilenceError(f"{answer.status} to another site's page")
    stranger = facts["guarded"] and not facts["knows"]
    path = request.target.partition("?")[0]
    if stranger and answer.status < 400 and path != "/login" and not path.startswith(("/health", "/static/")):
        raise PassedInSilenceError(f"{answer.status} without the token")
    if (stranger or wrong_host or wrong_origin or not facts["sealed"]) and _noted(plant) != before:
        raise PassedInSilenceError("a word was noted, or a threshold set, by nobody")
    _boxes_are_inside(plant.store)
    return "refused" if answer.status >= 400 else "read"


def _is_harmless(answer: WebAnswer, folder: Path) -> None:
    """Every answer tells the browser its rules, leads nowhere else, and holds no script or address of somebody's."""
    if any(answer.headers.get(name.lower()) != value for name, value in HEADERS.items()):
        raise PassedInSilenceError("an answer without its policy")
    to = answer.headers.get("location", "/")
    if not to.startswith("/") or to.startswith(("//", "/\\")):
        raise PassedInSilenceError(f"it leads to {to[:100]!r}")
    if not answer.headers.get("content-type", "").startswith("text/html"):
        return
    (folder / "page.html").write_bytes(answer.body)
    page = Page(folder / "page.html")
    if page.code["script"].strip() or page.code["style"].strip():
        raise PassedInSilenceError("a script or style in the page")
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            leads = name in ("href", "src", "action", "formaction", "data-ahead", "data-later")
            if name.startswith("on") or name == "style" or (leads and (not value or not _is_own(value))):
                raise PassedInSilenceError(f"{name}={value!r} in a {tag}")


def _is_own(address: str) -> bool:
    return address.startswith(("/", "#")) and not address.startswith(("//", "/\\"))


def _boxes_are_inside(store: ResultStore) -> None:
    with store.session() as session:
        box = session.scalar(select(VerdictRow.box).order_by(VerdictRow.id.desc()).limit(1))
    if box is None:
        return
    left, top, width, height = box
    if not (0 <= left < left + width <= _SIZE and 0 <= top < top + height <= _SIZE):
        raise PassedInSilenceError(f"a painted region {box} outside its image")


SURFACES = (Surface("review requests", 0.08, _request, _look),)
