"""Who may see and say something: host names, the token, and forms that are the page's own.

Without a token the page answers this machine alone, by names of it alone (see `deploy.loopback`). With one, a cookie
says that it was given once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from urllib.parse import quote, unquote

from fastapi import Request, Response

from deploy.loopback import is_loopback, is_own_origin, names_loopback
from pipeline.errors import ConfigError
from pipeline.unicode_names import one_line

LEAST_TOKEN = 16
"""Characters of a token: fewer are guessed."""
LONGEST_NAME = 60
TOKEN_VARIABLE = "LINEWISE_REVIEW_TOKEN"  # noqa: S105  # its name

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Of every answer: nothing but the page's own files is loaded, no script stands in a page, no other site shows it."""

_TOKEN_COOKIE, _NAME_COOKIE = "linewise_review", "linewise_operator"
_YEAR = 365 * 24 * 3600


class Access:
    """The rules of one page.

    Args:
        host: the address it listens at.
        token: None: none is asked for.

    Raises:
        ConfigError: others could reach it and no token is set, or it is too short.
    """

    def __init__(self, host: str, token: str | None) -> None:
        if token is None and not is_loopback(host):
            got, remedy = f"--host {host}, which others reach, and no token", "set it, or leave out --host"
            raise ConfigError(f"a token in {TOKEN_VARIABLE} for a page that others reach", got, remedy)
        if token is not None and len(token) < LEAST_TOKEN:
            got, remedy = f"{len(token)}", "choose a longer one, such as `openssl rand -hex 16` makes"
            raise ConfigError(f"at least {LEAST_TOKEN} characters in {TOKEN_VARIABLE}", got, remedy)
        self._token = token
        self._key = secrets.token_bytes(32)

    def refusal(self, request: Request) -> str | None:
        """Why a request is not answered whoever sent it; None: it may be."""
        host = request.headers.get("host", "")
        if self._token is None and not names_loopback(host):
            return "This page answers to 127.0.0.1 and localhost alone."
        if request.method == "POST" and not is_own_origin(request.headers.get("origin", ""), host):
            return "This was sent by another page than this one."
        return None

    def is_known(self, request: Request) -> bool:
        """Whether who asks gave the token, or none is needed."""
        return self._token is None or hmac.compare_digest(
            request.cookies.get(_TOKEN_COOKIE, "").encode(), self._pass(self._token).encode()
        )

    def accepts(self, token: str) -> bool:
        """Whether it is the token; how long that takes says nothing of it."""
        return self._token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def let_in(self, response: Response) -> None:
        """Remember in the browser that the token was given."""
        assert self._token is not None
        _set_cookie(response, _TOKEN_COOKIE, self._pass(self._token))

    def seal(self, *values: object) -> str:
        """What a form carries to show that this page made it, with these values in it."""
        return hmac.new(self._key, json.dumps([str(value) for value in values]).encode(), hashlib.sha256).hexdigest()

    def is_sealed(self, seal: str, *values: object) -> bool:
        """Whether `seal` is of these values."""
        return hmac.compare_digest(seal.encode(), self.seal(*values).encode())

    @staticmethod
    def _pass(token: str) -> str:
        """What the cookie holds: not the token itself."""
        return hmac.new(token.encode(), b"linewise review", hashlib.sha256).hexdigest()


def operator_of(request: Request) -> str | None:
    """How who asks calls themselves; None: nobody asked them yet."""
    return operator_name(unquote(request.cookies.get(_NAME_COOKIE, "")))


def operator_name(text: str) -> str | None:
    """A name as it is kept; None where nothing is left of it."""
    return one_line(" ".join(text.split()))[:LONGEST_NAME] or None


def remember_operator(response: Response, name: str) -> None:
    """Keep a name in the browser."""
    _set_cookie(response, _NAME_COOKIE, quote(name))


def _set_cookie(response: Response, name: str, value: str) -> None:
    # Lax: a link with the token in it, from a mail, leads in at once. What is said is guarded by origin and seal.
    response.set_cookie(name, value, max_age=_YEAR, httponly=True, samesite="lax")
