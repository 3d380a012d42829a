"""An evaluation's folds: which lines teach and which are tested."""

from __future__ import annotations

from flows.evaluate.request import EvaluateRequest, Protocol
from flows.evaluate.scenarios.fold_training import GENERATED
from flows.progress import OnProgress, Progress
from flows.source_lines import usable_lines
from pipeline.evaluation import Fold, leave_one_data_set_out, leave_one_line_out
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import Settings
from pipeline.synthetic.lines import write_lines


def protocol_folds(request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> list[Fold]:
    """The folds of the request's protocol, generated lines joined to every one's training lines.

    Raises:
        LineError, ConfigError: no usable lines, or too few to split.
    """
    generated = generated_lines(request, settings, on_progress)
    if request.protocol is Protocol.TRAIN_TEST:
        assert request.train_lines is not None
        assert request.test_lines is not None
        folders = (request.train_lines, request.test_lines)
        train, test = (usable_lines(folder, on_progress, request.bayer) for folder in folders)
        folds = [Fold("test", tuple(train), tuple(test))]
    else:
        assert request.lines is not None
        lines = usable_lines(request.lines, on_progress, request.bayer)
        by_data_set = request.protocol is Protocol.LEAVE_ONE_DATA_SET_OUT
        folds = leave_one_data_set_out(lines) if by_data_set else leave_one_line_out(lines)
    return [Fold(fold.name, (*fold.train, *generated), fold.test) for fold in folds]


def generated_lines(request: EvaluateRequest, settings: Settings, on_progress: OnProgress) -> tuple[ProductLine, ...]:
    """The generated lines that join the source lines; written once."""
    if request.synthetic_lines == 0:
        return ()
    folder = settings.ensure_home() / "synthetic"
    on_progress(Progress(stage="generate lines", done=0, total=request.synthetic_lines))
    paths = write_lines(folder, range(request.synthetic_lines))
    on_progress(Progress(stage="generate lines", done=request.synthetic_lines, total=request.synthetic_lines))
    names = {path.name for path in paths}
    found = [line for line in find_lines(folder) if line.root.name in names]
    return tuple(
        ProductLine(f"{GENERATED}/{line.name}", GENERATED, line.root, line.train_good, line.test_good, line.defects)
        for line in found
    )
