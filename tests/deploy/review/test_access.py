"""Who is answered: host names, origins, seals, tokens."""

from __future__ import annotations

import re
from html import unescape

import pytest
from fastapi.testclient import TestClient

from deploy.review.access import Access
from pipeline.errors import ConfigError
from tests.deploy.review.asked_plant import HERE, AskedPlant
from tests.deploy.scoring_plant import LINE
from tests.fuzz.web_requests import WebRequest, answered

TOKEN = "a token of enough characters"


@pytest.mark.parametrize("host", ["evil.example:4290", "127.0.0.1.evil.example", "[::1", ""])
def test_without_a_token_only_names_of_this_machine_are_answered(asked: AskedPlant, host: str) -> None:
    client = TestClient(asked.app(), base_url=HERE)
    answer = client.get("/", headers={"Host": host})
    assert (answer.status_code, answer.text) == (403, "This page answers to 127.0.0.1 and localhost alone.\n")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for own in ("127.0.0.1:4290", "localhost", "[::1]:4290"):
        assert client.get("/", headers={"Host": own}).status_code == 200


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:4291"])
def test_what_another_page_sends_is_refused(asked: AskedPlant, origin: str | None) -> None:
    browser = asked.browser()
    page = browser.see()
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.split('id="answer"')[1]))
    headers = {} if origin is None else {"Origin": origin}
    client = TestClient(asked.app(), base_url=HERE, headers=headers, cookies=browser.client.cookies)
    for action in ("/answer", "/undo", "/name", "/login"):
        assert client.post(action, data=fields | {"answer": "good", "line": LINE}).status_code == 403
    assert asked.words() == []


def test_a_question_cannot_be_passed_off_as_a_random_one(asked: AskedPlant) -> None:
    browser = asked.browser()
    page = browser.see()
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.split('id="answer"')[1]))
    answer = browser.client.post("/answer", data=fields | {"answer": "good", "kind": "random"})
    assert answer.status_code == 409
    assert "Nothing was noted" in answer.text
    answer = browser.client.post("/answer", data=fields | {"answer": "good", "result": str(int(fields["result"]) - 1)})
    assert answer.status_code == 409
    assert browser.client.post("/answer", data=fields | {"answer": "superb"}).status_code == 404
    chosen = browser.see("/line", line=LINE, result=fields["result"], kind="random", seal="0" * 64)
    assert 'name="kind" value=""' in chosen
    assert asked.words() == []


def test_every_answer_says_what_a_browser_may_do_with_it(asked: AskedPlant) -> None:
    browser = asked.browser()
    for path in (
        "/",
        f"/line?line={LINE}",
        f"/words?line={LINE}",
        "/static/review.js",
        "/nothing",
        "/picture?result=1",
    ):
        headers = browser.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
    for folder in ("/static", "/static/", "/static/%2e%2e/access.py", "/static/static/review.js"):
        assert browser.client.get(folder).status_code == 404
    page = browser.see()
    assert not re.search(r"<script(?! src)|\sstyle=|\son\w+=|https?://(?!www.w3.org)", page)


def test_with_a_token_nothing_is_shown_without_it_and_a_link_or_the_form_lets_in(asked: AskedPlant) -> None:
    app = asked.app(TOKEN, "0.0.0.0")
    there = "http://plant.example:4290"
    client = TestClient(app, base_url=there, headers={"Origin": there})
    for path in ("/", f"/line?line={LINE}", "/picture?result=1", "/heat?result=1", f"/words?line={LINE}", "/name"):
        assert client.get(path).status_code == 401, path
    assert client.get("/?token=another").status_code == 401
    assert client.post("/undo", data={"line": LINE}).status_code == 401
    assert client.get("/health").status_code == 200
    assert "That is not the token" in client.post("/login", data={"token": "x"}).text
    assert client.post("/login", data={"token": TOKEN}, follow_redirects=False).status_code == 303
    assert client.get("/").status_code == 200
    assert TOKEN not in str(client.cookies)

    by_link = TestClient(app, base_url=there)
    answer = by_link.get(f"/words?line={LINE}&token={TOKEN}")
    assert (answer.status_code, str(answer.url)) == (200, f"{there}/words?line=mvtec%2Fpill")
    answer = TestClient(app, base_url=there).get(f"{there}//evil.example/?token={TOKEN}", follow_redirects=False)
    assert answer.headers["Location"] == "/evil.example/"


def test_the_form_leads_to_the_page_that_was_asked_for_and_to_no_other_site(asked: AskedPlant) -> None:
    there = "http://plant.example:4290"
    client = TestClient(asked.app(TOKEN, "0.0.0.0"), base_url=there, headers={"Origin": there}, follow_redirects=False)

    def back_of(page: str) -> str:
        field = re.search(r'name="back" value="([^"]*)"', page)
        assert field is not None
        return unescape(field.group(1))

    for path, back in {
        f"/words?line={LINE}&before=1&token=wrong": "/words?line=mvtec%2Fpill&before=1",
        "/plant-reports/one%20run/report.html": "/plant-reports/one%20run/report.html",
        "//evil.example/": "/evil.example/",
    }.items():
        assert back_of(client.get(f"{there}{path}").text) == back
        assert back_of(client.post("/login", data={"token": "x", "back": back}).text) == back, "another try"
        assert client.post("/login", data={"token": TOKEN, "back": back}).headers["Location"] == back
        client.cookies.clear()
    assert back_of(client.post("/undo", data={"line": LINE}).text) == "/"
    away = ("//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example")
    for elsewhere in ("", "words", "/a\nb", *away):
        answer = client.post("/login", data={"token": TOKEN, "back": elsewhere})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/"), elsewhere


def test_others_are_let_in_with_a_token_of_enough_characters_alone() -> None:
    with pytest.raises(ConfigError, match=r"LINEWISE_REVIEW_TOKEN.*--host 0.0.0.0.*no token: set it"):
        Access("0.0.0.0", None)
    with pytest.raises(ConfigError, match="at least 16 characters"):
        Access("127.0.0.1", "short")


def test_names_are_text(asked: AskedPlant) -> None:
    browser = asked.browser("<script>alert(1)</script> Jürgen\n" + "x" * 100)
    page = browser.see()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; Jürgen" in page
    assert "<script>alert" not in page
    browser.answer(page, "good")
    by = asked.words()[0].by
    assert by is not None
    assert len(by) == 60


def test_what_the_request_calls_this_machine_opens_nothing_and_leads_nowhere(asked: AskedPlant) -> None:
    client = TestClient(asked.app(TOKEN, "0.0.0.0"), base_url="http://plant.example:4290", follow_redirects=False)
    for host in ("evil.example", "x/static/", "x/health?", "x/login#"):
        assert client.get(f"/words?line={LINE}", headers={"Host": host}).status_code == 401
        answer = client.get("/static/review.js/", headers={"Host": host})
        assert (answer.status_code, answer.headers.get("Location")) == (404, None)


def test_a_form_that_breaks_off_notes_nothing(asked: AskedPlant) -> None:
    for path in ("/answer", "/undo", "/name", "/login"):
        headers = (("Host", "127.0.0.1:4290"), ("Origin", HERE))
        request = WebRequest("POST", path, headers, b"answer=good&result=1", pieces=2, breaks_off=True)
        assert answered(asked.app(), request).status == 400
    assert asked.words() == []
