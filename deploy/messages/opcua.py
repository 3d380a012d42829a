"""Messages to an OPC UA server, a controller's as a rule: written into its variables, one message after the other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from deploy.bundles.manifest import linewise_version
from deploy.messages.message import payload
from deploy.messages.receiver import ANSWER_SECONDS, Receiver, ReceiverAwayError
from deploy.messages.told import Told
from deploy.results.outbox import QueuedMessage
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from asyncua.common.node import Node
    from asyncua.sync import ThreadLoop
    from asyncua.ua import NodeId, VariantType

    _Place = dict[str, Node]
    """Where messages are written: the variables, by the names of the fields that they hold."""

_T = TypeVar("_T")

_SESSION_SECONDS = 60  # a controller has few sessions: that of a process that was killed is free again after it
_READ_SECONDS = ANSWER_SECONDS  # a message that is not read for so long is told of
_LOOK_SECONDS = 0.05  # how often it is asked whether a message was read
_FLAG, _WHOLE = "unread", "message"  # variables that are no fields of a message
_FOR_GOOD = frozenset(
    {"BadNodeIdInvalid", "BadAttributeIdInvalid", "BadTypeMismatch", "BadNotWritable"}
    | {"BadWriteNotSupported", "BadNotSupported", "BadUserAccessDenied", "BadOutOfRange", "BadIndexRangeInvalid"}
    | {"BadEncodingLimitsExceeded"}
)
"""What a server says of a variable that will not take this message later either; else it is tried again.

A node that is unknown is none of them: gateways let us in before they have loaded their variables.
"""


class _RefusedError(Exception):
    """The message will never be taken."""


class _UnreadError(ReceiverAwayError):
    """Somebody has yet to read what the server holds: the session knows what that is, and goes on."""


class OpcUaServer(Receiver):
    """A server that has a message once it has written it; where it has a flag `unread`, once somebody cleared that.

    Args:
        url: the server's, `opc.tcp://host:port/path`.
        node: id of a String variable, or of an object with variables named as fields of the message; `{line}` in it is
            the line's name.
        credentials: "user:password"; None: none.

    Raises:
        ConfigError: asyncua is not installed.
    """

    def __init__(self, url: str, node: str, *, credentials: str | None) -> None:
        try:
            import asyncua  # noqa: F401, PLC0415  # an extra, and half of a plant's runs need it not
        except ModuleNotFoundError as error:
            remedy = "pip install 'linewise[opcua]' (linewise[full] and the Docker image lack it: docs/messages.md)"
            raise ConfigError("asyncua, to publish over OPC UA", "none", remedy) from error
        self._url, self._node, self._credentials = url, node, credentials
        self._session: _Session | None = None

    def deliver(self, messages: Sequence[QueuedMessage]) -> Iterator[str | None]:
        """See `Receiver`. What the server says of a variable itself (its type, its rights) is the message's end."""
        for message in messages:
            refusal = None
            if self._session is not None and not self._session.is_open:
                self.close()
            try:
                self._session = self._session or _Session(self._url, self._credentials)
                self._session.hand_over(self._node.replace("{line}", message.line), message)
            except _RefusedError as error:
                refusal = str(error)
            except _UnreadError:
                raise
            except ReceiverAwayError:
                self.close()
                raise
            yield refusal

    def close(self) -> None:
        """See `Receiver`."""
        if self._session is not None:
            self._session.close()
            self._session = None


class _Session:
    """One session with a server, from its beginning to its end; asyncua's thread keeps it alive."""

    def __init__(self, url: str, credentials: str | None) -> None:
        from asyncua.client.client import Client  # noqa: PLC0415
        from asyncua.sync import ThreadLoop  # noqa: PLC0415

        logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # what it says of a lost connection is told by us
        self._places: dict[str, _Place] = {}
        self._types: dict[NodeId, VariantType] = {}
        self._unread: str | None = None  # the message that was written and not read yet
        self._loop: ThreadLoop = ThreadLoop(None)
        self._loop.daemon = True  # it keeps no process from its end
        self._loop.start()
        self._client = Client(url, timeout=ANSWER_SECONDS)
        self._client.name = self._client.description = f"Linewise {linewise_version()}"
        self._client.application_uri, self._client.product_uri = "urn:linewise", "urn:linewise"
        self._client.session_timeout = _SESSION_SECONDS * 1000
        if credentials is not None:
            user, _, password = credentials.partition(":")
            self._client.set_user(user)
            self._client.set_password(password)
        try:
            self._run(self._client.connect(), ANSWER_SECONDS)
        except BaseException:
            self.close()
            raise

    def hand_over(self, node: str, message: QueuedMessage) -> None:
        """Write a message, and wait until it was read where there is a flag for that.

        Raises:
            _RefusedError: it will never be taken.
            _UnreadError: it, or the one before, was not read yet; handed over again it is not written again.
            ReceiverAwayError: it was not taken, as far as anyone knows.
        """
        try:
            self._run(self._hand_over(node, message), 3 * ANSWER_SECONDS)
        except (_RefusedError, ReceiverAwayError):
            for variable in self._places.pop(node, {}).values():  # who mended the server need not restart it
                self._types.pop(variable.nodeid, None)
            raise

    def close(self) -> None:
        """End it, without a word where the server does not answer."""
        with contextlib.suppress(ReceiverAwayError, _RefusedError):
            self._run(self._client.disconnect(), 2.0)
        self._loop.post(_end_tasks())
        self._loop.stop()

    def _run(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        """Let asyncua's thread do something, and say in our words what went wrong."""
        try:
            return self._loop.post(asyncio.wait_for(work, seconds))
        except (_RefusedError, ReceiverAwayError):
            raise
        except TimeoutError as error:
            raise ReceiverAwayError("it does not answer") from error
        except Exception as error:  # asyncua's own as a rule, and whatever else a server's answer leads to in it
            name = type(error).__name__
            if name in _FOR_GOOD and self.is_open:
                raise _RefusedError(f"it answered {name}") from error
            raise ReceiverAwayError(f"it answers {name}" if name.startswith("Bad") else str(error) or name) from error

    @property
    def is_open(self) -> bool:
        """Whether the server has let us in, and the connection stands, as far as is known."""
        from asyncua.client.ua_client import UaClientState  # noqa: PLC0415

        return self._client.state is UaClientState.CONNECTED

    async def _hand_over(self, node: str, message: QueuedMessage) -> None:
        place = self._places[node] = self._places.get(node) or await self._found(node)
        if _FLAG in place:
            await self._until_read(place)
            if self._unread == message.message_id:
                return
        await self._write(place, _values(message))
        if _FLAG in place:
            await self._write(place, {_FLAG: True})
            self._unread = message.message_id
            await self._until_read(place)

    async def _found(self, node_id: str) -> _Place:
        """A variable, or those of an object that we know by their names."""
        from asyncua.ua import NodeClass  # noqa: PLC0415

        node = self._client.get_node(node_id)
        if await node.read_node_class() == NodeClass.Variable:
            return {_WHOLE: node}
        children = await node.get_children(nodeclassmask=NodeClass.Variable)
        return {_plain((await child.read_browse_name()).Name): child for child in children}

    async def _type(self, node: Node) -> VariantType:
        """A variable's, asked of what is written alone: those of the others may be such as no one can resolve."""
        if (known := self._types.get(node.nodeid)) is None:
            known = self._types[node.nodeid] = await node.read_data_type_as_variant_type()
        return known

    async def _until_read(self, place: _Place) -> None:
        deadline = time.monotonic() + _READ_SECONDS
        while await place[_FLAG].read_value():
            if time.monotonic() > deadline:
                raise _UnreadError(f"nobody reads what it has: {_FLAG} is still true")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _write(self, place: _Place, values: Mapping[str, Any]) -> None:
        """All variables in one request. No times go with them: controllers do not let others set those."""
        from asyncua.ua import DataValue, Variant  # noqa: PLC0415

        if not (known := {name: (node, await self._type(node)) for name, node in place.items() if name in values}):
            raise _RefusedError("the node has no variable that is named as a field of the message")
        nodes = [node.nodeid for node, _ in known.values()]
        contents = [DataValue(Variant(_as(name, values[name], type_), type_)) for name, (_, type_) in known.items()]
        for name, status in zip(known, await self._client.uaclient.write_attributes(nodes, contents), strict=True):
            if status.is_bad():
                raised = _RefusedError if status.name in _FOR_GOOD else ReceiverAwayError
                raise raised(f"it answered {status.name} for {name}")


def _values(message: QueuedMessage) -> dict[str, Any]:
    """What variables may hold: the message as a whole, and its fields by their plain names."""
    text = payload(message.body).decode()
    fields = json.loads(text) | {"decision": message.decision}  # a word also where no decision could be made
    return {_plain(name): value for name, value in fields.items()} | {_WHOLE: text}


def _as(name: str, value: Any, type_: VariantType) -> Any:
    """A value as a variable's type has it: null is "", not a number or 0; a decision as an integer counts up from PASS.

    Raises:
        _RefusedError: the type cannot hold it.
    """
    kind = type_.name
    if kind == "String":
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)
    if kind == "Boolean" and isinstance(value, bool):
        return value
    try:
        if kind in ("Float", "Double"):
            return float("nan") if value is None else float(value)
        if kind == "DateTime" and isinstance(value, str):
            return datetime.fromisoformat(value)
        if "Int" in kind:
            number = [*Told].index(Told(value)) if name == "decision" else int(value or 0)
            bits = int(kind.rpartition("t")[2]) - (kind[0] == "I")  # one is the sign
            if abs(number) < 2**bits and (number >= 0 or kind[0] == "I"):
                return number
    except (TypeError, ValueError):
        pass
    raise _RefusedError(f"its variable {name} is of type {kind}, which cannot hold {value!r}"[:300])


def _plain(name: str) -> str:
    """`ImagePath` and `image_path` are one name."""
    return name.replace("_", "").lower()


async def _end_tasks() -> None:
    """End what still runs beside us, so that the loop can be closed."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
