"""What people name instead of a line's folder, and what they are told to do about it."""

import pytest

from deploy.scoring.sources.choose import open_source
from pipeline.errors import LineError, LinewiseError
from pipeline.imaging.files import iter_image_files
from pipeline.product_lines.importers import import_data_set
from pipeline.product_lines.lines import find_lines, load_line
from tests.pipeline.product_lines.test_lines import touch


def test_a_folder_of_nothing_but_images_is_told_what_to_do(tmp_path):
    touch(tmp_path, "1.png", "2.JPG", ".hidden.png", "notes.txt")
    told = (
        r"got no good image in .*, which itself holds 2 images: move those of good parts to good/, and those of defec"
    )
    for read in (load_line, find_lines):
        with pytest.raises(LineError, match=told):
            read(tmp_path)


def test_an_archive_in_place_of_a_folder_is_to_be_unpacked(tmp_path):
    archive = tmp_path / "line.tar.gz"
    archive.touch()
    for read in (
        load_line,
        find_lines,
        open_source,
        lambda path: open_source(path, watch=True),
        lambda path: list(iter_image_files(path)),
        lambda path: import_data_set("visa", path, tmp_path / "out"),
    ):
        with pytest.raises(
            LinewiseError,
            match=r"got (a|another) file(,| at) .*line.tar.gz: unpack it, and name the folder that comes out",
        ):
            read(archive)
