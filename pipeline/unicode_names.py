"""Names of files, folders and lines as text: the one form of Unicode in which they are compared, and what people see.

A name can be written in several: "ü" is one character where Windows and Linux made the file, and two on a Mac. Paths
stay as the file system has them; only what is compared is brought into one form. A name may also hold what is no text:
the end of a line, a terminal's control characters, bytes that are not UTF-8.
"""

from __future__ import annotations

import re
import unicodedata


def composed(name: str) -> str:
    """A name in the composed form (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(text: str) -> str:
    r"""Text on one line that every file, page and terminal takes: what is none is escaped, as `\n`, `\t` and `\xff`."""
    return _NO_TEXT.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is not UTF-8, as Python keeps it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
