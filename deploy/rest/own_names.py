"""Without a token the server answers this machine's own programs: no website in a browser on it."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.loopback import is_own_origin, names_loopback


class OwnNames:
    """Refuses requests to another name than this machine's own, and those that another site's page sends.

    Args:
        app: what answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "http" and (sentence := _refusal(Headers(scope=scope))) is not None:
            await JSONResponse({"detail": sentence}, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _refusal(headers: Headers) -> str | None:
    host, origin = headers.get("host", ""), headers.get("origin")
    remedy = "send it so, or set LINEWISE_REST_TOKEN"
    if not names_loopback(host):
        return f"expected a Host of this machine (127.0.0.1, localhost or [::1]), got {host[:100]!r}: {remedy}"
    if origin is not None and not is_own_origin(origin, host):
        return f"expected no other site's page to send this, got one of {origin[:100]!r}: {remedy}"
    return None
