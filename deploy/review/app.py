"""The review page's addresses. An image is named by its result's id: no path comes in, and none is opened for one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse

from deploy.bundles.manifest import linewise_version
from deploy.bundles.registry import Registry
from deploy.reports.page import template_environment
from deploy.results.schema import ResultRow, Verdict
from deploy.results.store import ResultStore
from deploy.review.access import HEADERS, Access, operator_name, operator_of, remember_operator
from deploy.review.fields import (
    MOST_ASIDE,
    Form,
    address,
    asked_address,
    box_of,
    id_of,
    ids_of,
    ids_text,
    local_time,
    own_address,
    question_kind,
    trail_key,
    trail_key_text,
)
from deploy.review.line_index import line_overviews, lines_of
from deploy.review.nearest_patches import NearestPatches
from deploy.review.pictures import PictureShelf, heat_map
from deploy.review.question_page import WHY, Asking, Questions
from deploy.review.questions import MOST_COUNTED, Question, latest_result
from deploy.review.rates import CONFIDENCE, random_answers
from deploy.review.report_files import report_pages
from deploy.review.static_files import static_file
from deploy.review.threshold_page import Thresholds
from deploy.review.words import PAGE, say, skip, take_back, trail
from pipeline.calibration import Decision
from pipeline.errors import LinewiseError

_SKIP = "skip"


def review_app(store: ResultStore, registry: Registry, access: Access) -> FastAPI:
    """The web app.

    Args:
        store: results and verdicts.
        registry: the lines, and how their cameras are read.
        access: who may use it.
    """
    pages = _Pages(store, registry, access)
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        default_response_class=HTMLResponse,
        redirect_slashes=False,  # it would lead to whatever name the request gives as its Host
    )
    app.middleware("http")(pages.guard)
    app.exception_handler(LinewiseError)(pages.sentence_of)
    for path, seen in {
        "/": pages.index,
        "/line": pages.line,
        "/ahead": pages.ahead,
        "/words": pages.words,
        "/threshold": pages.threshold,
        "/threshold/effects": pages.threshold_effects,
        "/name": pages.ask_name,
        "/picture": pages.picture,
        "/heat": pages.heat,
        "/patches": pages.patches,
        "/static/{name}": static_file,
        "/health": pages.health,
        **report_pages(registry.home),
    }.items():
        app.get(path)(seen)
    for path, sent in {
        "/answer": pages.answer,
        "/undo": pages.undo,
        "/threshold": pages.keep_threshold,
        "/name": pages.keep_name,
        "/login": pages.login,
    }.items():
        app.post(path)(sent)
    return app


class _Pages:
    """Answers to requests. Those that ask the store run in threads."""

    def __init__(self, store: ResultStore, registry: Registry, access: Access) -> None:
        self._store, self._registry, self._access = store, registry, access
        self._shelf = PictureShelf(registry)
        self._questions = Questions(store, self._shelf, registry.home)
        self._patches = NearestPatches(registry)
        self._thresholds = Thresholds(store, registry)
        self._templates = template_environment("deploy.review", "deploy.reports")
        self._templates.filters["local"] = local_time
        self._templates.globals.update(why=WHY, decisions=list(Decision), verdicts=list(Verdict))
        self._templates.globals.update(confidence=CONFIDENCE, most_counted=MOST_COUNTED, seal=access.seal)

    async def guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse, ask for the token, or answer; in any case tell the browser what it may do with the answer."""
        access, path = self._access, request.scope["path"]  # as routes are; request.url is made of the Host header, too
        public = path in ("/health", "/login") or path.startswith("/static/")
        token = request.query_params.get("token")
        if (sentence := access.refusal(request)) is not None:
            response: Response = PlainTextResponse(f"{sentence}\n", 403)
        elif not public and token is not None and access.accepts(token):
            response = RedirectResponse(asked_address(request), 303)
            access.let_in(response)
        elif not public and not access.is_known(request):
            response = self._page("login.html.j2", request, 401, wrong=False, back=asked_address(request))
        else:
            response = await call_next(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def sentence_of(self, request: Request, error: Exception) -> Response:
        return self._message(request, 503, "This did not work", str(error))

    # What is seen

    def index(self, request: Request) -> Response:
        since = datetime.now(UTC) - timedelta(hours=24)
        return self._page("index.html.j2", request, lines=line_overviews(self._store, self._registry, since))

    def line(
        self, request: Request, line: str, result: str = "", kind: str = "", seal: str = "", aside: str = ""
    ) -> Response:
        """The next question on a line, or one about the result that is named; the seal says that its kind is ours."""
        if line not in lines_of(self._store, self._registry):
            return self._no_line(request, line)
        if (by := operator_of(request)) is None:
            return RedirectResponse(address("/name", line=line), 303)
        asking, passed_over = Asking(line, by, ids_of(aside)), 0
        if (chosen := self._result(result)) is not None and chosen.line == line:
            sealed = self._access.is_sealed(seal, chosen.id, kind)
            shown = self._questions.show(Question(chosen, question_kind(kind) if sealed else None))
        else:
            shown, passed_over = self._questions.next(asking)
        later = "" if shown is None else ids_text((*asking.aside, shown.question.result.id)[-MOST_ASIDE:])
        return self._page(
            "question.html.j2",
            request,
            line=line,
            shown=shown,
            passed_over=passed_over,
            aside=ids_text(asking.aside),
            later=address("/line", line=line, aside=later),
            ahead=address("/ahead", line=line, aside=later, kind=shown and shown.question.kind),
            **self._questions.about(asking),
        )

    def ahead(self, request: Request, line: str, aside: str = "", kind: str = "") -> Response:
        """Make the picture that is probably asked about next, while this one is looked at."""
        self._questions.next(Asking(line, operator_of(request) or "", ids_of(aside), after=question_kind(kind)))
        return Response(status_code=204)

    def words(self, request: Request, line: str, before: str = "") -> Response:
        """The rates so far, and a page of the trail."""
        if line not in lines_of(self._store, self._registry):
            return self._no_line(request, line)
        with self._store.session() as session:
            said = trail(session, line, trail_key(before))
            latest = latest_result(session, line)
            answers = None if latest is None or before else random_answers(session, line, latest.bundle_id)
        older = None
        if len(said) == PAGE:
            older = address("/words", line=line, before=trail_key_text(said[-1].word.said_at, said[-1].word.id))
        seen = {"line": line, "said": said, "latest": latest, "answers": answers, "older": older, "first": not before}
        return self._page("words.html.j2", request, **seen)

    def threshold(self, request: Request, line: str, reject: str = "", review: str = "") -> Response:
        """What a threshold would have done to the last week, and the form that sets it."""
        if line not in lines_of(self._store, self._registry):
            return self._no_line(request, line)
        about = self._thresholds.about(line, reject, review)
        return self._page("threshold.html.j2", request, line=line, typed=(reject, review), **about)

    def threshold_effects(self, request: Request, line: str, reject: str = "", review: str = "") -> Response:
        """The part of that page that changes with the threshold."""
        if line not in lines_of(self._store, self._registry):
            return PlainTextResponse("none\n", 404)
        effects = self._thresholds.effects(line, reject, review)
        return self._page("threshold_effects.html.j2", request, line=line, **effects)

    def ask_name(self, request: Request, line: str = "") -> Response:
        return self._page("name.html.j2", request, line=line)

    def picture(self, result: str = "") -> Response:
        found = self._result(result)
        return _jpeg(None if found is None else self._shelf.picture(found).jpeg)

    def heat(self, result: str = "") -> Response:
        found = self._result(result)
        return _jpeg(None if found is None else heat_map(found))

    def patches(self, result: str = "") -> Response:
        found = self._result(result)
        return _jpeg(None if found is None else self._patches.picture(found))

    def health(self) -> Response:
        return JSONResponse({"linewise": linewise_version()})

    # What is sent

    def answer(self, request: Request, form: Form) -> Response:
        kind, result = form.get("kind", ""), self._result(form.get("result", ""))
        by, said = operator_of(request), form.get("answer", "")
        if result is None or by is None or said not in (*Verdict, _SKIP):
            return self._message(request, 404, "Not here", "This answer is to no question that there is.")
        if not self._access.is_sealed(form.get("seal", ""), result.id, kind):
            sentence = "This question was asked before the page was started anew: go back to the line for the next one."
            return self._message(request, 409, "Nothing was noted", sentence)
        question = Question(result, question_kind(kind))
        if said == _SKIP:
            skip(self._store, question, by=by)
        else:
            box = box_of(form.get("box", ""), self._shelf.picture(result).size)
            say(self._store, question, Verdict(said), by=by, kind=operator_name(form.get("defect", "")), box=box)
        aside = ids_text(ids_of(form.get("aside", "")))
        return RedirectResponse(address("/line", line=result.line, aside=aside), 303)

    def undo(self, request: Request, form: Form) -> Response:
        """Take the last word or skip back, and put its question again."""
        line, by = form.get("line", ""), operator_of(request)
        question = None
        if by is not None and self._access.is_sealed(form.get("seal", ""), "undo", line):
            question = take_back(self._store, line, by=by)
        if question is None:
            return RedirectResponse(address("/line", line=line), 303)
        result, kind = question.result.id, question.kind or ""
        seal = self._access.seal(result, kind)
        return RedirectResponse(address("/line", line=line, result=result, kind=kind, seal=seal), 303)

    def keep_threshold(self, request: Request, form: Form) -> Response:
        """Set the threshold that was looked at: a new version, live, with who and why."""
        line, version, by = form.get("line", ""), form.get("version", ""), operator_name(form.get("by", ""))
        if not self._access.is_sealed(form.get("seal", ""), "threshold", line, version):
            sentence = "This form was made before the page was started anew: look at the threshold again."
            return self._message(request, 409, "Nothing was set", sentence)
        if line not in lines_of(self._store, self._registry):
            return self._no_line(request, line)
        if by is None:
            return self._message(request, 422, "Nothing was set", "Say who sets it.")
        if sentence := self._thresholds.keep(line, version, form, by=by):
            return self._message(request, 422, "Nothing was set", sentence)
        response = RedirectResponse(address("/threshold", line=line), 303)
        remember_operator(response, by)
        return response

    def keep_name(self, request: Request, form: Form) -> Response:
        line, name = form.get("line", ""), operator_name(form.get("name", ""))
        if name is None or not self._access.is_sealed(form.get("seal", ""), "name"):
            return self._page("name.html.j2", request, line=line)
        response = RedirectResponse(address("/line", line=line) if line else "/", 303)
        remember_operator(response, name)
        return response

    def login(self, request: Request, form: Form) -> Response:
        back = own_address(form.get("back", ""))
        if not self._access.accepts(form.get("token", "")):
            return self._page("login.html.j2", request, 401, wrong=True, back=back)
        response = RedirectResponse(back, 303)
        self._access.let_in(response)
        return response

    def _page(self, template: str, request: Request, status: int = 200, **context: Any) -> HTMLResponse:
        html = self._templates.get_template(template).render(operator=operator_of(request), **context)
        return HTMLResponse(html, status)

    def _message(self, request: Request, status: int, title: str, sentence: str) -> HTMLResponse:
        return self._page("message.html.j2", request, status, title=title, sentence=sentence)

    def _no_line(self, request: Request, line: str) -> HTMLResponse:
        return self._message(request, 404, "Not here", f"There is no line {line}.")

    def _result(self, text: str) -> ResultRow | None:
        """The result of that id, of an image that could be read."""
        if (number := id_of(text)) is None:
            return None
        with self._store.session() as session:
            result = session.get(ResultRow, number)
        return result if result is not None and result.image_sha256 is not None else None


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        return PlainTextResponse("no picture\n", 404)
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=600"})
