"""A person at the review page: reads its questions and answers them, as a browser sends what is pressed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Self

import httpx

_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 1.0


class Person:
    """Somebody who knows good parts from defective ones. A context manager.

    Args:
        address: of the review page.
        name: as the person calls themselves.
        is_defective: what the image of a result shows, by the result's id.
    """

    def __init__(self, address: str, name: str, is_defective: Callable[[int], bool]) -> None:
        self._address, self._name, self._is_defective = address, name, is_defective
        self.unsure = 0
        """Answers that were sent and not said to be taken, as the page or its database went away: it may know them."""
        self._browser = httpx.Client(
            base_url=address, headers={"Origin": address}, follow_redirects=True, timeout=60, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._browser.close()

    def answer(self, line: str, until: Callable[[Counter[str]], bool]) -> Counter[str]:
        """Answer questions on a line until that is enough, or none is left: how many of each kind.

        Raises:
            RuntimeError: the page is away, or does not take what it asked for, for minutes.
        """
        answered, at = Counter[str](), time.monotonic()
        while not until(answered):
            try:
                page = self._question(line)
                if page is None:
                    break
                said = "defective" if self._is_defective(int(page["result"])) else "good"
                self.unsure += 1
                took = self._browser.post("/answer", data={**page, "answer": said})
                if took.status_code == httpx.codes.OK:  # after a redirection to the next question
                    answered[page["kind"]] += 1
                    self.unsure -= 1
                    at = time.monotonic()
                    continue
                told = f"{took.status_code} {took.text[:200]}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                told = str(error)
            if time.monotonic() - at > _PATIENCE_SECONDS:
                raise RuntimeError(f"the review page took no answer on {line}: {told}")
            time.sleep(_PAUSE_SECONDS)
        return answered

    def _question(self, line: str) -> dict[str, str] | None:
        """The fields of the question that is put; None: there is none."""
        shown = self._browser.get("/line", params={"line": line})
        form = _Form(shown.raise_for_status().text, "/name")
        if form.fields:
            self._browser.post("/name", data={**form.fields, "name": self._name}).raise_for_status()
            shown = self._browser.get("/line", params={"line": line}).raise_for_status()
        return _Form(shown.text, "/answer").fields or None


class _Form(HTMLParser):
    """The hidden fields of a page's form that goes to an address."""

    def __init__(self, html: str, action: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._action, self._is_inside = action, False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        if tag == "form":
            self._is_inside = has.get("action") == self._action
        elif tag == "input" and self._is_inside and has.get("type") == "hidden":
            self.fields[has["name"] or ""] = has.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._is_inside = self._is_inside and tag != "form"
