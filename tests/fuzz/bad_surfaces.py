"""Surfaces that do what none should, to see that the campaign sees it: their second input crashes, hangs or eats."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.surface import Input, Surface


def _loop() -> None:
    while True:
        pass


def _eat() -> None:
    bytearray(4 * 2**30)


def _surface(name: str, harm: Callable[[], None]) -> Surface:
    def look(made: Input, _folder: Path) -> str:
        if made.facts["harmful"]:
            harm()
        return "read"

    return Surface(name, 1.0, _counted(name), look)


def _counted(name: str) -> Callable[[Random], Input]:
    harmful = Random(f"0:{name}:1").random()  # what `campaign.input_of` draws for the second input

    def make(rng: Random) -> Input:
        return Input(facts={"harmful": rng.random() == harmful})

    return make


SURFACES = {name: _surface(name, harm) for name, harm in (("abort", os.abort), ("loop", _loop), ("eat", _eat))}
