"""What a learner costs when it scores: counted, and shown by `linewise learners --cost`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from typer.testing import CliRunner

from flows.cli import app
from model_zoo import learner_cost
from model_zoo.learner_cost import multiply_adds, random_support
from model_zoo.learner_table import LEARNERS, make_learner
from tests.parts.episodes import SPEC


def test_a_memory_banks_multiply_adds_are_patches_times_rows_times_channels():
    support = random_support(SPEC)
    head = make_learner("memory_bank", SPEC).adapt(support, seed=0)
    level = [level[:1] for level in support.good]
    rows = {8: 4 * 4 * 64, 4: 4 * 4 * 16}  # four good images and three flips of each, below the budget
    channels = {8: 10 + 1, 4: 12 + 1}  # and one for the rows' squares
    assert multiply_adds(head, *level) == 64 * rows[8] * channels[8] + 16 * rows[4] * channels[4]
    assert multiply_adds(torch.nn.Conv2d(3, 5, 3, bias=False), torch.zeros(1, 3, 6, 6)) == 4 * 4 * 5 * 27


def test_learners_are_listed_with_what_scoring_costs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learner_cost, "SIZE", 64)
    shown = CliRunner().invoke(app, ["learners", "--cost", "--json", "-"])
    rows = {row["name"]: row for row in json.loads(shown.stdout)}
    assert list(rows) == list(LEARNERS)
    bank, in_context, process = (rows[name] for name in ("memory_bank", "in_context", "neural_process"))
    assert 1 < bank["cost"] < in_context["cost"] < process["cost"]
    assert bank["cost"] < rows["auto"]["cost"] < in_context["cost"], "whitening is one product a patch more"
    assert bank["head_numbers"] < in_context["head_numbers"]


def test_the_table_says_what_was_counted(monkeypatch: pytest.MonkeyPatch):
    class Cost:
        relative, numbers = 1.5, 640_000

    costs: Callable[[], dict[str, Cost]] = lambda: dict.fromkeys(LEARNERS, Cost())  # noqa: E731
    monkeypatch.setattr(learner_cost, "learner_costs", costs)
    shown = CliRunner().invoke(app, ["learners", "--cost"]).stdout
    assert "1.50 x" in shown
    assert "multiply-adds" in shown
    assert "1.50 x" not in CliRunner().invoke(app, ["learners"]).stdout
