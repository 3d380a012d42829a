"""`linewise lines` and `linewise synthetic`: product lines on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.terminal.console import JsonOption, err, literal, out, table, write_json
from pipeline.errors import ConfigError

if TYPE_CHECKING:  # reading images waits until a command needs it
    from pipeline.product_lines.line_report import LineReport


def register(app: typer.Typer) -> None:
    """Add these commands."""
    lines = typer.Typer(help="Product lines on disk: check, import, list.", no_args_is_help=True)
    lines.command("check")(check)
    lines.command("import")(import_lines)
    lines.command("list")(list_lines)
    app.add_typer(lines, name="lines")
    app.command("synthetic")(synthetic)


def check(
    path: Annotated[Path, typer.Argument(help="A line's folder, or a folder of lines.")],
    json_path: JsonOption = None,
) -> None:
    """Read every image and mask, and report counts, sizes, depths, duplicates and what is wrong.

    Ends with 1 when a line has an error; warnings alone end with 0.
    """
    from pipeline.product_lines.line_check import check_line  # noqa: PLC0415  # `--help` does not wait for it
    from pipeline.product_lines.lines import find_lines  # noqa: PLC0415

    reports = []
    for line in find_lines(path):
        report = check_line(line.root)
        reports.append((line.name, report))
        if json_path is None:
            _show_report(line.name, report)
    write_json(json_path, [_report_facts(name, report) for name, report in reports])
    if not all(report.ok for _, report in reports):
        raise typer.Exit(1)


def _report_facts(name: str, report: LineReport) -> dict[str, object]:
    return {
        "line": name,
        "path": str(report.line.root),
        "ok": report.ok,
        "counts": report.counts,
        "sizes": [{"height": size[0], "width": size[1], "images": count} for size, count in report.sizes.items()],
        "bit_depths": {str(bits): count for bits, count in report.bit_depths.items()},
        "channels": {str(channels): count for channels, count in report.channels.items()},
        "white_level": report.white_level,
        "masks": {
            "usable": len(report.masks.usable),
            "missing": len(report.masks.missing),
            "empty": len(report.masks.empty),
            "unusable": len(report.masks.unusable),
        },
        "unreadable": [{"path": str(image.path), "reason": image.reason} for image in report.unreadable],
        "duplicates": [[str(path) for path in group.paths] for group in report.duplicates],
        "problems": [{"severity": problem.severity, "sentence": problem.sentence} for problem in report.problems],
    }


def _show_report(name: str, report: LineReport) -> None:
    counts = ", ".join(f"{count} {place}" for place, count in report.counts.items())
    sizes = ", ".join(f"{height} x {width}" for height, width in list(report.sizes)[:3])
    more = f" and {len(report.sizes) - 3} more sizes" if len(report.sizes) > 3 else ""
    depths = ", ".join(f"{bits} bit" for bits in sorted(report.bit_depths))
    white = f", white level {report.white_level}" if report.white_level is not None else ""
    masks = f"{len(report.masks.usable)} usable masks" if report.line.has_masks else "no masks"
    out().print(f"[bold]{literal(name)}[/bold]  {'fit' if report.ok else '[red]not fit[/red]'}")
    out().print(literal(f"  {counts}; {masks}"))
    if report.sizes:
        out().print(literal(f"  {sizes}{more} pixels, {depths}{white}"))
    for problem in report.problems:
        colour = "red" if problem.severity == "error" else "yellow"
        out().print(f"  [{colour}]{problem.severity}[/{colour}]: {literal(problem.sentence)}")


def import_lines(
    data_format: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="A data set: mvtec, mpdd, mvtec3d, mvtec_loco, mvtec_ad2, visa, real_iad, btad or kolektorsdd. "
            "A tool's labels: labelme, coco, yolo, cvat, label_studio or pascal_voc.",
        ),
    ],
    source: Annotated[
        Path, typer.Argument(help="The data set as its owner distributes it, unpacked; or images with a tool's labels.")
    ],
    destination: Annotated[Path, typer.Argument(help="Data-set folder to make, or line of labelled images.")],
    link: Annotated[bool, typer.Option("--link", help="Hard-link the files instead of copying them.")] = False,
    unlabelled_are_good: Annotated[
        bool,
        typer.Option(
            "--unlabelled-are-good", help="Take images that the labels say nothing of for good parts; else left out."
        ),
    ] = False,
) -> None:
    """Bring a public data set into the MVTec AD layout, or a folder of images that a tool labelled into a line."""
    from pipeline.product_lines.importers import import_data_set  # noqa: PLC0415  # `--help` does not wait for it

    def tell(remark: str) -> None:
        err().print(f"[yellow]{literal(remark)}")

    imported = import_data_set(
        data_format, source, destination, link=link, unlabelled_are_good=unlabelled_are_good, on_remark=tell
    )
    lines = "1 line" if len(imported) == 1 else f"{len(imported)} lines"
    out().print(f"{lines} in {literal(str(destination))}: {literal(', '.join(line.name for line in imported))}")


def list_lines(
    root: Annotated[Path, typer.Argument(help="Folder of lines, or of data sets of lines.")],
    json_path: JsonOption = None,
) -> None:
    """List the product lines under a folder."""
    from pipeline.product_lines.lines import find_lines  # noqa: PLC0415

    found = find_lines(root)
    rows = [
        {
            "line": line.name,
            "data_set": line.data_set,
            "train_good": len(line.train_good),
            "test_good": len(line.test_good),
            "defects": len(line.defects),
            "masks": sum(record.mask_path is not None for record in line.defects),
            "path": str(line.root),
        }
        for line in found
    ]
    write_json(json_path, rows)
    if json_path is not None:
        return
    counts = ("train_good", "test_good", "defects", "masks")
    listing = table("Product lines", "line", *(name.replace("_", " ") for name in counts))
    for row in rows:
        listing.add_row(literal(str(row["line"])), *(str(row[name]) for name in counts))
    out().print(listing)


def synthetic(
    folder: Annotated[Path, typer.Argument(help="Folder to write the lines into.")],
    lines: Annotated[int, typer.Option(help="How many lines.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the first line; the others follow.")] = 0,
    good: Annotated[int, typer.Option(help="Good training images a line.")] = 24,
    test_good: Annotated[int, typer.Option(help="Good test images a line.")] = 12,
    defects: Annotated[int, typer.Option(help="Defective images a line.")] = 24,
    size: Annotated[int, typer.Option(help="Side of the images, in pixels.")] = 256,
) -> None:
    """Write procedurally generated product lines, with defects and masks."""
    from pipeline.synthetic.lines import MIN_SIZE, write_lines  # noqa: PLC0415

    for option, value, least in (
        ("lines", lines, 1),
        ("seed", seed, 0),
        ("good", good, 1),
        ("test-good", test_good, 0),
        ("defects", defects, 0),
        ("size", size, MIN_SIZE),
    ):
        if value < least:
            raise ConfigError(f"--{option} of at least {least}", str(value), f"change --{option}")
    for path in write_lines(
        folder, range(seed, seed + lines), good=good, test_good=test_good, defects=defects, size=size
    ):
        out().print(literal(str(path)))
