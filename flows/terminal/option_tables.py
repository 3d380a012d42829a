"""The tables of options, made of the requests: `python -m flows.terminal.option_tables docs/options.md` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

from flows.activities import ACTIVITIES, Activity
from flows.asking.flags import flag_names, help_of, is_argument
from pipeline.storage import replace_file

BEGIN = "<!-- made of the requests by python -m flows.terminal.option_tables docs/options.md -->"
END = "<!-- end of the option tables -->"


def option_tables() -> str:
    """A folded Markdown table for each activity's command."""
    return "\n\n".join(_table(activity) for activity in ACTIVITIES)


def with_tables(page: str) -> str:
    """A page with its part between the two marks made anew."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{option_tables()}\n\n{END}{after}"


def _table(activity: Activity) -> str:
    fields = activity.request_class.ordered_fields().items()
    arguments = [name for name, field in fields if is_argument(field)]
    rows = [f"| `{' '.join(flag_names(name, field))}` | {_cell(help_of(field))} |" for name, field in fields]
    usage = " ".join([f"linewise {activity.command}", *(flag_names(n, f)[0] for n, f in fields if n in arguments)])
    first = (activity.request_class.__doc__ or "").strip().splitlines()[0]
    head = f"<details><summary><code>{usage}</code>: {first}</summary>"
    return "\n".join([head, "", "| | |", "|---|---|", *rows, "", "</details>"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    replace_file(target, with_tables(target.read_text(encoding="utf-8")).encode())
