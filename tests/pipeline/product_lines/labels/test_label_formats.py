"""Each tool's files, as the tool writes them, become a line with the masks that were drawn."""

import base64

import cv2
import numpy as np
import pytest

from tests.parts.labelled_images import (
    coco,
    cvat,
    cvat_image,
    defects,
    good,
    imported,
    labelme,
    marked,
    region,
    task,
    voc,
    write_images,
    write_json,
)

A, B = marked((slice(3, 6), slice(2, 8))), marked((slice(10, 14), slice(12, 20)))  # rows, columns
OUTLINE_A = [[2, 3], [8, 3], [8, 6], [2, 6]]
FLAT_A = [2, 3, 8, 3, 8, 6, 2, 6]


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "parts"
    write_images(root, "a.png", "b.png", "c.png", "d.png")
    return root


def expect(found, **expected):
    assert {name: kind for name, (kind, _) in found.items()} == {f"{n}.png": kind for n, (kind, _) in expected.items()}
    for name, (_, mask) in expected.items():
        assert np.array_equal(found[f"{name}.png"][1], mask), name


def test_labelme(parts):
    bitmap = base64.b64encode(cv2.imencode(".png", np.full((4, 8), 255, np.uint8))[1].tobytes()).decode()
    write_json(parts / "a.json", labelme("a.png", {"label": "scratch", "points": OUTLINE_A}))
    write_json(
        parts / "b.json",
        labelme(
            "b.png",
            {"label": "dent", "points": [[20.0, 10.0], [12.0, 14.0]], "shape_type": "rectangle"},
            {"label": "scratch", "points": OUTLINE_A},
        ),
    )
    write_json(parts / "c.json", labelme("c.png"))
    mask = {"label": "dent", "points": [[12.0, 10.0], [19.0, 13.0]], "shape_type": "mask", "mask": bitmap}
    write_json(parts / "d.json", labelme("d.png", mask))
    line, said = imported("labelme", parts)
    expect(defects(line), a=("scratch", A), b=("dent", A | B), d=("dent", B))
    assert good(line) == ["c.png"]
    assert said[:2] == [
        "1 image taken for good parts, as the labels name no defect: c.png.",
        "1 image with several kinds of defects counts as the kind that marks most: b.png.",
    ]


def test_labelme_circles_and_lines(parts):
    circle = {"label": "hole", "points": [[10, 10], [13, 14]], "shape_type": "circle"}
    write_json(parts / "a.json", labelme("a.png", circle))
    line = {"label": "hair", "points": [[6, 10], [16, 10]], "shape_type": "line"}
    write_json(parts / "b.json", labelme("b.png", line))
    write_json(parts / "c.json", labelme("c.png"))
    found = defects(imported("labelme", parts)[0])
    rows, columns = np.mgrid[:20, :24] + 0.5
    assert np.array_equal(found["a.png"][1], (columns - 10) ** 2 + (rows - 10) ** 2 < 25)
    assert found["b.png"][1][5:15, 6:16].all()
    assert not found["b.png"][1][:5].any()


def test_labelme_in_a_folder_of_its_own_with_paths_of_windows(tmp_path):
    write_images(tmp_path / "parts", "images/a.png", "images/b.png")
    shape = {"label": "scratch", "points": OUTLINE_A}
    write_json(tmp_path / "parts/labels/a.json", labelme("..\\images\\a.png", shape))
    write_json(tmp_path / "parts/labels/b.json", labelme("..\\images\\b.png"))
    line, _ = imported("labelme", tmp_path / "parts")
    expect(defects(line), a=("scratch", A))
    assert good(line) == ["b.png"]


def test_a_label_that_says_good_marks_nothing(parts):
    write_json(parts / "a.json", labelme("a.png", {"label": "OK", "points": OUTLINE_A}))
    write_json(parts / "b.json", labelme("b.png", flags={"good": True, "scratch": False}))
    write_json(parts / "c.json", labelme("c.png", flags={"good": False, "scratch": True}))
    line, said = imported("labelme", parts)
    assert good(line) == ["a.png", "b.png"]
    assert defects(line) == {"c.png": ("scratch", None)}
    assert "2 images taken for good parts, as the labels name no defect: a.png, b.png." in said


def test_images_without_labels_are_left_out_or_good(parts):
    write_json(parts / "a.json", labelme("a.png", {"label": "scratch", "points": OUTLINE_A}))
    write_json(parts / "b.json", labelme("b.png"))
    line, said = imported("labelme", parts)
    assert good(line) == ["b.png"]
    assert said[1] == (
        "2 images without labels left out: c.png, d.png; where they are good parts, say --unlabelled-are-good."
    )
    parts = parts.rename(parts.with_name("again"))
    line, said = imported("labelme", parts, unlabelled_are_good=True)
    assert good(line) == ["b.png", "c.png", "d.png"]
    assert said[1] == "2 images without labels taken for good parts: c.png, d.png."


def test_coco(parts):
    down_columns = [3 + 2 * 20, 3] + [17, 3] * 5 + [480 - 3 - 7 * 20 - 3]
    write_json(
        parts / "annotations/instances.json",
        coco(
            {
                "a.png": [{"segmentation": [FLAT_A], "bbox": [2, 3, 6, 3]}],
                "b.png": [
                    {"segmentation": {"size": [20, 24], "counts": down_columns}, "bbox": [2, 3, 6, 3], "iscrowd": 1},
                    {"segmentation": [], "bbox": [12, 10, 8, 4], "category_id": 2},
                ],
                "c.png": [],
                "d.png": [{"segmentation": {"size": [20, 24], "counts": "[13a0000000000m9"}, "bbox": [2, 3, 6, 3]}],
            }
        ),
    )
    line, said = imported("coco", parts)
    expect(defects(line), a=("scratch", A), b=("dent", A | B), d=("scratch", A))
    assert (good(line), "1 image taken" in said[0]) == (["c.png"], True)


def test_several_outlines_of_one_annotation(parts):
    right = [12, 10, 20, 10, 20, 14, 12, 14]
    write_json(
        parts / "coco.json", coco({"a.png": [{"segmentation": [FLAT_A, right], "bbox": [2, 3, 18, 11]}], "b.png": []})
    )
    expect(defects(imported("coco", parts)[0]), a=("scratch", A | B))


@pytest.mark.parametrize(
    "table",
    [
        ("data.yaml", "path: ../parts\ntrain: images/train\nnc: 2\nnames: ['scratch', 'dent']\n"),
        ("data.yaml", "train: images/train\nnames:\n  0: scratch\n  1: dent\n"),
        ("data.yaml", "names:\n- scratch\n- dent\n"),
        ("classes.txt", "scratch\ndent\n"),
    ],
)
def test_yolo(tmp_path, table):
    root = tmp_path / "parts"
    write_images(root, "images/train/a.png", "images/train/b.png", "images/val/c.png", "images/val/d.png")
    (root / table[0]).write_text(table[1])
    texts = {
        "train/a": " ".join(["0", *(f"{v / side:.6f}" for v, side in zip(FLAT_A, [24, 20] * 4, strict=True))]),
        "train/b": f"1 {16 / 24:.6f} {12 / 20:.6f} {8 / 24:.6f} {4 / 20:.6f}\n",
        "val/c": "",
    }
    for name, text in texts.items():
        (root / f"labels/{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"labels/{name}.txt").write_text(text)
    line, said = imported("yolo", root)
    found = defects(line)
    assert {name: kind for name, (kind, _) in found.items()} == {"train/a.png": "scratch", "train/b.png": "dent"}
    assert np.array_equal(found["train/a.png"][1], A)
    assert np.array_equal(found["train/b.png"][1], B)
    assert good(line) == ["val/c.png"]
    assert "1 image without labels left out: images/val/d.png" in said[1]


def test_yolo_beside_the_images(parts):
    (parts / "classes.txt").write_text("scratch\n")
    (parts / "a.txt").write_text(f"0 {5 / 24} {4.5 / 20} {6 / 24} {3 / 20}\n")
    (parts / "b.txt").write_text("\n")
    line, _ = imported("yolo", parts)
    expect(defects(line), a=("scratch", A))
    assert good(line) == ["b.png"]


def test_cvat(parts):
    box = '<box label="dent" source="manual" occluded="0" xtl="12.00" ytl="10.00" xbr="20.00" ybr="14.00" z_order="0"/>'
    polygon = (
        '<polygon label="scratch" source="manual" occluded="0" points="2.00,3.00;8.00,3.00;8.00,6.00;2.00,6.00" '
        'z_order="0"><attribute name="depth">deep</attribute></polygon>'
    )
    mask = (
        '<mask label="dent" source="manual" occluded="0" rle="0, 3, 2, 7" left="5" top="8" width="4" height="3" '
        'z_order="0"/>'
    )
    (parts / "annotations.xml").write_text(
        cvat(
            cvat_image(0, "a.png", polygon),
            cvat_image(1, "b.png", polygon + box),
            cvat_image(2, "c.png"),
            cvat_image(3, "d.png", mask),
        )
    )
    line, _ = imported("cvat", parts)
    brushed = marked((8, slice(5, 8)), (9, slice(6, 9)), (10, slice(5, 9)))
    expect(defects(line), a=("scratch", A), b=("dent", A | B), d=("dent", brushed))
    assert good(line) == ["c.png"]


def test_cvat_rotations_ellipses_and_tags(parts):
    box = '<box label="dent" xtl="4.0" ytl="2.0" xbr="10.0" ybr="4.0" rotation="90.00"/>'
    ellipse = '<ellipse label="hole" cx="10.00" cy="10.00" rx="5.00" ry="5.00"/>'
    images = [
        cvat_image(0, "a.png", box),
        cvat_image(1, "b.png", ellipse),
        cvat_image(2, "c.png", '<tag label="good"/>'),
    ]
    (parts / "annotations.xml").write_text(cvat(*images, cvat_image(3, "d.png", '<tag label="dull"/>')))
    line, _ = imported("cvat", parts)
    found = defects(line)
    assert np.array_equal(found["a.png"][1], marked((slice(0, 6), slice(6, 8))))
    rows, columns = np.mgrid[:20, :24] + 0.5
    assert np.array_equal(found["b.png"][1], (columns - 10) ** 2 + (rows - 10) ** 2 < 25)
    assert found["d.png"] == ("dull", None)
    assert good(line) == ["c.png"]


def test_label_studio(parts):
    percent = [[x / 24 * 100, y / 20 * 100] for x, y in OUTLINE_A]
    box = {"x": 50.0, "y": 50.0, "width": 100 * 8 / 24, "height": 20.0, "rotation": 0}
    turned = {"x": 50.0, "y": 50.0, "width": 20.0, "height": 10.0, "rotation": 90}
    skipped = task(5, "/data/upload/1/0badcafe-e.png")
    skipped["annotations"][0]["was_cancelled"] = True
    write_images(parts, "e.png", "f.png")
    write_json(
        parts / "project-1-at-2024-05-01.json",
        [
            task(1, "/data/upload/1/8f2c1a3b-a.png", region("polygonlabels", "scratch", points=percent, closed=True)),
            task(2, "/data/local-files/?d=parts/b.png", region("rectanglelabels", "dent", **box)),
            task(3, "https://host.example/files/c.png?token=1"),
            task(4, "/data/upload/1/d.png", region("rectanglelabels", "dent", **turned)),
            skipped,
            task(6, "/data/upload/1/f.png", annotations=[]),
        ],
    )
    line, said = imported("label_studio", parts)
    rows, columns = slice(10, 15), slice(10, 12)  # 4.8 wide and 2 high, turned about (12, 10)
    expect(defects(line), a=("scratch", A), b=("dent", B), d=("dent", marked((rows, columns))))
    assert good(line) == ["c.png"]
    assert said[1].startswith("2 images without labels left out: e.png, f.png")


def test_label_studio_choices_and_labels_apart_from_their_regions(parts):
    box = {"x": 50.0, "y": 50.0, "width": 100 * 8 / 24, "height": 20.0, "rotation": 0}
    bare = region("labels", "dent", **box) | {"type": "rectangle", "value": box}
    write_json(
        parts / "export.json",
        [
            task(1, "a.png", bare, region("labels", "dent", **box)),
            task(2, "b.png", {"type": "choices", "value": {"choices": ["Normal"]}, "id": "x", "to_name": "image"}),
        ],
    )
    line, _ = imported("label_studio", parts)
    expect(defects(line), a=("dent", B))
    assert good(line) == ["b.png"]


def test_pascal_voc_counts_from_one(tmp_path):
    root = tmp_path / "parts"
    write_images(root, "JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png")
    (root / "Annotations").mkdir()
    (root / "Annotations/a.xml").write_text(voc("a.png", ("scratch", 3, 4, 8, 6)))
    (root / "Annotations/b.xml").write_text(voc("of_before.png", ("scratch", 3, 4, 8, 6), ("dent", 13, 11, 20, 14)))
    (root / "Annotations/c.xml").write_text(voc("c.png"))
    line, _ = imported("pascal_voc", root)
    expect(defects(line), a=("scratch", A), b=("dent", A | B))
    assert good(line) == ["c.png"]


def test_images_of_one_name_stay_apart(tmp_path):
    root = tmp_path / "parts"
    write_images(root, "monday/0.png", "tuesday/0.png", "tuesday/1.png")
    for day in ("monday", "tuesday"):
        write_json(root / day / "0.json", labelme("0.png", {"label": "scratch", "points": OUTLINE_A}))
    write_json(root / "tuesday/1.json", labelme("1.png"))
    line, _ = imported("labelme", root)
    assert sorted(defects(line)) == ["monday/0.png", "tuesday/0.png"]
    assert all(mask is not None for _, mask in defects(line).values())
