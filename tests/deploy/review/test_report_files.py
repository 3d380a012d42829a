"""Reports of scoring runs on the review page: those of the home, and no other file."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from pipeline.settings import load_settings
from tests.deploy.review.asked_plant import HERE, AskedPlant
from tests.deploy.scoring_plant import LINE

RUN = "20261130-101500-000001"


@pytest.fixture
def home(asked: AskedPlant) -> Path:
    """A line's report, a plant's with a line's page beside it, and what is no report."""
    home = asked.plant.root / "home"
    for path in (
        f"reports/caps-1a2b/{RUN}/report.html",
        f"reports/caps-1a2b/{RUN}/results.csv",
        f"plant-reports/{RUN}/report.html",
        f"plant-reports/{RUN}/caps.html",
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
        f"plant-reports/{RUN}/caps.html": "text/html",
    }.items():
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.text) == (200, f"this is {path}")
        assert answer.headers["Content-Type"].startswith(kind)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "style-src 'self'" in client.get("/").headers["Content-Security-Policy"]


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


def test_a_lines_card_leads_to_its_last_report_else_to_the_plants(asked: AskedPlant) -> None:
    home = asked.plant.root / "home"
    client = TestClient(asked.app(), base_url=HERE)
    link = re.search(r'href="(/report[^"]*)">Last report', client.get("/").text)
    assert link is not None
    address = unescape(link.group(1))
    assert client.get(address).status_code == 404
    of_plant, of_line = home / "plant-reports" / RUN, load_settings(home).line_folder("reports", LINE)
    for folder in (of_plant, of_line / RUN, of_line / f"{RUN[:-1]}2"):
        folder.mkdir(parents=True)
        (folder / "report.html").write_text(f"of {folder.parent.name} {folder.name}")
        assert client.get(address).text == f"of {folder.parent.name} {folder.name}"
    (of_line / f"{RUN[:-1]}3").mkdir()  # a run that has not come to its report
    assert client.get(address).text == f"of {of_line.name} {RUN[:-1]}2"
    assert client.get("/report", params={"line": "../../elsewhere"}).text == f"of plant-reports {RUN}"
