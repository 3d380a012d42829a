"""Seeded damage: what disks, networks and people who mean harm do to bytes, to JSON and to text."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Span = tuple[int, int]
"""(start, stop) of a part of a file that means something: a chunk, a segment, a directory's entry."""

LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ODD_TEXTS = (
    "",
    "\x00",
    "\n",
    "../../etc/passwd",
    "/etc/passwd",
    "\\\\server\\share",
    "..",
    "~root",
    "a" * 300,
    "a" * 20_000,
    "\ud800",
    "\u202egnp.exe",
    "ü",
    "u\u0308",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
    "${HOME}",
    "%s%n%p",
    "=cmd|' /C calc'!A0",
    "[bold]red[/bold]",
    "[/]",
    "\x1b[2J",
    "rtsp://user:secret@camera7/line1",
    "nan",
    "-1",
    "1e999",
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.0, -0.0, 1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), [], {}, [[]], {"": {}}, [None] * 1000),
    *ODD_TEXTS,
)


def damaged_bytes(data: bytes, rng: Random, spans: Sequence[Span], others: Sequence[bytes]) -> tuple[bytes, list[str]]:
    """One to four damages of bytes.

    Args:
        data: a whole file.
        rng: all that is chosen is drawn from it.
        spans: parts of the file that damage may take as wholes.
        others: whole files of the same and of other kinds, to splice with.

    Returns:
        The damaged bytes, and what was done to them.
    """
    done: list[str] = []
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        name, damage = rng.choice(_DAMAGES)
        data = damage(data, rng, spans, others)
        done.append(name)
    return data, done


def truncated(data: bytes, rng: Random) -> bytes:
    """The beginning of a file, at least a byte less than all of it."""
    return data[: rng.randrange(len(data))] if data else data


def zero_tailed(data: bytes, rng: Random) -> bytes:
    """A file whose end was never written: zeros up to its length, as a broken copy leaves."""
    kept = rng.randrange(len(data)) if data else 0
    return data[:kept] + bytes(len(data) - kept)


def _place(data: bytes, rng: Random) -> int:
    # headers are where parsers go wrong: half of all damage is done to the first 128 bytes
    return rng.randrange(min(len(data), 128) if rng.random() < 0.5 else len(data)) if data else 0


def _flip(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if data else 0):
        changed[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    if data:
        changed[_place(data, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _length(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    """A number blown up, or emptied, where one may stand."""
    code = rng.choice("HIQ")
    value = rng.choice(LENGTHS) & (0xFFFF if code == "H" else 0xFFFFFFFF)
    number = struct.pack(rng.choice("<>") + code, value)
    start = _place(data, rng)
    return data[:start] + number + data[start + len(number) :]


def _cut(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    return truncated(data, rng)


def _zeros(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    return zero_tailed(data, rng)


def _range(data: bytes, rng: Random) -> Span:
    start = _place(data, rng)
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 256, 4096)))


def _delete(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    start, stop = _range(data, rng)
    return data[:start] + data[stop:]


def _repeat(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    start, stop = _range(data, rng)
    return data[:start] + data[start:stop] * rng.choice((2, 3, 100)) + data[stop:]


def _insert(data: bytes, rng: Random, _spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.randbytes(rng.choice((1, 2, 8, 100))) + data[start:]


def _splice(data: bytes, rng: Random, _spans: Sequence[Span], others: Sequence[bytes]) -> bytes:
    other = rng.choice(others) if others else b""
    return data[: _place(data, rng)] + other[_place(other, rng) :]


def _part(data: bytes, rng: Random, spans: Sequence[Span], _others: Sequence[bytes]) -> bytes:
    """A whole part dropped, doubled, or put elsewhere."""
    if not spans:
        return data
    (start, stop), (place, _) = rng.choice(spans), rng.choice(spans)
    part = data[start:stop]
    match rng.randrange(4):
        case 0:
            return data[:start] + data[stop:]
        case 1:
            return data[:stop] + part * rng.choice((1, 2, 50)) + data[stop:]
        case 2:
            return data[:place] + part + data[place:]
        case _:
            return data[:start] + bytes(len(part)) + data[stop:]


_Damage = Callable[[bytes, Random, Sequence[Span], Sequence[bytes]], bytes]
_DAMAGES: tuple[tuple[str, _Damage], ...] = (
    ("bits flipped", _flip),
    ("byte set", _set),
    ("length blown up", _length),
    ("cut off", _cut),
    ("zeros to the end", _zeros),
    ("bytes deleted", _delete),
    ("bytes repeated", _repeat),
    ("bytes inserted", _insert),
    ("spliced", _splice),
    ("part moved", _part),
    ("part moved", _part),
)


def parts_of(data: bytes) -> list[Span]:
    """What a damage may take as a whole: PNG's chunks, JPEG's segments, else pieces of 12 bytes (TIFF's entries)."""
    if data.startswith(b"\x89PNG"):
        return png_chunks(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_segments(data)
    return [(start, min(start + 12, len(data))) for start in range(8, min(len(data), 1200), 12)]


def png_chunks(data: bytes) -> list[Span]:
    """Each chunk from its length to its checksum."""
    spans, start = [], 8
    while start + 12 <= len(data):
        stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
        spans.append((start, min(stop, len(data))))
        start = stop
    return spans


def _jpeg_segments(data: bytes) -> list[Span]:
    spans, start = [], 2
    while start + 4 <= len(data) and data[start] == 0xFF:
        stop = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        spans.append((start, min(stop, len(data))))
        if data[start + 1] == 0xDA:
            spans.append((min(stop, len(data)), len(data)))
            break
        start = stop
    return spans


def with_checksums_mended(data: bytes) -> bytes:
    """A PNG whose chunks have right checksums again, so that a damage reaches what lies behind them."""
    mended = bytearray(data)
    for start, stop in png_chunks(data):
        if stop - start >= 12:
            mended[stop - 4 : stop] = struct.pack(">I", zlib.crc32(data[start + 4 : stop - 4]))
    return bytes(mended)


def odd_value(rng: Random) -> Any:
    """One of `ODD_VALUES`, its own to change."""
    return copy.deepcopy(rng.choice(ODD_VALUES))


def damaged_value(value: Any, rng: Random) -> Any:
    """A JSON value with one to three places changed: another value, a key gone, doubled, or of another name."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _changed(value, rng)
    return value


def _changed(value: Any, rng: Random) -> Any:
    holders: list[tuple[Any, Any]] = []
    waiting = [value] if isinstance(value, dict | list) else []
    while waiting:
        holder = waiting.pop()
        items = list(holder.items()) if isinstance(holder, dict) else list(enumerate(holder))
        holders += [(holder, key) for key, _ in items]
        waiting += [inner for _, inner in items if isinstance(inner, dict | list)]
    if not holders or rng.random() < 0.02:
        return odd_value(rng)
    holder, key = rng.choice(holders)
    match rng.randrange(5):
        case 0 if isinstance(holder, dict):
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(ODD_TEXTS)] = copy.deepcopy(holder[key])
        case 1:
            holder.extend(copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 3, 200))))
        case 2:
            holder[key] = [holder[key]] if rng.random() < 0.5 else str(holder[key])
        case _:
            holder[key] = odd_value(rng)
    return value


def as_json(value: Any, rng: Random) -> bytes:
    """A value as bytes; now and then nested beyond any depth, or damaged as bytes."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    match rng.randrange(20):
        case 0:
            return b"[" * 100_000 + text
        case 1:
            return damaged_bytes(text, rng, (), ())[0]
        case 2:
            return text.decode("utf-8", "replace").encode("utf-16")
        case _:
            return text
