"""Names as text."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigError
from pipeline.unicode_names import one_line


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb\r\tc.png", r"a\nb\r\tc.png"),
        ("teil_\udcfc.png", r"teil_\xfc.png"),
        ("\ud800 \u2028 \x1b[31m \x7f \x85", r"\ud800 \u2028 \x1b[31m \x7f \x85"),
        ("Prüfung Teil 部品　\u200c👩\u200d🔧 C:\\new.png", "Prüfung Teil 部品　\u200c👩\u200d🔧 C:\\new.png"),
    ],
)
def test_what_is_no_text_is_escaped_and_all_else_stays(name: str, shown: str) -> None:
    assert one_line(name) == shown
    assert one_line(shown) == shown
    shown.encode()


def test_an_error_is_on_one_line_whatever_it_names() -> None:
    error = ConfigError("an image", "a\nb\udcff", "look")
    assert str(error) == r"expected an image, got a\nb\xff: look"
    assert error.got == "a\nb\udcff"
