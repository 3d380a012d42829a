"""A share of a folder's files, for one of several processes or machines that score it together."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError

MOST_SHARDS = 200
"""Each is a run of its own; a server keeps some 200 of them together well."""


@dataclass(frozen=True)
class Shard:
    """The `number`th, from 1, of `count` shares. A file is in exactly one of them, by its path below the folder alone:
    nobody has to hand a list of files round, and files that come meanwhile move no others.
    """

    number: int
    count: int

    def holds(self, name: Path) -> bool:
        """Whether the file of this path below the folder is in the share."""
        digest = hashlib.blake2b(os.fsencode(name), digest_size=8).digest()  # a CRC spreads counted names unevenly
        return int.from_bytes(digest) % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def parse_shard(text: str) -> Shard:
    """The shard that "2/8" names.

    Raises:
        ConfigError: it names none.
    """
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    number, count = (int(part) for part in found.groups()) if found else (0, 0)
    if not 1 <= number <= count <= MOST_SHARDS:
        raise ConfigError(f"a shard such as 2/8, of at most {MOST_SHARDS}", repr(text), "count from 1/8 to 8/8")
    return Shard(number, count)
