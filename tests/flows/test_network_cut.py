"""A plant without a network: the main job runs where nothing but loopback is there, and asks for nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import REPOSITORY

# In a network namespace of its own. Whatever Python asks of another machine is noted; what libraries in C ask fails.
CUT_OFF = """
import fcntl, json, socket, struct, sys

def bring_loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))  # SIOCSIFFLAGS: up, running

bring_loopback_up()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    unreachable = error.errno
asked = []

def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        address = repr(arguments[1:] if event == "socket.connect" else arguments)
        if not any(local in address for local in ("127.0.0.1", "::1", "localhost", "/")):
            asked.append(f"{event} {address}")

sys.addaudithook(note)
from flows.cli import main
codes = []
for command in json.loads(sys.argv[1]):
    sys.argv[1:] = command
    try:
        codes.append(main())
    except SystemExit as stop:
        codes.append(stop.code or 0)
print(json.dumps({"codes": codes, "asked": asked, "unreachable": unreachable}), file=open(sys.argv[0] + ".json", "w"))
"""


def _unshare() -> list[str]:
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("cutting the network needs unshare(1)")
    command = [unshare, "--map-root-user", "--net"]
    made = subprocess.run([*command, "true"], check=False, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a network namespace of its own is not allowed here: {made.stderr.strip()}")
    return command


@pytest.mark.slow
def test_generated_lines_adapt_and_score_without_a_network(tmp_path: Path) -> None:
    unshare, script = _unshare(), tmp_path / "cut_off.py"
    script.write_text(CUT_OFF)
    line = tmp_path / "lines" / "synthetic_cast_000"
    commands = [
        ["synthetic", str(tmp_path / "lines"), "--lines", "1", "--good", "4", "--test-good", "3", "--defects", "3"],
        ["adapt", "caps", str(line), "--size", "64", "--good", "4", "--defects", "2", "--learner", "memory_bank"],
        ["score", "caps", str(line / "test"), "--device", "cpu", "--report", str(tmp_path / "report.html")],
    ]
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"LINEWISE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [*unshare, sys.executable, script, json.dumps(commands)],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "cut_off.py.json").read_text())
    assert told["codes"] == [0, 0, 0], done.stdout + done.stderr
    assert told["unreachable"], "the network was there"
    assert told["asked"] == []
    assert (tmp_path / "report.html").is_file()
