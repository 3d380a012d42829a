"""The one form of Unicode in which names of files, folders and lines are compared.

A name can be written in several: "ü" is one character where Windows and Linux made the file, and two on a Mac. Paths
stay as the file system has them; only what is compared is brought into one form.
"""

from __future__ import annotations

import unicodedata


def composed(name: str) -> str:
    """A name in the composed form (NFC)."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
