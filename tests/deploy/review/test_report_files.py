"""Reports of scoring runs on the review page: those of the home, and no other file."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient

from deploy.bundles.line_folder import slug
from deploy.scoring.plant_pages import _page_names
from pipeline.settings import load_settings
from tests.deploy.review.asked_plant import HERE, AskedPlant, served
from tests.deploy.scoring_plant import LINE

RUN = "20261130-101500-000001"
_SCORED: Any = SimpleNamespace(line=LINE, version="20261129-080000")
PAGE = _page_names("report", [_SCORED] * 2)[1]
"""A line's page in a plant's report: the second one, after a roll-back."""


@pytest.fixture
def home(asked: AskedPlant) -> Path:
    """A line's report, a plant's with a line's page beside it, and what is no report."""
    home = asked.plant.root / "home"
    for path in (
        f"reports/caps-1a2b/{RUN}/report.html",
        f"reports/caps-1a2b/{RUN}/results.csv",
        f"plant-reports/{RUN}/report.html",
        f"plant-reports/{RUN}/{PAGE}",
        f"plant-reports/{RUN}/report_lines/mvtec%2Fpill/deep/1.html",
        f"reports/caps-1a2b/{RUN}/secret.pem",
        "elsewhere/report.html",
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(f"this is {path}")
    (home / "reports" / "away").symlink_to(home / "elsewhere")
    return home


def test_reports_of_the_home_are_shown_with_their_own_style_and_nothing_from_elsewhere(
    asked: AskedPlant, home: Path
) -> None:
    client = TestClient(asked.app(), base_url=HERE)
    for path, kind in {
        f"reports/caps-1a2b/{RUN}/report.html": "text/html",
        f"reports/caps-1a2b/{RUN}/results.csv": "text/csv",
        f"plant-reports/{RUN}/report.html": "text/html",
    }.items():
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.text) == (200, f"this is {path}")
        assert answer.headers["Content-Type"].startswith(kind)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "style-src 'self'" in client.get("/").headers["Content-Security-Policy"]


def test_a_plants_report_leads_to_its_lines_pages_and_no_deeper(asked: AskedPlant, home: Path) -> None:
    deeper = f"report_lines/{slug(LINE)}/deep/1.html"
    assert (home / "plant-reports" / RUN / deeper).is_file()
    with served(asked) as server:  # a server's own: the client of the tests takes quotes off twice
        page = httpx.get(f"{server}/plant-reports/{RUN}/{quote(PAGE)}")
        assert (page.status_code, page.text) == (200, f"this is plant-reports/{RUN}/{PAGE}")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; img-src data:")
        assert httpx.get(f"{server}/plant-reports/{RUN}/{quote(deeper)}").status_code == 404


@pytest.mark.parametrize(
    "address",
    [
        "reports",
        "reports/",
        "reports/caps-1a2b",
        f"reports/caps-1a2b/{RUN}",
        f"reports/caps-1a2b/{RUN}/secret.pem",
        f"reports/caps-1a2b/{RUN}/none.html",
        "reports/away/report.html",
        "reports/..%2Felsewhere/report.html",
        "reports/%2E%2E/elsewhere/report.html",
        "reports/caps-1a2b/%2E%2E/%2E%2E/elsewhere/report.html",
        "reports//etc/hostname.html",
        "reports/%00",
        "plant-reports/%2E%2E/results.sqlite",
    ],
)
def test_no_other_file_is(asked: AskedPlant, home: Path, address: str) -> None:
    answer = TestClient(asked.app(), base_url=HERE).get(f"/{address}")
    assert answer.status_code == 404
    assert "this is" not in answer.text


def test_a_page_with_a_token_shows_them_to_those_who_gave_it(asked: AskedPlant, home: Path) -> None:
    client = TestClient(asked.app("a token of enough characters"), base_url=HERE)
    path = f"/plant-reports/{RUN}/report.html"
    assert client.get(path).status_code == 401
    assert client.get(path, params={"token": "a token of enough characters"}).text == f"this is {path[1:]}"


def test_a_lines_card_leads_to_the_last_report_that_tells_of_it(asked: AskedPlant) -> None:
    home = asked.plant.root / "home"
    client = TestClient(asked.app(), base_url=HERE)
    link = re.search(r'href="(/report[^"]*)">Last report', client.get("/").text)
    assert link is not None
    address = unescape(link.group(1))
    assert client.get(address).status_code == 404
    of_plant, of_line = home / "plant-reports", load_settings(home).line_folder("reports", LINE)

    def write(run: Path, *, page: bool = False) -> str:
        run.mkdir(parents=True)
        (run / "report.html").write_text(f"of {run.parent.name} {run.name}")
        if page:
            (run / PAGE).parent.mkdir(parents=True)
            (run / PAGE).write_text("the line's own")
        return f"of {run.parent.name} {run.name}"

    def last() -> str:
        return client.get(address).text

    without = write(of_plant / "20261130-101500-000001")
    assert last() == without, "better than none"
    older = write(of_line / "20261130-101500-000000")
    assert last() == older, "the plant's later run does not tell of this line"
    newer = write(of_plant / "20261130-101500-000002", page=True)
    assert last() == newer
    own = write(of_line / "20261130-101500-000003")
    write(of_plant / "20261130-101500-000004")  # of other lines
    (of_line / "20261130-101500-000005").mkdir()  # a run that has not come to its report
    assert last() == own


@pytest.mark.parametrize("line", ["x" * 300, "../../elsewhere", "", "a\0b"])
def test_there_is_no_report_of_what_no_line_can_be_called(asked: AskedPlant, home: Path, line: str) -> None:
    answer = TestClient(asked.app(), base_url=HERE).get("/report", params={"line": line})
    assert (answer.status_code, answer.text) == (404, "no line can be called so\n")
