"""What comes in as text, in forms and addresses, as what it means; anything else is none."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qs, quote, urlencode

from fastapi import Depends, HTTPException, Request
from starlette.requests import ClientDisconnect

from deploy.results.schema import QuestionKind
from deploy.review.words import Box

MOST_ASIDE = 200
"""Images that are left for later at a time."""
_MOST_FORM_BYTES = 64 * 1024
_MOST_DIGITS = 18


async def _fields(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send them; none where it is longer than ours are."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_FORM_BYTES:
                return {}
    except ClientDisconnect as error:
        raise HTTPException(400, "The connection ended before the form did.") from error
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


Form = Annotated[dict[str, str], Depends(_fields)]


def address(path: str, **query: object) -> str:
    """An address of the page, without what is empty."""
    return f"{path}?{urlencode({name: value for name, value in query.items() if value not in ('', None)})}"


def asked_address(request: Request) -> str:
    """The path and query that were asked for, without the token; the first page where something was sent instead."""
    if request.method != "GET":
        return "/"
    query = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
    path = quote(request.scope["path"].lstrip("/"))  # "//name" is a host; request.url is made of the Host header
    return f"/{path}?{query}" if query else f"/{path}"


def own_address(text: str) -> str:
    """An address of this page as `asked_address` makes it; the first page's for any other, which may lead elsewhere."""
    return text if re.fullmatch(r"/(?!/)[!-\[\]-~]*", text) else "/"  # browsers read "\\" as "/", and skip tabs


def id_of(text: str) -> int | None:
    """A row's id."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def ids_of(text: str) -> tuple[int, ...]:
    """Ids with a dash between them, the last `MOST_ASIDE`."""
    return tuple(found for part in text.split("-") if (found := id_of(part)) is not None)[-MOST_ASIDE:]


def ids_text(ids: tuple[int, ...]) -> str:
    """What `ids_of` reads."""
    return "-".join(map(str, ids))


def question_kind(text: str) -> QuestionKind | None:
    """Why somebody is asked; None: nobody asked them."""
    return QuestionKind(text) if text in tuple(QuestionKind) else None


def box_of(text: str, size: tuple[int, int] | None) -> Box | None:
    """Left, top, width and height inside an image of that (height, width)."""
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        return None
    if size is None or not (0 <= x < x + width <= size[1] and 0 <= y < y + height <= size[0]):
        return None
    return x, y, width, height


def trail_key(text: str) -> tuple[datetime, int] | None:
    """Time and id of a word."""
    said_at, _, number = text.partition("~")
    try:
        time = datetime.fromisoformat(said_at)
        utc = None if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):  # the first and the last day are in some zones only
        return None
    found = id_of(number)
    return None if utc is None or found is None else (utc, found)


def trail_key_text(said_at: datetime, number: int) -> str:
    """What `trail_key` reads."""
    return f"{said_at.isoformat()}~{number}"


def local_time(time: datetime) -> str:
    """As people of this machine read it."""
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
