"""The review page's addresses. Every image is named by its result's id; no path comes in, and none is opened for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse

from deploy.bundles.manifest import linewise_version
from deploy.bundles.registry import Registry
from deploy.reports.page import template_environment
from deploy.results.schema import QuestionKind, ResultRow, Verdict
from deploy.results.store import ResultStore
from deploy.review.access import HEADERS, Access, operator_name, operator_of, remember_operator
from deploy.review.line_index import line_overviews, lines_of
from deploy.review.pictures import PictureShelf, heat_map
from deploy.review.question_page import MOST_ASIDE, WHY, Asking, Questions
from deploy.review.questions import MOST_COUNTED, Question, latest_result
from deploy.review.rates import CONFIDENCE, random_answers
from deploy.review.words import PAGE, Box, say, skip, take_back, trail
from pipeline.calibration import Decision
from pipeline.errors import LinewiseError

_MOST_FORM_BYTES = 64 * 1024
_LONGEST_KIND = 60
_STATIC = {
    "review.css": ("text/css", (("deploy.reports", "templates/page.css"), ("deploy.review", "static/review.css"))),
    "icon.svg": ("image/svg+xml", (("deploy.review", "static/icon.svg"),)),
    "review.js": ("text/javascript", (("deploy.review", "static/review.js"),)),
}


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send them unasked; none where it is longer than ours are."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


Form = Annotated[dict[str, str], Depends(_form)]


def review_app(store: ResultStore, registry: Registry, access: Access) -> FastAPI:
    """The web app.

    Args:
        store: results and verdicts.
        registry: the lines, and how their cameras are read.
        access: who may use it.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, default_response_class=HTMLResponse)
    shelf = PictureShelf(registry)
    questions = Questions(store, shelf)
    templates = template_environment("deploy.review")
    templates.filters["local"] = _local
    templates.globals.update(why=WHY, decisions=list(Decision), verdicts=list(Verdict), confidence=CONFIDENCE, most_counted=MOST_COUNTED)

    def page(template: str, request: Request, status: int = 200, **context: Any) -> HTMLResponse:
        context |= {"operator": operator_of(request), "seal": access.seal}
        return HTMLResponse(templates.get_template(template).render(**context), status)

    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        public = request.url.path in ("/health", "/login") or request.url.path.startswith("/static/")
        if (sentence := access.refusal(request)) is not None:
            response: Response = PlainTextResponse(f"{sentence}\n", 403)
        elif not public and (token := request.query_params.get("token")) is not None and access.accepts(token):
            rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
            response = RedirectResponse(f"{request.url.path}?{rest}", 303)
            access.let_in(response)
        elif not public and not access.is_known(request):
            response = page("login.html.j2", request, 401, wrong=False)
        else:
            response = await call_next(request)
        response.headers.update(HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @app.exception_handler(LinewiseError)
    def sentence_of(request: Request, error: LinewiseError) -> Response:
        return page("message.html.j2", request, 503, title="This did not work", sentence=str(error))

    def not_found(request: Request, sentence: str) -> Response:
        return page("message.html.j2", request, 404, title="Not here", sentence=sentence)

    def result_of(text: str) -> ResultRow | None:
        """The result of that id, of an image."""
        if not (text.isascii() and text.isdecimal() and len(text) < 19):
            return None
        with store.reading() as session:
            result = session.get(ResultRow, int(text))
        return result if result is not None and result.image_sha256 is not None else None

    @app.get("/health")
    def health() -> Response:
        return JSONResponse({"linewise": linewise_version()})

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            return PlainTextResponse("none\n", 404)
        kind, parts = _STATIC[name]
        text = "".join((files(package) / path).read_text(encoding="utf-8") for package, path in parts)
        return Response(text, media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.post("/login")
    def login(request: Request, form: Form) -> Response:
        if not access.accepts(form.get("token", "")):
            return page("login.html.j2", request, 401, wrong=True)
        response = RedirectResponse("/", 303)
        access.let_in(response)
        return response

    @app.get("/")
    def index(request: Request) -> Response:
        since = datetime.now(UTC) - timedelta(hours=24)
        return page("index.html.j2", request, lines=line_overviews(store, registry, since))

    @app.get("/name")
    def ask_name(request: Request, line: str = "") -> Response:
        return page("name.html.j2", request, line=line)

    @app.post("/name")
    def keep_name(request: Request, form: Form) -> Response:
        line, name = form.get("line", ""), operator_name(form.get("name", ""))
        if name is None or not access.is_sealed(form.get("seal", ""), "name"):
            return page("name.html.j2", request, line=line)
        response = RedirectResponse(_address("/line", line=line) if line else "/", 303)
        remember_operator(response, name)
        return response

    @app.get("/line")
    def ask(
        request: Request, line: str, result: str = "", kind: str = "", seal: str = "", aside: str = ""
    ) -> Response:
        if line not in lines_of(store, registry):
            return not_found(request, f"There is no line {line}.")
        if (by := operator_of(request)) is None:
            return RedirectResponse(_address("/name", line=line), 303)
        asking, passed_over = Asking(line, by, _ids(aside)), 0
        if (chosen := result_of(result)) is not None and chosen.line == line:
            shown = questions.show(Question(chosen, _kind(kind) if access.is_sealed(seal, chosen.id, kind) else None))
        else:
            shown, passed_over = questions.next(asking)
        later = None if shown is None else (*asking.aside, shown.question.result.id)[-MOST_ASIDE:]
        return page(
            "question.html.j2",
            request,
            line=line,
            shown=shown,
            passed_over=passed_over,
            aside=_text(asking.aside),
            later=_address("/line", line=line, aside=_text(later or ())),
            ahead=_address("/ahead", line=line, aside=_text(later or ()), kind=shown and shown.question.kind),
            **questions.about(asking),
        )

    @app.get("/ahead")
    def ahead(request: Request, line: str, aside: str = "", kind: str = "") -> Response:
        """Makes the picture that is probably asked about next, while this one is looked at."""
        questions.next(Asking(line, operator_of(request) or "", _ids(aside), after=_kind(kind)))
        return Response(status_code=204)

    @app.post("/answer")
    def answer(request: Request, form: Form) -> Response:
        kind, result = form.get("kind", ""), result_of(form.get("result", ""))
        by, said = operator_of(request), form.get("answer", "")
        if result is None or by is None or said not in (*Verdict, "skip"):
            return not_found(request, "This answer is to no question that there is.")
        if not access.is_sealed(form.get("seal", ""), result.id, kind):
            sentence = "This question was asked before the page was started anew: go back to the line for the next one."
            return page("message.html.j2", request, 409, title="Nothing was noted", sentence=sentence)
        question = Question(result, _kind(kind))
        if said == "skip":
            skip(store, question, by=by)
        else:
            defect = operator_name(form.get("defect", ""))
            box = _box(form.get("box", ""), shelf.picture(result).size)
            say(store, question, Verdict(said), by=by, kind=defect and defect[:_LONGEST_KIND], box=box)
        return RedirectResponse(_address("/line", line=result.line, aside=_text(_ids(form.get("aside", "")))), 303)

    @app.post("/undo")
    def undo(request: Request, form: Form) -> Response:
        line, by = form.get("line", ""), operator_of(request)
        if by is None or not access.is_sealed(form.get("seal", ""), "undo", line):
            return RedirectResponse(_address("/line", line=line), 303)
        question = take_back(store, line, by=by)
        if question is None:
            return RedirectResponse(_address("/line", line=line), 303)
        result, kind = question.result.id, question.kind or ""
        seal = access.seal(result, kind)
        return RedirectResponse(_address("/line", line=line, result=result, kind=kind, seal=seal), 303)

    @app.get("/words")
    def words(request: Request, line: str, before: str = "") -> Response:
        if line not in lines_of(store, registry):
            return not_found(request, f"There is no line {line}.")
        with store.reading() as session:
            said = trail(session, line, _key(before))
            latest = latest_result(session, line)
            answers = None if latest is None else random_answers(session, line, latest.bundle_id)
        more = said[-1].word if len(said) == PAGE else None
        key = None if more is None else f"{more.said_at.isoformat()}~{more.id}"
        older = None if key is None else _address("/words", line=line, before=key)
        return page(
            "words.html.j2", request, line=line, said=said, latest=latest, answers=answers, older=older, first=not before
        )

    @app.get("/picture")
    def picture(result: str = "") -> Response:
        found = result_of(result)
        made = None if found is None else shelf.picture(found)
        return _jpeg(None if made is None else made.jpeg)

    @app.get("/heat")
    def heat(result: str = "") -> Response:
        found = result_of(result)
        return _jpeg(None if found is None else heat_map(found))

    return app


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        return PlainTextResponse("no picture\n", 404)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})


def _address(path: str, **query: object) -> str:
    return f"{path}?{urlencode({name: value for name, value in query.items() if value not in ('', None)})}"


def _ids(text: str) -> tuple[int, ...]:
    found = [int(part) for part in text.split("-") if part.isascii() and part.isdecimal() and len(part) < 19]
    return tuple(found[-MOST_ASIDE:])


def _text(ids: tuple[int, ...]) -> str:
    return "-".join(map(str, ids))


def _kind(text: str) -> QuestionKind | None:
    return QuestionKind(text) if text in tuple(QuestionKind) else None


def _box(text: str, size: tuple[int, int] | None) -> Box | None:
    """Left, top, width and height inside an image of that size; None: none was drawn."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        return None
    if size is None or not (0 <= x < x + width <= size[1] and 0 <= y < y + height <= size[0]):
        return None
    return x, y, width, height


def _key(text: str) -> tuple[datetime, int] | None:
    """Time and id of a word, from an address."""
    said_at, _, number = text.partition("~")
    try:
        key = datetime.fromisoformat(said_at), int(number)
    except ValueError:
        return None
    return None if key[0].tzinfo is None else key


def _local(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
