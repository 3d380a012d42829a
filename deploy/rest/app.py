"""The server's addresses.

    POST /lines/{line}/score    an image's file as the body; ?map=png, ?name=what its row is called
    GET  /lines                 what is served
    GET  /lines/{line}          a line's live version and its model card
    GET  /health, /metrics, /openapi.json

A line's name stands in the path as it is, slashes and all, or percent-encoded.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from deploy.bundles.manifest import linewise_version
from deploy.rest.admission import Admission, RefusedError
from deploy.rest.answers import HealthAnswer, LineAnswer, LineName, LinesAnswer, Problem, ScoreAnswer
from deploy.rest.image_service import ImageService
from deploy.rest.metrics import Metrics
from deploy.rest.own_names import OwnNames
from deploy.rest.recording import SOURCE
from deploy.scoring.image_result import FileStatus
from pipeline.errors import ConfigError, LinewiseError, StorageError
from pipeline.unicode_names import one_line

DEFAULT_PLACES = 64
"""Images that are under way at most, unless told otherwise."""

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff", "application/octet-stream")
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        401: "The token is missing or wrong.",
        403: "Without a token: not by a name of this machine, or from another site's page.",
        404: "No such line is served, or no version of it is live.",
        408: "The image took too long to arrive.",
        413: "The file is longer than any image may be.",
        415: "A form of several parts was sent instead of a file.",
        422: "The file cannot be used; the sentence says why.",
        503: "All places are taken, or the result could not be kept: send it again after the seconds of Retry-After.",
    }.items()
}


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: _REFUSALS[status] for status in statuses}


def make_app(service: ImageService, *, token: str | None = None, places: int = DEFAULT_PLACES) -> FastAPI:
    """The application. Whoever made the service closes it, once the application has ended.

    Args:
        service: scores.
        token: every address but /health and /openapi.json asks for, as `Authorization: Bearer TOKEN`; None: none does,
            and only this machine's own names are answered to.
        places: so many images are under way at most.
    """
    metrics, admission = Metrics(), Admission(places, service.limits.max_bytes)
    metrics.waiting.set_function(lambda: admission.waiting)
    threads = ThreadPoolExecutor(places, thread_name_prefix="linewise-request")  # each waits for one image

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        threads.shutdown()

    def require_token(
        given: Annotated[HTTPAuthorizationCredentials | None, Security(HTTPBearer(auto_error=False))],
    ) -> None:
        sent = "" if given is None else given.credentials
        if token is not None and not hmac.compare_digest(sent.encode(), token.encode()):
            got = "none" if given is None else "another"
            sentence = f"expected the server's token, got {got}: send it as 'Authorization: Bearer TOKEN'"
            raise HTTPException(401, sentence, {"WWW-Authenticate": "Bearer"})

    # Swagger's pages would load their scripts from elsewhere, which a plant cannot.
    app = FastAPI(
        title="Linewise",
        summary="Few-shot industrial inspection: post an image, get its decision.",
        version=linewise_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    if token is None:
        app.add_middleware(OwnNames)
    guarded = [Depends(require_token)]

    _tell_errors(app, metrics)
    _tell_lines(app, service, guarded)
    body = {"required": True, "content": {kind: {"schema": {"format": "binary"}} for kind in _IMAGE_TYPES}}

    @app.post(
        "/lines/{line:path}/score",
        dependencies=guarded,
        responses=_REFUSALS,
        openapi_extra={"requestBody": body},
        summary="Score an image",
    )
    async def score(
        line: str,
        request: Request,
        map_as: Annotated[
            Literal["png"] | None, Query(alias="map", description="Answer the anomaly map, too, as a PNG.")
        ] = None,
        name: Annotated[
            str, Query(max_length=500, description="What the result store calls the image, where results are kept.")
        ] = SOURCE,
    ) -> ScoreAnswer:
        """Score the file in the body: JPEG, PNG, BMP or TIFF, whatever its content type says."""
        began = time.monotonic()
        if (kind := request.headers.get("content-type", "")).lower().startswith("multipart/"):
            got = kind.partition(";")[0]  # x-www-form-urlencoded is what curl --data-binary says of any file
            raise RefusedError(415, f"expected an image's file as the body, got {got}: send the file's bytes alone")

        def answer(data: bytes) -> ScoreAnswer:
            outcome, served = service.score(line, data, one_line(name))  # no database takes every character
            metrics.answered(line, outcome.result)
            if outcome.result.status is FileStatus.UNREADABLE:
                raise HTTPException(422, outcome.result.reason)
            view = None if map_as is None else outcome.view  # of an image that the model could not judge there is none
            return ScoreAnswer.of(served.bundle, outcome.result, None if view is None else view.upright_map)

        with admission.place() as place:
            try:
                data = await place.receive(request.stream(), request.headers.get("content-length"))
            except ClientDisconnect as error:
                raise HTTPException(400, "the connection ended before the image did") from error
            answered = await asyncio.get_running_loop().run_in_executor(threads, answer, data)
        metrics.seconds.observe(time.monotonic() - began)
        return answered

    @app.get("/health", summary="Whether it answers")
    async def health() -> HealthAnswer:
        """That the server answers, and how many images wait."""
        device = service.device.device.value
        return HealthAnswer(status="ok", linewise=linewise_version(), device=device, waiting=admission.waiting)

    @app.get("/metrics", dependencies=guarded, response_class=Response, summary="Counts for Prometheus")
    def read_metrics() -> Response:
        """Counts and times, in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _tell_errors(app: FastAPI, metrics: Metrics) -> None:
    """Answer what goes wrong with its status and one sentence."""

    @app.exception_handler(RefusedError)
    async def refuse(_request: Request, error: RefusedError) -> JSONResponse:
        metrics.refused.labels(error.status).inc()
        headers = {"Retry-After": "1"} if error.status == 503 else None
        return JSONResponse({"detail": str(error)}, error.status, headers)

    @app.exception_handler(LinewiseError)
    async def tell(_request: Request, error: LinewiseError) -> JSONResponse:
        if isinstance(error, ConfigError):
            return JSONResponse({"detail": str(error)}, 404)
        if isinstance(error, StorageError):
            return JSONResponse({"detail": str(error)}, 503, {"Retry-After": "1"})
        return JSONResponse({"detail": str(error)}, 500)

    @app.exception_handler(RequestValidationError)
    async def tell_query(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name, value = first["loc"][-1], str(first.get("input"))[:60]
        sentence = f"expected a query as /openapi.json has it, got {name}={value!r} ({first['msg']}): correct it"
        return JSONResponse({"detail": sentence}, 422)

    @app.exception_handler(404)
    async def tell_address(request: Request, _error: HTTPException) -> JSONResponse:
        sentence = f"expected an address of /openapi.json, got {request.url.path[:100]!r}: ask one of those"
        return JSONResponse({"detail": sentence}, 404)

    @app.exception_handler(405)
    async def tell_method(request: Request, error: HTTPException) -> JSONResponse:
        got = f"{request.method[:20]} for {request.url.path[:100]!r}"
        sentence = f"expected a method of /openapi.json, got {got}: POST images, GET the rest"
        return JSONResponse({"detail": sentence}, 405, error.headers)


def _tell_lines(app: FastAPI, service: ImageService, guarded: Sequence[Any]) -> None:
    """Add the addresses that tell what is served."""

    @app.get("/lines", dependencies=guarded, responses=_refusals(401, 403), summary="What is served")
    def lines() -> LinesAnswer:
        """The lines that are served, with their live versions."""
        names = [LineName(line=name, version=service.live_version(name)) for name in service.lines.names()]
        return LinesAnswer(lines=names, problems=service.lines.problems)

    @app.get(
        "/lines/{line:path}",
        dependencies=guarded,
        responses=_refusals(401, 403, 404),
        summary="A line's card",
    )
    def card(line: str) -> LineAnswer:
        """A line's live version: what decides, and the facts of its model card."""
        names = service.lines.names()
        if line not in names and line.removesuffix("/score") in names:
            raise HTTPException(405, headers={"Allow": "POST"})
        with service.lines.using(line) as served:
            return LineAnswer.of(served.bundle)
