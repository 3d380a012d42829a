"""The review page of a plant, and a browser without a screen that fills in its forms."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from deploy.bundles.registry import Registry
from deploy.results.schema import ResultRow, VerdictRow
from deploy.review.access import Access
from deploy.review.app import review_app
from tests.deploy.scoring_plant import LINE, Plant

HERE = "http://127.0.0.1:4290"
FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class AskedPlant:
    """Puts the page's questions to a test."""

    def __init__(self, plant: Plant) -> None:
        self.plant, self.store = plant, plant.store

    def app(self, token: str | None = None, host: str = "127.0.0.1") -> Any:
        return review_app(self.store, Registry(self.plant.root / "home"), Access(host, token))

    def browser(self, name: str | None = "Ada") -> Browser:
        browser = Browser(TestClient(self.app(), base_url=HERE, headers={"Origin": HERE}))
        if name is not None:
            browser.call_oneself(name)
        return browser

    def result(self, number: int) -> ResultRow:
        (row,) = [row for row in self.store.query() if row.image_path.endswith(f"{number:02}.png")]
        return row

    def words(self, **which: Any) -> list[VerdictRow]:
        return self.store.verdicts(LINE, **which)


@contextmanager
def served(asked: AskedPlant) -> Iterator[str]:
    """The app at an address of this machine."""
    server = uvicorn.Server(uvicorn.Config(asked.app(), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


class Browser:
    """Keeps cookies, follows links, and sends a page's form as it stands, with what is filled in."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def see(self, path: str = "/line", **query: Any) -> str:
        answer = self.client.get(path, params=query or {"line": LINE})
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def call_oneself(self, name: str) -> None:
        self.send(self.see("/name", line=LINE), "/name", name=name)

    def send(self, page: str, action: str, **filled: Any) -> str:
        """Send the form of a page that goes to `action`; the page that comes then."""
        (form,) = re.findall(rf'<form method="post" action="{action}".*?</form>', page, re.DOTALL)
        fields = {name: unescape(value) for name, value in FIELD.findall(form)}
        answer = self.client.post(action, data=fields | filled)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def answer(self, page: str, said: str, **filled: Any) -> str:
        return self.send(page, "/answer", answer=said, **filled)


def asked_result(page: str) -> int:
    (found,) = re.findall(r'name="result" value="(\d+)"', page)
    return int(found)


def asked_kind(page: str) -> str:
    (found,) = re.findall(r'name="kind" value="(\w*)"', page)
    return found
