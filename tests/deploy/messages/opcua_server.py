"""A real OPC UA server in a process of its own, as a controller's, that tests start and kill.

    python -m tests.deploy.messages.opcua_server PORT LOG [--password PASSWORD]

Somebody reads the object Read and clears its flag at once, that of Slow after a second and that of Flagged never. The
variable Late is there once its process is sent SIGUSR1. Variables keep nothing over a kill; what they were given stands
in the log, a JSON object of values a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.checkout import REPOSITORY
from tests.deploy.messages.webhook_server import wait_until

FIELDS = {
    "Id": "String",
    "Line": "String",
    "Decision": "Int16",
    "Score": "Float",
    "Reason": "String",
    "ImageWidth": "UInt16",
    "Regions": "String",
    "ScoredAt": "DateTime",
    "Temperature": "Double",
}
"""Of the objects, by name and type; the last one is the controller's own, as is Recipe, whose type nobody knows."""
SLOW_SECONDS = 1.0


class OpcUaServerProcess:
    """A server on one port, which may end and begin again there."""

    def __init__(self, folder: Path, *options: str) -> None:
        pytest.importorskip("asyncua", reason="no asyncua: pip install 'linewise[opcua]'")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._log, self._options, self._forgotten = folder / f"opcua-{self.port}.log", options, 0
        self._process: subprocess.Popen[bytes] | None = None

    def address(self, node: str) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}/plant?node={node}"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.deploy.messages.opcua_server", str(self.port), str(self._log)]
        self._process = subprocess.Popen([*command, *self._options], cwd=REPOSITORY)
        wait_until(lambda: self._listens() or self._has_ended(), 120)  # seconds on a machine that is busy
        assert not self._has_ended(), "the server did not start"

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def load_late(self) -> None:
        """Let it have the variable Late."""
        assert self._process is not None, "the server runs"
        self._process.send_signal(signal.SIGUSR1)

    @contextmanager
    def running(self) -> Iterator[OpcUaServerProcess]:
        try:
            self.start()
            yield self
        finally:
            self.end()

    def written(self) -> list[dict[str, Any]]:
        """What was written since then, or read of the object that is read: values by the variables' names."""
        lines = self._log.read_text().splitlines(keepends=True) if self._log.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")][self._forgotten :]

    def forget(self) -> None:
        """Begin anew to count what is written."""
        self._forgotten += len(self.written())

    def messages(self) -> list[dict[str, Any]]:
        """Those that were written as a whole."""
        return [json.loads(found["Whole"]) for found in self.written() if "Whole" in found]

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


async def serve(port: int, log: Path, password: str | None) -> None:
    """Be the server until somebody ends us."""
    from asyncua import Server, ua
    from asyncua.common.callback import CallbackType
    from asyncua.crypto.permission_rules import User, UserRole
    from asyncua.server.user_managers import UserManager

    class OneUser(UserManager):
        def get_user(self, session: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
            known = (username, password) == ("me", asked)
            return User(role=UserRole.User, name="me") if known else None

    asked = password
    server = Server(user_manager=OneUser() if password else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plant")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    space = await server.register_namespace("urn:plant")
    assert space == 2, "tests write it in addresses"
    objects, names = server.nodes.objects, dict[Any, str]()

    async def variable(parent: Any, path: str, type_name: str, value: Any, *, writable: bool = True) -> Any:
        name = path.rpartition(".")[2]
        node = await parent.add_variable(ua.NodeId(path, space), name, value, ua.VariantType[type_name])
        if writable:
            await node.set_writable()
        names[node.nodeid] = name
        return node

    empty = {"String": "", "DateTime": ua.uatypes.datetime(2020, 1, 1)}
    await variable(objects, "Whole", "String", "")
    await variable(objects, "Number", "Int16", 0)
    await variable(objects, "Fixed", "String", "", writable=False)
    missing = ua.NodeId("NoSuchType", space)
    for line in ("mvtec/pill", "Flagged", "Read", "Slow"):
        parent = await objects.add_object(ua.NodeId(line, space), line)
        await parent.add_variable(ua.NodeId(f"{line}.Recipe", space), "Recipe", 0, ua.VariantType.Int32, missing)
        for name, type_name in FIELDS.items():
            await variable(parent, f"{line}.{name}", type_name, empty.get(type_name, 0))
    flag, slow_flag, _ = [
        await variable(server.get_node(ua.NodeId(line, space)), f"{line}.Unread", "Boolean", False)
        for line in ("Read", "Slow", "Flagged")
    ]
    read = [server.get_node(ua.NodeId(f"Read.{name}", space)) for name in FIELDS]
    await objects.add_object(ua.NodeId("Bare", space), "Bare")
    file = log.open("a")

    def note(values: dict[str, Any]) -> None:
        file.write(json.dumps(values, default=str) + "\n")
        file.flush()

    def after_write(event: Any, _dispatcher: Any) -> None:
        found = {}
        for item, status in zip(event.request_params.NodesToWrite, event.response_params, strict=True):
            if status.is_good() and item.NodeId in names and not str(item.NodeId.Identifier).startswith("Read."):
                found[names[item.NodeId]] = item.Value.Value.Value
        if found and set(found) != {"Unread"}:
            note(found)

    async def read_slowly() -> None:
        while True:
            await asyncio.sleep(0.02)
            if await slow_flag.read_value():
                await asyncio.sleep(SLOW_SECONDS)
                await slow_flag.write_value(False)

    late = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, late.set)
    slow = asyncio.create_task(read_slowly())
    async with server:
        server.subscribe_server_callback(CallbackType.PostWrite, after_write)
        while True:
            await asyncio.sleep(0.02)
            assert not slow.done(), "somebody reads"
            if late.is_set():
                late.clear()
                await variable(objects, "Late", "String", "")
            if await flag.read_value():
                note(dict(zip(FIELDS, [await node.read_value() for node in read], strict=True)))
                await flag.write_value(False)


if __name__ == "__main__":
    logging.disable()
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("log", type=Path)
    parser.add_argument("--password")
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.log, given.password))
