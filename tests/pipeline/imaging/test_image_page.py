"""docs/images.md says of every kind of file what becomes of it."""

import pytest

from tests.pipeline.imaging.image_page import PAGE, with_table


def test_the_page_has_the_table_that_the_files_make():
    page = PAGE.read_text()
    assert with_table(page) == page, "python -m tests.pipeline.imaging.image_page writes it anew"


DEPTHS = ["8 bits", "10 bits", "12 bits", "14 bits", "16 bits", "packed"]
COLOURS = ["mono", "Bayer", "palette", "alpha", "CMYK", "ICC"]
OTHERS = ["EXIF", "progressive", "ends early", "pages", "1 x 1", "Line scan", "WebP", "HEIC"]


@pytest.mark.parametrize("word", [*DEPTHS, *COLOURS, *OTHERS])
def test_every_kind_that_plants_ask_about_has_a_row(word):
    assert word in PAGE.read_text()
