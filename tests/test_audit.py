"""What CI says of an audit of the dependencies: a vulnerability fails it, a service that is out of reach is told."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.checkout import REPOSITORY


def audit(report: Any) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, REPOSITORY / ".ci" / "audit"],
        check=False,
        input=json.dumps(report),
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def package(name: str, *vulnerabilities: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1.0",
        "vulns": [{"id": name, "fix_versions": ["1.1"]} for name in vulnerabilities],
    }


def test_a_known_vulnerability_fails() -> None:
    code, said = audit({"dependencies": [package("numpy"), package("jinja2", "PYSEC-7")]})
    assert code == 1
    assert said == "jinja2 1.0: PYSEC-7, fixed in 1.1\naudited 2 packages: 1 with known vulnerabilities\n"


def test_none_is_said_with_what_was_looked_up() -> None:
    unknown = {"name": "own", "skip_reason": "not found"}
    assert audit({"dependencies": [package("numpy"), unknown]}) == (
        0,
        "audited 1 packages, 1 could not be looked up: 0 with known vulnerabilities\n",
    )


def test_a_service_out_of_reach_is_a_visible_skip() -> None:
    for report in ({"dependencies": [{"name": "numpy", "skip_reason": "not found"}]}, None):
        code, said = audit(report)
        assert code == 0
        assert said.startswith("AUDIT SKIPPED: ")
