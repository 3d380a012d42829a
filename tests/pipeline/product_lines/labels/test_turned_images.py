"""Labels of images that EXIF turns: on the pixels as stored or upright, as their stated size tells."""

import numpy as np
import pytest

from pipeline.errors import LineError
from pipeline.imaging.masks import read_mask
from pipeline.product_lines.importers import import_data_set
from tests.parts.image_files import TURNED, exif_block, jpeg, jpeg_with_exif, picture
from tests.parts.labelled_images import (
    cvat,
    cvat_image,
    imported,
    labelme,
    marked,
    voc,
    write_images,
    write_json,
)

STORED = 40, 60  # height, width
CORNERS = [[5, 10], [30, 10], [30, 20], [5, 20]]
AREA = slice(10, 20), slice(5, 30)


@pytest.fixture
def parts(tmp_path):
    write_images(tmp_path / "parts", "good.png")
    return tmp_path / "parts"


def turned_image(parts, orientation, size=STORED):
    (parts / "a.jpg").write_bytes(jpeg_with_exif(jpeg(picture(*size)), exif_block(orientation)))


def label_with_labelme(parts, height, width):
    shape = {"label": "scratch", "points": CORNERS}
    write_json(parts / "a.json", labelme("a.jpg", shape) | {"imageHeight": height, "imageWidth": width})
    write_json(parts / "good.json", labelme("good.png"))


def mask_in(line, size):
    (record,) = line.defects
    return read_mask(record.mask_path, size)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_drawn_on_the_stored_pixels(parts, orientation):
    turned_image(parts, orientation)
    label_with_labelme(parts, *STORED)
    expected = TURNED[orientation](marked(AREA, height=40, width=60))
    assert np.array_equal(mask_in(imported("labelme", parts)[0], (60, 40)), expected)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_drawn_on_the_upright_image(parts, orientation):
    turned_image(parts, orientation)
    label_with_labelme(parts, 60, 40)
    assert np.array_equal(mask_in(imported("labelme", parts)[0], (60, 40)), marked(AREA, height=60, width=40))


def test_where_the_size_does_not_tell_it_is_upright_and_asked_about(parts):
    turned_image(parts, 3)
    label_with_labelme(parts, *STORED)
    line, said = imported("labelme", parts)
    assert np.array_equal(mask_in(line, STORED), marked(AREA, height=40, width=60))
    assert any("that EXIF turns or mirrors, taken as drawn on the upright image" in sentence for sentence in said)


def test_cvat_tells_it_as_well(parts):
    turned_image(parts, 6)
    polygon = '<polygon label="scratch" points="5,10;30,10;30,20;5,20"/>'
    images = cvat_image(0, "a.jpg", polygon, *STORED), cvat_image(1, "good.png")
    (parts / "annotations.xml").write_text(cvat(*images))
    expected = TURNED[6](marked(AREA, height=40, width=60))
    assert np.array_equal(mask_in(imported("cvat", parts)[0], (60, 40)), expected)


def test_a_size_that_is_neither_is_refused(parts, tmp_path):
    turned_image(parts, 6)
    label_with_labelme(parts, 80, 120)
    with pytest.raises(LineError) as caught:
        import_data_set("labelme", parts, tmp_path / "line")
    assert str(caught.value) == (
        "expected labels drawn on the image's 60 x 40 pixels, got 80 x 120 pixels in a.json: "
        "bring the images that were labelled, at their own size"
    )
    assert not (tmp_path / "line").exists()


def test_a_size_of_nothing_is_none(parts):
    """Tools that do not look into the image write 0 x 0."""
    write_images(parts, "b.png")
    (parts / "b.xml").write_text(voc("b.png", ("dent", 3, 4, 8, 6), height=0, width=0))
    (parts / "good.xml").write_text(voc("good.png"))
    assert np.array_equal(mask_in(imported("pascal_voc", parts)[0], (20, 24)), marked((slice(3, 6), slice(2, 8))))
