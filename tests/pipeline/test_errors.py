"""Errors that a user can mend: one sentence, which also another process gets whole."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from pipeline import errors
from pipeline.errors import ImageError, LinewiseError

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LinewiseError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_the_same_in_another_process(kind: type[LinewiseError]) -> None:
    there = pickle.loads(pickle.dumps(kind("a mask", "none", "draw one")))
    assert type(there) is kind
    assert str(there) == "expected a mask, got none: draw one"
    assert (there.expected, there.got, there.remedy) == ("a mask", "none", "draw one")


def test_an_image_error_keeps_its_file() -> None:
    there = pickle.loads(pickle.dumps(ImageError("a JPEG", "text", "copy it again", Path("a.jpg"))))
    assert (str(there), there.path) == ("expected a JPEG, got text: copy it again", Path("a.jpg"))


def test_a_sentence_stays_one_however_long_what_it_quotes_is() -> None:
    said = str(LinewiseError("a name", repr("x" * 100_000), "choose a shorter one"))
    assert len(said) < 2_200
    assert said.startswith("expected a name, got 'xxx")
    assert said.endswith("xxx': choose a shorter one")
