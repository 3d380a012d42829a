"""Which mask belongs to which image, however their names are written, and what is refused because two would do."""

import pytest

from pipeline.errors import LineError
from pipeline.product_lines.lines import load_line
from tests.pipeline.product_lines.test_lines import masks_of, touch

COMPOSED, DECOMPOSED = "Gef\u00e4\u00df", "Gefa\u0308\u00df"


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        (f"{COMPOSED}.png", f"{DECOMPOSED}.png"),
        (f"{DECOMPOSED}.png", f"{COMPOSED}_mask.png"),
        ("IMG_1.JPG", "img_1.png"),
        ("img_1.png", "IMG_1_MASK.PNG"),
        ("part.1.png", "part.1_mask.bmp"),
    ],
)
def test_names_are_compared_as_people_read_them(tmp_path, image, mask):
    simple = touch(tmp_path / "simple", "good/0.png", f"defect/{image}", f"masks/{mask}")
    assert masks_of(load_line(simple)) == {f"defect/{image}": f"masks/{mask}"}
    for kind, truth in (("crack", "crack"), (COMPOSED, DECOMPOSED), ("Crack", "crack")):
        root = touch(tmp_path / kind, "train/good/0.png", f"test/{kind}/{image}", f"ground_truth/{truth}/{mask}")
        assert masks_of(load_line(root)) == {f"test/{kind}/{image}": f"ground_truth/{truth}/{mask}"}


def test_the_very_name_goes_first(tmp_path):
    names = ("defect/a.png", "defect/A.png", "masks/a.png", "masks/A_mask.png", "defect/b.png", "defect/B.png")
    line = load_line(touch(tmp_path, "good/0.png", *names, "masks/B.png"))
    assert masks_of(line) == {
        "defect/A.png": "masks/A_mask.png",
        "defect/B.png": "masks/B.png",
        "defect/a.png": "masks/a.png",
        "defect/b.png": None,
    }


@pytest.mark.parametrize("layout", ["simple", "mvtec"])
def test_one_mask_for_two_images_of_one_name_is_refused(tmp_path, layout):
    good, defect, masks = {
        "simple": ("good", "defect", "masks"),
        "mvtec": ("train/good", "test/crack", "ground_truth/crack"),
    }[layout]
    root = touch(tmp_path, f"{good}/0.png", f"{defect}/0.png", f"{defect}/0.jpg")
    assert len(load_line(root).defects) == 2, "without a mask there is nothing to mistake"
    touch(tmp_path, f"{masks}/0.png")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert str(caught.value) == (
        f"expected one image for each mask, got {root}/{masks}/0.png for {root}/{defect}/0.jpg and 0.png: "
        "rename one of the images, and its mask, if it has one"
    )


def test_two_masks_for_one_image_are_refused(tmp_path):
    root = touch(tmp_path, "good/0.png", "defect/0.png", "masks/0.png", "masks/0.bmp")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert str(caught.value) == (
        f"expected one mask for each image, got {root}/masks/0.bmp and 0.png for '0': move all but the right one away"
    )
    touch(tmp_path, "masks/0_mask.png")
    assert masks_of(load_line(root)) == {"defect/0.png": "masks/0_mask.png"}, "which wins over the others"


@pytest.mark.parametrize("folder", ["defect", "defect/crack", "good"])
@pytest.mark.parametrize("mask", ["0_mask.png", "0_MASK.bmp", "0_gt.png"])
def test_masks_beside_their_images_are_not_learned_from(tmp_path, folder, mask):
    root = touch(tmp_path, "good/1.png", f"{folder}/0.png", f"{folder}/{mask}")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert str(caught.value) == (
        f"expected masks in a folder of their own, got {mask} beside its image in {root}/{folder}: "
        "move the masks to masks/ or ground_truth/"
    )


@pytest.mark.parametrize("place", ["good/gt", "defect/masks", "defect/crack/ground_truth", "defect/Ground-Truth"])
def test_folders_of_masks_among_the_images_are_refused(tmp_path, place):
    root = touch(tmp_path, "good/1.png", f"{place}/0.png")
    with pytest.raises(LineError) as caught:
        load_line(root)
    assert f"got {root}/{place}/ among the images of parts: move the masks" in str(caught.value)


def test_a_kind_of_defect_may_be_called_label_and_an_image_mask(tmp_path):
    root = touch(tmp_path, "good/0.png", "defect/label/0.png", "defect/gas_mask.png", "masks/gas_mask.png")
    assert masks_of(load_line(root)) == {"defect/gas_mask.png": "masks/gas_mask.png", "defect/label/0.png": None}


@pytest.mark.parametrize("name", ["ok", "Good", "pass", "GUT"])
def test_good_parts_among_the_defects_are_refused(tmp_path, name):
    mvtec = touch(tmp_path / "a", "train/good/0.png", f"test/{name}/0.png", "test/crack/0.png")
    with pytest.raises(LineError) as caught:
        load_line(mvtec)
    assert str(caught.value) == (
        f"expected good test images in test/good/, got {mvtec}/test/{name}/: rename it to good"
    )
    simple = touch(tmp_path / "b", "good/0.png", f"defect/{name}/0.png")
    with pytest.raises(LineError, match=f"a kind of defect called '{name}'"):
        load_line(simple)
