"""Which images a line's versions never learn from."""

from __future__ import annotations

import hashlib

from pipeline.held_back import LEAST_TO_HOLD_BACK, is_held_back, to_learn_from

CONTENTS = [hashlib.sha256(bytes([number])).hexdigest() for number in range(200)]


def test_about_a_fifth_is_held_back_whatever_the_others_are() -> None:
    kept = to_learn_from(CONTENTS, str)
    assert 140 < len(kept) < 180
    assert not any(map(is_held_back, kept))
    assert to_learn_from(CONTENTS[:100], str) == tuple(one for one in kept if one in CONTENTS[:100])


def test_few_images_are_all_learned_from() -> None:
    few = [one for one in CONTENTS if is_held_back(one)][: LEAST_TO_HOLD_BACK - 1]
    assert to_learn_from(few, str) == tuple(few)
    alone = [one for one in CONTENTS if is_held_back(one)] * 2
    assert to_learn_from(alone, str) == tuple(alone)
