"""Adapted lines' scores, kept in a file: thresholds, curves and tables are made of them without adapting again.

An adaptation takes seconds, and a study needs thousands. Each is scored once, its scores are a row of a file: a study
that was interrupted, or that runs in several processes by different `--lines`, goes on where the file ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.evaluate.request import EvaluateRequest
from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.support_and_query import Query
from model_zoo.learner_table import make_learner
from pipeline.calibration import Threshold, calibrate
from pipeline.episode_draws import EpisodeImages
from pipeline.evaluation import ranking_figures
from pipeline.product_lines.lines import ProductLine
from pipeline.promise import Promise, promise_of
from pipeline.settings import Settings

MOST_TESTED = 90
"""Images of a line's query."""


class Setting(NamedTuple):
    """A learner, and how many images of each sort it had."""

    learner: str
    good: int
    defects: int
    unlabelled: int

    @property
    def images(self) -> str:
        """As tables say it."""
        more = f" + {self.unlabelled} unlabelled" if self.unlabelled else ""
        return f"{self.good} + {self.defects}{more}"


class Cell(NamedTuple):
    """One adaptation: of which learner, to which line, from how many images, of which draw."""

    learner: str
    line: str
    good: int
    defects: int
    unlabelled: int
    seed: int

    @property
    def setting(self) -> Setting:
        """What it has in common with those to other lines and of other draws."""
        return Setting(self.learner, self.good, self.defects, self.unlabelled)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What came of a cell.

    `of_good` and `of_defective` are the query's image scores, `alone` those of the good images of the support and of
    what was taken up, each by a head that does not know it, `known` those of its defective images, likewise. `size` is
    the input's, in pixels, `seconds` the adaptation's. `aupro` is nan on a line without masks.
    """

    data_set: str
    size: int
    seconds: float
    image_auroc: float
    aupro: float
    alone: tuple[float, ...]
    known: tuple[float, ...]
    of_good: tuple[float, ...]
    of_defective: tuple[float, ...]

    def threshold(self, rate: float = 0.01) -> Threshold:
        """As adaptation sets it from these scores; its pixel threshold, for which maps are missing, means nothing."""
        alone = np.array(self.alone)
        maps = np.zeros((len(alone), 1, 1), np.float32)
        return calibrate(alone, maps, target_false_reject_rate=rate, pooled=None, known_defects=self._known())

    def promise(self, threshold: Threshold) -> Promise:
        """What adaptation promises of such a threshold."""
        return promise_of(threshold, np.array(self.alone), self._known())

    def _known(self) -> NDArray[np.float64] | None:
        return np.array(self.known) if self.known else None

    def rates(self, reject: float) -> tuple[float, float]:
        """Shares of the query's good parts rejected and of its defects missed, 0..1."""
        return _share(np.array(self.of_good) >= reject), _share(np.array(self.of_defective) < reject)


def _share(found: NDArray[np.bool_]) -> float:
    return float(np.mean(found)) if len(found) else float("nan")


class KeptScores:
    """The scores of cells, in a file with a JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[Cell, Scores] = {}
        if path.is_file():
            for text in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(text)
                cell = Cell(**{name: row.pop(name) for name in Cell._fields})
                lists: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
                self._found[cell] = Scores(**lists)

    def __contains__(self, cell: Cell) -> bool:
        return cell in self._found

    def __getitem__(self, cell: Cell) -> Scores:
        return self._found[cell]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._found)

    def add(self, cell: Cell, scores: Scores) -> None:
        """Keep them; one write, so that processes may share the file."""
        self._found[cell] = scores
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell._asdict() | asdict(scores)) + "\n")


def score_cells(
    lines: Sequence[ProductLine],
    cells: Iterable[Cell],
    kept: KeptScores,
    settings: Settings,
    *,
    contamination: float = 0.05,
    size: int | None = None,
    most_tested: int | None = None,
) -> None:
    """Adapt and score those cells of some lines that are not kept yet.

    All cells of a call share their draws: the first images of the largest support, and one query.

    Args:
        lines: to adapt to.
        cells: of these lines and of others.
        kept: gets the scores.
        settings: of the home in use.
        contamination: the share of the unlabelled images that is defective.
        size: the input's, in pixels; None: as the learner chooses.
        most_tested: query images of a line; None: all.
    """
    wanted = sorted(set(cells))
    bench = Bench(_request(wanted, contamination, size, most_tested), settings, lambda _: None)
    for line in lines:
        of_line = [cell for cell in wanted if cell.line == line.name and cell not in kept]
        for seed in sorted({cell.seed for cell in of_line}):
            drawn = bench.draw(line, seed)
            query = bench.query(drawn.query)
            for cell in (cell for cell in of_line if cell.seed == seed):
                scores = _score(bench, line, cell, drawn, query)
                kept.add(cell, scores)
                print(*cell, f"{100 * scores.image_auroc:.1f}", f"{scores.seconds:.1f} s", flush=True)


def _score(bench: Bench, line: ProductLine, cell: Cell, drawn: EpisodeImages, query: Query) -> Scores:
    support = bench.support(drawn, cell.good, cell.defects, cell.seed, cell.unlabelled)
    learner = make_learner(cell.learner, bench.backbone().opened.spec, seed=cell.seed)
    adapted = bench.adapt(cell.learner, learner, support)
    output = adapted.output(query)
    alone = adapted.alone or adapted.head.leave_one_out(adapted.view.support)
    known = adapted.head.leave_one_defect_out(adapted.view.support)
    figures, scores = ranking_figures(output, query.truth), output.image_score.double().numpy()
    return Scores(
        data_set=line.data_set,
        size=adapted.view.backbone.spec.size.side,
        seconds=adapted.seconds,
        image_auroc=figures["image_auroc"],
        aupro=figures["aupro"],
        alone=tuple(alone.image_score.double().tolist()),
        known=() if known is None else tuple(known.double().tolist()),
        of_good=tuple(scores[~query.truth.labels].tolist()),
        of_defective=tuple(scores[query.truth.labels].tolist()),
    )


def _request(cells: Sequence[Cell], contamination: float, size: int | None, most_tested: int | None) -> EvaluateRequest:
    numbers = {name: sorted({getattr(cell, name) for cell in cells}) for name in ("good", "defects", "unlabelled")}
    asked = {"learners": sorted({cell.learner for cell in cells}), "contamination": contamination}
    return EvaluateRequest.model_validate(
        {"lines": Path(), **numbers, **asked, "size": size, "max_test_images": most_tested}
    )
