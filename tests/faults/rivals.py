"""Two who do the same at once."""

from __future__ import annotations

from itertools import pairwise

from tests.faults import activities
from tests.faults.fault import Trial


def two_scorings(trial: Trial) -> None:
    """Two processes score one folder of one line: every content has one row, and both come to their end."""
    scene = trial.stage.scene()
    children = [scene.child(activities.score, scene.images) for _ in range(2)]
    for child in children:
        child.result()
    scene.all_scored()
    scene.reports_are_whole()
    trial.count("scorings", 2)


def two_adaptations(trial: Trial) -> None:
    """Two processes adapt to one line: both versions are whole, the one promoted last is live, both are noted."""
    scene = trial.stage.scene()
    children = [scene.child(activities.adapt, scene.line) for _ in range(2)]
    made = [str(child.result()) for child in children]
    names = scene.versions_are_whole()
    assert len(set(made)) == 2, f"both adaptations made {made[0]}"
    assert set(made) < set(names), f"{made} are not both among {names}"
    decisions = scene.registry.decisions(activities.LINE)
    assert [one.version for one in decisions[-2:]] in (made, made[::-1])
    assert scene.registry.live_version(activities.LINE) == decisions[-1].version
    scene.no_litter(scene.settings.home / "lines")
    trial.count("adaptations", 2)


def two_promotions(trial: Trial) -> None:
    """Two processes promote and roll back: one version is live, and what is noted says how it came to be."""
    scene = trial.stage.scene()
    second = str(scene.child(activities.adapt, scene.line).result())
    versions = (scene.versions_are_whole()[0], second)
    children = [scene.child(activities.promote_in_turns, versions, 9) for _ in range(2)]
    for child in children:
        child.result()
    scene.versions_are_whole()
    decisions = scene.registry.decisions(activities.LINE)
    for one, other in pairwise(decisions[1:]):
        if other.live is not None and one.live is not None:
            assert other.live == one.version, f"{other.version} took the place of {other.live}, not of {one.version}"
    trial.count("decisions", len(decisions))
