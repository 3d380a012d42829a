"""Secrets that an address holds by name."""

from __future__ import annotations

import re

HIDDEN = "***"
"""Stands for a secret in what may be shown."""

# Some cameras take the password in the query, some in the path: /user=admin_password=x_channel=1.sdp
_SECRET = re.compile(
    r"(?i)((?:user|login|passw|pwd|pass|token|key|auth|secret|sig|session)[a-z]*=)[^&/;,?#]*?(?=_\w+=|[&/;,?#]|$)"
)


def without_secrets(text: str) -> str:
    """A URL's path or query with what it gives a secret's name hidden."""
    return _SECRET.sub(rf"\1{HIDDEN}", text)
