"""A bundle's results as COCO JSON: images, and their regions as annotations, for tools that label and train."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select

from deploy.bundles.manifest import linewise_version
from deploy.results.schema import ResultRow, ResultStatus, RunRow
from deploy.results.store import ResultStore
from pipeline.calibration import Decision
from pipeline.kinds import NONE_OF_THESE
from pipeline.regions import Region
from pipeline.storage import replacing_text

_DEFECT = "defect"
"""The category of what shows no kind that the line names."""


class CocoCounts(NamedTuple):
    """What was written, and how many images were left out: scored before regions were kept, or not judged."""

    images: int
    annotations: int
    left_out: int


def write_coco(store: ResultStore, run: RunRow, path: Path, *, whole_bundle: bool = True) -> CocoCounts:
    """Write the images that a run's bundle scored, the oldest first, passed ones without an annotation.

    Places are in pixels of the upright image, as viewers show it; a file's name is its path when it was scored. An
    annotation's score is the region's peak, its category the kind of defect that its image was given.

    Args:
        store: that has the results.
        run: whose bundle is meant.
        path: of the JSON file.
        whole_bundle: all that the bundle scored; False: what this run wrote.

    Raises:
        StorageError: the store cannot be read, or the file be written; an older one is then still there.
    """
    images = annotations = left_out = 0
    categories = _categories(store, run.bundle_id)
    run_id = None if whole_bundle else run.id
    rows = store.stream(run_id=run_id, bundle_id=run.bundle_id, status=ResultStatus.SCORED, oldest_first=True)
    with replacing_text(path) as file, tempfile.TemporaryFile("w+", encoding="utf-8") as kept:
        head = {"info": _info(run), "licenses": [], "categories": list(categories.values())}
        file.write(f'{json.dumps(head)[:-1]}, "images": [')
        for row in rows:
            if row.image_sha256 is None or row.image_height is None or row.score is None:
                left_out += 1
                continue
            file.write(f"{',' if images else ''}\n{json.dumps(_image(row))}")
            images += 1
            flagged = row.decision is not Decision.PASS
            for region in store.regions(row.bundle_id, row.image_sha256) if flagged else ():
                annotations += 1
                kept.write(f"{json.dumps(_annotation(annotations, row, region, categories))}\n")
        kept.seek(0)
        file.write('\n], "annotations": [')
        file.writelines(_with_commas(kept))
        file.write("\n]}\n")
    return CocoCounts(images, annotations, left_out)


def _categories(store: ResultStore, bundle_id: str) -> dict[str, dict[str, Any]]:
    """By name; one number for a kind, whichever run of the bundle is written."""
    kinds = select(ResultRow.kind).where(ResultRow.bundle_id == bundle_id, ResultRow.kind.is_not(None)).distinct()
    with store.session() as session:
        found = {kind for kind in session.scalars(kinds) if kind is not None}
    names = [_DEFECT, *sorted(found - {NONE_OF_THESE, _DEFECT})]
    return {name: {"id": number, "name": name, "supercategory": _DEFECT} for number, name in enumerate(names, 1)}


def _info(run: RunRow) -> dict[str, Any]:
    made = datetime.now(UTC)
    return {
        "description": f"{run.line}: images that Linewise scored with bundle {run.bundle_version}",
        "version": run.bundle_version,
        "year": made.year,
        "contributor": f"Linewise {linewise_version()}",
        "date_created": made.isoformat(timespec="seconds"),
        "line": run.line,
        "bundle_version": run.bundle_version,
        "bundle_id": run.bundle_id,
    }


def _image(row: ResultRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "file_name": row.image_path,
        "width": row.image_width,
        "height": row.image_height,
        "date_captured": row.scored_at.isoformat(),
        "sha256": row.image_sha256,
        "score": row.score,
        "decision": row.decision,
        "reason": row.reason,
    }


def _annotation(number: int, image: ResultRow, region: Region, categories: dict[str, dict[str, Any]]) -> dict[str, Any]:
    category = categories.get(image.kind or _DEFECT, categories[_DEFECT])
    return {
        "id": number,
        "image_id": image.id,
        "category_id": category["id"],
        "iscrowd": 0,
        "bbox": region.box,
        "segmentation": [[place for corner in region.contour for place in corner]],
        "area": region.area,
        "area_mm2": region.area_mm2,
        "score": region.peak,
        "mean_score": region.mean,
        **({} if image.kind is None else {"kind": image.kind, "kind_probability": image.kind_probability}),
    }


def _with_commas(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f"{',' if number else ''}\n{line.rstrip()}"
