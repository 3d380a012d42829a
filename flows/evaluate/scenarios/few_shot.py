"""Few-shot: adapt to a new line from k good and m defective images, and test on the rest of it.

Unlabelled images, of which a stated share is defective, are taken up as `adapt` does. The support of a smaller k, m or
number of unlabelled images is the first part of a larger one's, and the query set is the same for all of them. With
m > 0 the rows tell defect kinds that the support shows from those it does not (`seen_and_unseen`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from flows.evaluate.scenarios.bench import Bench
from flows.progress import Progress
from pipeline.evaluation import Fold, Row


def rows(bench: Bench, fold: Fold) -> Iterator[Row]:
    """Train the fold's learners and test them on its lines."""
    trained = bench.train(fold)
    for line in fold.test:
        for seed in range(bench.request.seeds):
            bench.on_progress(Progress(stage=f"test {line.name}", done=seed, total=bench.request.seeds))
            drawn = bench.draw(line, seed)
            query = bench.query(drawn.query)
            for (good, defects), unlabelled in itertools.product(bench.numbers(), bench.unlabelled()):
                support = bench.support(drawn, good, defects, seed, unlabelled)
                for name, entry in trained.items():
                    adapted = bench.adapt(name, entry.learner, support)
                    keys = {"meta_train_seconds": entry.seconds}
                    # Pooled thresholds are of supports without take-up.
                    calibration = None if adapted.took_up else entry.calibration
                    yield bench.row(line, name, support, adapted, query, calibration=calibration, **keys)
