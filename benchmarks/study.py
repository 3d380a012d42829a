"""What a benchmark is asked, the lines and draws it goes through, and the page that its figures go to.

The pages beside the scripts: figures between two markers are a command's, the prose around them is ours.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pipeline.errors import LineError
from pipeline.process_tuning import tune_process
from pipeline.product_lines.lines import ProductLine, find_lines
from pipeline.settings import load_settings

BEGIN, END = "<!-- figures: a command writes from here -->", "<!-- to here -->"


def options(
    doc: str | None, *, lines: bool = True, only: str = "", draws: int | None = None, page: bool = True
) -> argparse.ArgumentParser:
    """A parser with what benchmarks ask alike; a script adds its own.

    Args:
        doc: of the script's module, with its command.
        lines: it takes a folder of product lines, and `--lines` to leave some of them out.
        only: the default of `--lines`; "": all.
        draws: how many draws of a line it makes unless told otherwise; None: it makes no draws.
        page: it has a page, which `--write` writes.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if lines:
        parser.add_argument("folder", type=Path, metavar="LINES", help="<data set>/<line> in the MVTec AD layout")
        parser.add_argument("--lines", default=only, help="only these, comma-separated")
    if draws is not None:
        parser.add_argument("--draws", type=one_or_more, default=draws, help="of each line, seeds 0, 1, ...")
    if page:
        parser.add_argument("--write", action="store_true", help="put the figures into the page beside the script")
    return parser


class Study:
    """One run of a benchmark: what it was asked, its lines and draws, and its page.

    Args:
        script: its file; the page beside it has its name.
        parser: of `options`, with what the script added.

    Attributes:
        asked: the parsed options.
        settings: of the home in use.
        lines: the product lines it goes through.
        draws: the seeds of its draws of each line.
        page: the path of its page.
    """

    def __init__(self, script: str, parser: argparse.ArgumentParser) -> None:
        self.asked = parser.parse_args()
        self._began = time.monotonic()
        tune_process()
        self.settings = load_settings()
        self.lines = asked_lines(parser, self.asked) if "folder" in self.asked else []
        self.draws = range(self.asked.draws if "draws" in self.asked else 1)
        self.page = Path(script).with_suffix(".md")

    def head(self) -> str:
        """What the figures start with: date, commit, lines, draws, minutes."""
        told = [made_today()]
        if "folder" in self.asked:
            told.append(f"{len(self.lines)} line{'' if len(self.lines) == 1 else 's'}")
        if "draws" in self.asked:
            told.append(f"{len(self.draws)} draw{'' if len(self.draws) == 1 else 's'}")
        return f"{', '.join(told)}, {(time.monotonic() - self._began) / 60:.1f} minutes."

    def publish(self, *parts: str | Sequence[str]) -> None:
        """Print the head and the parts, texts or the rows of tables, and with `--write` put them into the page."""
        figures = "\n\n".join([self.head(), *(part if isinstance(part, str) else "\n".join(part) for part in parts)])
        print(figures)
        if self.asked.write:
            replace_figures(self.page, figures)


def one_or_more(text: str) -> int:
    """An option's number of draws and the like.

    Raises:
        ArgumentTypeError: it is none, or below one.
    """
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def asked_lines(parser: argparse.ArgumentParser, asked: argparse.Namespace) -> list[ProductLine]:
    """The lines that the options ask for, see `chosen_lines`; a mistake ends the program as a wrong option does."""
    try:
        return chosen_lines(asked.folder, asked.lines)
    except LineError as error:
        parser.error(str(error))


def chosen_lines(folder: Path, only: str) -> list[ProductLine]:
    """The lines below a folder, sorted by name; of them those named in `only`, comma-separated, or all.

    Raises:
        LineError: there are none, or a named one is not among them.
    """
    lines = find_lines(folder)
    names = [name for part in only.split(",") if (name := part.strip())]
    if missing := sorted({*names} - {line.name for line in lines}):
        raise LineError(f"lines of {folder} in --lines", ", ".join(missing), f"name some of {[o.name for o in lines]}")
    return [line for line in lines if not names or line.name in names]


def made_today() -> str:
    """Date and commit, for the head of the figures."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    said = subprocess.run(git, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)  # noqa: S603
    return f"{date.today().isoformat()}, commit {said.stdout.strip()}"


def replace_figures(page: Path, figures: str) -> None:
    """Put new figures between a page's markers; everything else stays.

    Raises:
        ValueError: the page has no such place, or more than one.
    """
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"expected one {BEGIN} and one {END} in {page.name}, got another number: put them in")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}", encoding="utf-8")
