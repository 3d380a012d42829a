"""Addresses of receivers: what they mean, and that none holds a secret."""

from __future__ import annotations

import pytest

from deploy.messages.destination import parse_destination
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "address", "host", "port", "path"),
    [
        ("mqtt://broker", "mqtt://broker", "broker", 1883, ""),
        ("MQTTS://broker:8884/plant/7/", "mqtts://broker:8884/plant/7/", "broker", 8884, "plant/7"),
        (
            "http://[::1]:8080/in?by=us",
            "http://[::1]:8080/in?by=us",
            "::1",
            8080,
            "/in?by=us",
        ),
        ("https://mes.example", "https://mes.example", "mes.example", 443, "/"),
    ],
)
def test_an_address_is_taken_apart(text: str, address: str, host: str, port: int, path: str) -> None:
    found = parse_destination(text)
    assert found.node == ""
    assert (found.address, found.host, found.port, found.path) == (address, host, port, path)


@pytest.mark.parametrize(
    ("text", "port", "path", "node"),
    [
        ("opc.tcp://plc?node=i=85", 4840, "", "i=85"),
        (
            "OPC.TCP://plc:4841/ua/server?node=ns=2;s=%7Bline%7D.Result%20%231",
            4841,
            "/ua/server",
            "ns=2;s={line}.Result #1",
        ),
        ("opc.tcp://plc?node=ns=65535;i=4294967295", 4840, "", "ns=65535;i=4294967295"),
    ],
)
def test_an_opcua_address_names_the_node(text: str, port: int, path: str, node: str) -> None:
    found = parse_destination(text)
    assert (found.scheme, found.host, found.port, found.path, found.node) == ("opc.tcp", "plc", port, path, node)


@pytest.mark.parametrize("query", ["", "?node=", "?node=Result", "?node=i=x", "?node=ns=2", "?nodes=i=85"])
def test_an_opcua_address_without_a_node_is_told_how_to_name_one(query: str) -> None:
    with pytest.raises(ConfigError, match=r"name the node that is written, as in opc\.tcp://"):
        parse_destination(f"opc.tcp://plc{query}")


@pytest.mark.parametrize("node", ["ns=65536;s=a", "ns=99999;i=1", "i=4294967296", "ns=2;i=9999999999"])
def test_an_opcua_id_that_none_can_have_is_refused_with_its_bounds(node: str) -> None:
    with pytest.raises(ConfigError, match="ns is 65535 at most, i 4294967295"):
        parse_destination(f"opc.tcp://plc?node={node}")


@pytest.mark.parametrize(
    "text",
    [
        "opc.tcp://me:geheim@plc?node=i=85",
        "mqtt://me:geheim@broker/plant",
        "https://geheim@host/path",
        "https://host/path?token=geheim",
        "https://host/path?a=1&api_key=geheim",
        "https://host/password=geheim/in",
    ],
)
def test_an_address_with_credentials_is_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ConfigError, match="LINEWISE_PUBLISH_CREDENTIALS") as refused:
        parse_destination(text)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "broker", "me:geheim@broker", "amqp://broker", "mqtt://", "mqtt://broker:0", "mqtt://broker:70000"),
        *("mqtt://b/a/#", "mqtt://b/+/c", "mqtt://b/c?d=1", "http://h/#x", "http://host/a b", "http://host/a\nb: c"),
        *("https://hést/ä", "http://" + "a" * 70),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="an address such as mqtt://broker") as refused:
        parse_destination(text)
    assert "geheim" not in str(refused.value)
