"""Folders of images with labels, as the tools write them, and the lines that they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.imaging.masks import read_mask
from pipeline.product_lines.importers import import_data_set
from pipeline.product_lines.lines import ProductLine
from tests.parts.image_files import picture, png

HEIGHT, WIDTH = 20, 24


def write_images(root: Path, *names: str, height: int = HEIGHT, width: int = WIDTH) -> None:
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(picture(height, width, seed)))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def labelme(
    image: str, *shapes: dict[str, Any], height: int = HEIGHT, width: int = WIDTH, **more: Any
) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"group_id": None, "description": "", "flags": {}, "mask": None, "shape_type": "polygon"} | shape
            for shape in shapes
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
        **more,
    }


def coco(images: dict[str, list[dict[str, Any]]], kinds: tuple[str, ...] = ("scratch", "dent")) -> dict[str, Any]:
    return {
        "info": {"description": "parts", "version": "1.0", "year": 2024},
        "licenses": [],
        "categories": [{"id": n, "name": kind, "supercategory": ""} for n, kind in enumerate(kinds, 1)],
        "images": [
            {"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 0, "flickr_url": ""}
            for n, name in enumerate(images, 1)
        ],
        "annotations": [
            {"id": 100 * n + k, "image_id": n, "category_id": 1, "iscrowd": 0, "area": 1.0} | annotation
            for n, annotations in enumerate(images.values(), 1)
            for k, annotation in enumerate(annotations)
        ],
    }


def voc(image: str, *boxes: tuple[str, int, int, int, int], height: int = HEIGHT, width: int = WIDTH) -> str:
    objects = "".join(
        f"<object><name>{kind}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><bndbox>"
        f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for kind, left, top, right, bottom in boxes
    )
    return (
        f"<annotation><folder>parts</folder><filename>{image}</filename><path>/home/me/parts/{image}</path>"
        f"<source><database>Unknown</database></source><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
    )


def cvat(*images: str) -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><id>7</id><name>parts</name><mode>annotation</mode></task></meta>{''.join(images)}</annotations>"
    )


def cvat_image(number: int, name: str, shapes: str = "", height: int = HEIGHT, width: int = WIDTH) -> str:
    return f'<image id="{number}" name="{name}" width="{width}" height="{height}">{shapes}</image>'


def task(number: int, image: str, *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    annotation = {
        "id": number,
        "completed_by": 1,
        "result": list(results),
        "was_cancelled": False,
        "ground_truth": False,
    }
    return {"id": number, "annotations": [annotation], "data": {"image": image}, "predictions": [], "meta": {}} | more


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value | {kind: [label]},
        "id": "Dx_aB91ISN",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
    }


def imported(format: str, source: Path, **options: Any) -> tuple[ProductLine, list[str]]:
    """The line that a folder becomes, beside it, and what was said."""
    said: list[str] = []
    (line,) = import_data_set(format, source, source.parent / f"{source.name}_line", on_remark=said.append, **options)
    return line, said


def defects(line: ProductLine) -> dict[str, tuple[str, np.ndarray | None]]:
    """Kind and mask of a line's defective images, by their place below the kind's folder."""
    found = {}
    for record in line.defects:
        mask = None if record.mask_path is None else read_mask(record.mask_path, (HEIGHT, WIDTH))
        found[record.path.relative_to(line.root / "defect" / record.kind).as_posix()] = (record.kind, mask)
    return found


def good(line: ProductLine) -> list[str]:
    return [record.path.relative_to(line.root / "good").as_posix() for record in line.train_good]


def marked(*areas: tuple[slice, slice], height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A mask with these rows and columns."""
    mask = np.zeros((height, width), bool)
    for area in areas:
        mask[area] = True
    return mask
