"""Multi-task: one theta for all lines, against a theta for each.

Rows differ in `adaptation`:

- **own**: the learner adapts to the line, as in few-shot.
- **shared**, meta-learners only: the pooled head that the learner starts from, its trunk and its theta0 trained on all
  source lines together, used as it is on every line. Only the memory bank is the line's own, as the inputs need it.

Learners that learn nothing from other lines have no theta to share: one row, own.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.evaluate.scenarios.bench import Bench
from flows.evaluate.scenarios.conditions import HeadOrigin
from flows.evaluate.scenarios.fold_training import POOLED
from flows.evaluate.scenarios.support_and_query import AdaptedHead
from flows.progress import Progress
from pipeline.evaluation import Fold, Row


def rows(bench: Bench, fold: Fold) -> Iterator[Row]:
    """Train the fold's learners; measure shared and own thetas on its lines."""
    trained = bench.train(fold, calibrate_starts=True)
    for line in fold.test:
        for seed in range(bench.request.seeds):
            bench.on_progress(Progress(stage=f"test {line.name}", done=seed, total=bench.request.seeds))
            drawn = bench.draw(line, seed)
            query = bench.query(drawn.query)
            for good, defects in bench.numbers():
                support = bench.support(drawn, good, defects, seed)
                shared: dict[int, AdaptedHead] = {}  # by the pooled head: several learners start from one
                for name in bench.request.learners:
                    own = trained[name.value]
                    kinds = [(HeadOrigin.OWN, bench.adapt(name.value, own.learner, support), own.calibration)]
                    if (pooled := own.pooled_head) is not None:
                        if id(pooled) not in shared:
                            shared[id(pooled)] = bench.adapt(POOLED, pooled.learner, support)
                        kinds.append((HeadOrigin.SHARED, shared[id(pooled)], pooled.calibration))
                    for adaptation, head, calibration in kinds:
                        yield bench.row(
                            line, name.value, support, head, query, calibration=calibration, adaptation=adaptation
                        )
