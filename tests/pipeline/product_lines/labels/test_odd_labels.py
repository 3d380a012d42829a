"""Labels that cannot be used, or mean harm: one sentence, and nothing is written."""

import json
import os

import pytest

from pipeline.errors import ConfigError, LinewiseError
from pipeline.product_lines.importers import import_data_set
from tests.parts.labelled_images import (
    coco,
    cvat,
    cvat_image,
    defects,
    good,
    imported,
    labelme,
    region,
    task,
    voc,
    write_images,
    write_json,
)

OUTLINE = [[2, 3], [8, 3], [8, 6]]


@pytest.fixture
def parts(tmp_path):
    root = tmp_path / "parts"
    write_images(root, "a.png", "b.png")
    return root


def refused(format, parts, **options):
    """The sentence that an import ends with."""
    destination = parts.parent / "line"
    with pytest.raises(LinewiseError) as caught:
        import_data_set(format, parts, destination, **options)
    assert not destination.exists(), "something was written"
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"points": [[2, 3], [8, 3]]}, "a shape of 3 points and more, got 2 in a.json"),
        ({"points": [[2, 3], [8, float("nan")], [4, 4]]}, "a finite number in every label, got nan in a.json"),
        ({"points": [[2, 3], [8, float("inf")], [4, 4]]}, "a finite number in every label, got inf in a.json"),
        ({"points": [[2, 3], [1e300, 3], [4, 4]]}, "a shape that lies in its image, got (1e+300, 3)"),
        ({"points": [[-9, -3], [-8, -3], [-4, -4]]}, "a shape that lies in its image, got one outside"),
        ({"points": [[2, 3], [8], [4, 4]]}, "points of two numbers each"),
        ({"points": "2,3"}, "points as a list"),
        ({"points": OUTLINE, "label": ""}, "a label as text, got ''"),
        ({"points": OUTLINE, "label": "../../good"}, "a label that can be the name of a folder, got '../../good'"),
        ({"points": OUTLINE, "label": ".hidden"}, "a label that can be the name of a folder"),
        ({"points": OUTLINE, "label": "masks"}, "not called as masks are, got masks/ for a.png"),
        ({"points": [[2, 3]], "shape_type": "point"}, "got a shape of type 'point' in a.json"),
        ({"points": [[2, 3], [8, 6]], "shape_type": "mask", "mask": "aGFsbG8="}, "a mask that is a PNG in base64"),
        ("none", "each of the shapes as an object"),
    ],
)
def test_shapes_of_labelme(parts, shape, sentence):
    values = labelme("a.png")
    values["shapes"] = [{"label": "scratch", "shape_type": "polygon"} | shape if isinstance(shape, dict) else shape]
    write_json(parts / "a.json", values)
    write_json(parts / "b.json", labelme("b.png"))
    assert sentence in refused("labelme", parts)


@pytest.mark.parametrize(
    ("annotation", "sentence"),
    [
        ({"bbox": [2, 3, -5, 4]}, "a box from left to right and from top to bottom, got (2, 3) to (-3, 7)"),
        ({"bbox": [2, 3, 5]}, "a box of four numbers"),
        ({"segmentation": [[1, 2, 3]]}, "an even count of numbers"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "a segmentation of lists of numbers"),
        ({"segmentation": {"size": [20, 24], "counts": [1, 2]}}, "run lengths of 480 pixels, got runs of 3 pixels"),
        ({"segmentation": {"size": [9**9, 9**9], "counts": [9**18]}}, "run lengths of their image's size"),
        ({"segmentation": {"size": [20, 24], "counts": "zzzzzzzzzzzzz"}}, "COCO's compressed run lengths"),
        ({"bbox": [2, 3, 5, 4], "category_id": 9}, "annotations of listed categories, got category_id 9"),
        ({"bbox": [2, 3, 5, 4], "image_id": 9}, "annotations of listed images, got image_id 9"),
        ({"bbox": [2, 3, 5, 4], "image_id": None}, "a finite number in every label, got none"),
    ],
)
def test_annotations_of_coco(parts, annotation, sentence):
    write_json(parts / "coco.json", coco({"a.png": [annotation], "b.png": []}))
    said = refused("coco", parts)
    assert sentence in said
    assert "coco.json" in said


def test_run_lengths_of_a_size_that_nobody_states_take_no_memory(parts):
    values = coco({"a.png": [{"segmentation": {"size": [9**9, 9**9], "counts": [9**9]}}], "b.png": []})
    del values["images"][0]["height"]
    write_json(parts / "coco.json", values)
    assert "a mask that lies in its image" in refused("coco", parts)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("0 0.5 0.5 0.2", "a box of 4 numbers or an outline of 6 and more, got 3 numbers after the class in a.txt"),
        ("0 0.5 0.5 0.2 0.2 0.9", "got 5 numbers after the class"),
        ("0 12 9 4 4", "places as shares of the image, 0 to 1, got 4 to 12"),
        ("7 0.5 0.5 0.2 0.2", "a class that has a name, got class 7 of 1"),
        ("scratch 0.5 0.5 0.2 0.2", "a finite number in every label, got 'scratch'"),
        ("0 0.5 nan 0.2 0.2", "a finite number in every label, got 'nan'"),
        ("0 0.5 0.5 -0.2 0.2", "places as shares of the image"),
    ],
)
def test_lines_of_yolo(parts, line, sentence):
    (parts / "classes.txt").write_text("scratch\n")
    (parts / "a.txt").write_text(line)
    assert sentence in refused("yolo", parts)


def test_names_in_yaml_that_would_grow(parts):
    nested = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    (parts / "data.yaml").write_text(f"a0: &a0 lol\n{nested}names: [*a11]\n")
    (parts / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert "a class's name as text, got [[" in refused("yolo", parts)


def test_yolo_without_an_image_or_names(parts):
    (parts / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert "the names of YOLO's classes, in data.yaml or classes.txt" in refused("yolo", parts)
    (parts / "data.yaml").write_text("names: [scratch")
    assert "a table of names in YAML" in refused("yolo", parts)
    (parts / "data.yaml").write_text("names: [scratch]")
    (parts / "gone.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert "one image for each text of labels, got none in gone.txt" in refused("yolo", parts)


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ('<polyline label="x" points="1,2;3,4"/>', "got a shape of type 'polyline' in annotations.xml, image 0"),
        ('<polygon label="x" points="1,2;3"/>', "an even count of numbers"),
        ('<box label="x" xtl="1" ytl="2" xbr="3"/>', "a finite number in every label, got none"),
        ('<mask label="x" rle="1,2" left="20" top="2" width="9" height="2"/>', "a mask that lies in its image"),
        ('<mask label="x" rle="" left="2" top="2" width="9" height="2"/>', "a finite number in every label, got ''"),
    ],
)
def test_shapes_of_cvat(parts, shape, sentence):
    (parts / "annotations.xml").write_text(cvat(cvat_image(0, "a.png", shape), cvat_image(1, "b.png")))
    assert sentence in refused("cvat", parts)


def test_videos_of_cvat(parts):
    (parts / "annotations.xml").write_text(cvat('<track id="0" label="x"/>'))
    assert "labels as CVAT for images, got tracks of a video in annotations.xml" in refused("cvat", parts)


def test_results_of_label_studio(parts):
    brush = region("brushlabels", "x", format="rle", rle=[0, 1, 2])
    write_json(parts / "tasks.json", [task(1, "a.png", brush)])
    assert "got a result of type 'brushlabels' in tasks.json, task 1: export brush strokes as COCO" in refused(
        "label_studio", parts
    )
    twice = task(1, "a.png")
    twice["annotations"] *= 2
    write_json(parts / "tasks.json", [twice])
    assert "one annotation for each task, got 2 in tasks.json, task 1" in refused("label_studio", parts)
    write_json(parts / "tasks.json", [{"id": 1, "image": "a.png", "label": []}])
    assert "a JSON file of Label Studio's tasks (not JSON_MIN), got none" in refused("label_studio", parts)


@pytest.mark.parametrize("format", ["cvat", "pascal_voc"])
def test_xml_with_entities_is_refused_before_it_grows(parts, format):
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY l0 "lol">{entities}]><annotation>&l9;</annotation>'
    (parts / "a.xml").write_text(bomb)
    assert "labels in XML without a document type, got <!DOCTYPE lolz> in a.xml" in refused(format, parts)
    (parts / "a.xml").write_text('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>')
    assert "without a document type" in refused(format, parts)
    (parts / "a.xml").write_text("<annotation>")
    assert "labels in XML, got what is none" in refused(format, parts)


def test_json_that_is_none(parts):
    for text in ("{", "[" * 100_000, "9" * 5_000):
        (parts / "a.json").write_text(text)
        assert "labels in JSON, got what is none" in refused("labelme", parts)
    (parts / "a.json").write_bytes(b"\xff\xfe{}")
    assert "labels in UTF-8, got other bytes" in refused("labelme", parts)


def test_a_pipe_among_the_labels_is_not_waited_for(parts):
    os.mkfifo(parts / "a.json")
    assert "a file of labels that can be read, got a pipe or device in a.json" in refused("labelme", parts)


@pytest.mark.parametrize("stated", ["/etc/passwd", "../../secret.png", "gone.png", "x/c.png", ""])
def test_images_that_the_folder_does_not_have(parts, stated):
    write_images(parts.parent, "secret.png")
    write_images(parts, "y/c.png")
    write_json(parts / "coco.json", coco({stated: [], "b.png": []}))
    said = refused("coco", parts)
    assert "an image for all labels, got none called" in said or "file_name as text" in said


def test_two_images_for_a_name_and_two_labels_for_an_image(parts):
    write_images(parts, "x/c.png", "y/c.png")
    write_json(parts / "coco.json", coco({"c.png": [], "b.png": []}))
    assert "one image of a name that labels have, got x/c.png, y/c.png for 'c.png'" in refused("coco", parts)
    write_json(parts / "coco.json", coco({"a.png": [], "./a.png": []}))
    assert "the labels of an image in one place, got two for a.png" in refused("coco", parts)


def test_labels_are_not_taken_for_another_folders_image_of_that_name(parts):
    write_images(parts, "monday/1.png", "tuesday/0.png")
    write_json(parts / "monday/0.json", labelme("0.png"))
    assert "an image for all labels, got none called '0.png' in monday/0.json" in refused("labelme", parts)


def test_images_that_differ_in_their_suffix_alone(parts):
    write_images(parts, "a.bmp")
    boxes = ("scratch", 3, 4, 8, 6)
    (parts / "1.xml").write_text(voc("a.png", boxes))
    (parts / "2.xml").write_text(voc("a.bmp", boxes))
    (parts / "b.xml").write_text(voc("b.png"))
    assert "images that differ in more than their suffix, got" in refused("pascal_voc", parts)


def test_no_good_image_and_no_labels(parts):
    assert "expected JSON files of LabelMe, got none in" in refused("labelme", parts)
    write_json(parts / "a.json", labelme("a.png", {"label": "scratch", "points": OUTLINE}))
    assert "images of good parts, got none among 1 labelled image: add images of good parts, or" in refused(
        "labelme", parts
    )


def test_the_flag_is_for_labels(parts):
    with pytest.raises(ConfigError, match="a labelling tool's format for --unlabelled-are-good"):
        import_data_set("mvtec", parts, parts.parent / "line", unlabelled_are_good=True)


def test_json_of_other_programs_is_passed_over(parts):
    write_json(parts / "camera.json", {"exposure": 3})
    write_json(parts / "a.json", labelme("a.png", {"label": "scratch", "points": OUTLINE}))
    write_json(parts / "b.json", labelme("b.png"))
    assert list(defects(imported("labelme", parts)[0])) == ["a.png"]


def test_images_that_linewise_flagged_without_a_region_are_not_good(parts):
    values = coco({"a.png": [], "b.png": []})
    for image, decision in zip(values["images"], ("PASS", "REVIEW"), strict=True):
        image["decision"] = decision
    write_json(parts / "coco.json", values)
    line, said = imported("coco", parts)
    assert good(line) == ["a.png"]
    assert "1 image without labels left out: b.png" in said[1]


def test_masks_are_written_where_images_are_linked(parts):
    write_json(parts / "a.json", labelme("a.png", {"label": "scratch", "points": OUTLINE}))
    write_json(parts / "b.json", labelme("b.png"))
    line, _ = imported("labelme", parts, link=True)
    assert line.train_good[0].path.samefile(parts / "b.png")
    assert line.has_masks
    assert json.loads((parts / "a.json").read_text())["imagePath"] == "a.png"
