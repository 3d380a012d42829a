"""Importers: each format from its owner's layout into the MVTec AD layout, whole or not at all."""

# Longer than the others: every format's source is made here, by the few functions that all of them share.

import os
import resource
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError, LineError, StorageError
from pipeline.product_lines.importers import IMPORTERS, import_data_set
from tests.parts.memory_folder import MEMORY
from tests.parts.rights import closed


def image(path: Path, seed: int = 0, *, defect: bool | None = None) -> None:
    """A small image; with `defect` given, a mask that is empty or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24), np.uint8)
    if defect is not None:
        pixels = np.zeros((20, 24), np.uint8)
        pixels[4:8, 5:9] = 2 if defect else 0
    assert cv2.imwrite(os.fspath(path), pixels)


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def mvtec(tmp_path):
    root = tmp_path / "mvtec"
    for name in ("bottle", "cable"):
        image(root / name / "train/good/000.png")
        image(root / name / "test/good/000.png", seed=1)
        image(root / name / "test/crack/000.png", seed=2)
        image(root / name / "ground_truth/crack/000_mask.png", defect=True)
        (root / name / "license.txt").write_text("CC BY-NC-SA 4.0")
    (root / "readme.txt").write_text("see license.txt")
    return root


@pytest.fixture
def visa(tmp_path):
    root = tmp_path / "visa"
    for kind, names in (("Normal", "012"), ("Anomaly", "01")):
        for name in names:
            image(root / f"candle/Data/Images/{kind}/{name}.JPG", int(name))
    image(root / "candle/Data/Masks/Anomaly/0.png", defect=True)
    table = root / "split_csv" / "1cls.csv"
    table.parent.mkdir()
    table.write_text(
        "object,split,label,image,mask\n"
        "candle,train,normal,candle/Data/Images/Normal/0.JPG,\n"
        "candle,train,normal,candle/Data/Images/Normal/1.JPG,\n"
        "candle,test,normal,candle/Data/Images/Normal/2.JPG,\n"
        "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png\n"
        "candle,test,anomaly,candle/Data/Images/Anomaly/1.JPG,\n"
    )
    return root


@pytest.fixture
def btad(tmp_path):
    root = tmp_path / "btad"
    image(root / "01/train/ok/0000.bmp")
    image(root / "01/test/ok/0000.bmp")
    image(root / "01/test/ko/0001.bmp")
    image(root / "01/ground_truth/ko/0001.png", defect=True)
    return root


@pytest.fixture
def kolektorsdd(tmp_path):
    root = tmp_path / "KolektorSDD"
    for number in range(1, 7):
        for part in range(2):
            image(root / f"kos{number:02d}/Part{part}.jpg", 10 * number + part)
            image(root / f"kos{number:02d}/Part{part}_label.bmp", defect=(number, part) == (2, 1))
    return root


def test_mvtec(mvtec, tmp_path):
    destination = tmp_path / "out" / "mvtec_ad"
    lines = import_data_set("mvtec", mvtec, destination)
    assert [(line.name, line.data_set) for line in lines] == [
        ("mvtec_ad/bottle", "mvtec_ad"),
        ("mvtec_ad/cable", "mvtec_ad"),
    ]
    assert tree(destination) == tree(mvtec)
    assert (destination / "bottle/test/crack/000.png").read_bytes() == (
        mvtec / "bottle/test/crack/000.png"
    ).read_bytes()
    assert list(destination.parent.iterdir()) == [destination], "something was left behind"


def test_a_single_mvtec_line(mvtec, tmp_path):
    lines = import_data_set("mvtec", mvtec / "cable", tmp_path / "out")
    assert [line.name for line in lines] == ["out/cable"]
    assert lines[0].defects[0].mask_path == tmp_path / "out/cable/ground_truth/crack/000_mask.png"


def test_what_systems_leave_is_not_imported(mvtec, tmp_path):
    expected = tree(mvtec)
    image(mvtec / "__MACOSX/train/good/000.png")
    image(mvtec / "bottle/train/good/@eaDir/000.png/SYNOPHOTO_THUMB_M.jpg")
    (mvtec / "bottle/train/good/._000.png").touch()
    (mvtec / "Thumbs.db").touch()
    import_data_set("mvtec", mvtec, tmp_path / "out")
    assert tree(tmp_path / "out") == expected


def test_what_is_not_imported_is_told(mvtec, tmp_path):
    said = []
    import_data_set("mvtec", mvtec, tmp_path / "out", on_remark=said.append)
    assert said == []
    shutil.copy(mvtec / "bottle/train/good/000.png", mvtec / "bottle/train/good/copy.png")
    image(mvtec / "bottle/defects/0.png")
    image(mvtec / "cable/ground_truth/crack/7_mask.png")
    (mvtec / "bottle/test/crack/a.webp").write_bytes(b"RIFF0000WEBP")
    import_data_set("mvtec", mvtec, tmp_path / "again", on_remark=said.append)
    assert said == [
        "2 image files not used in this layout: bottle/defects/0.png, cable/ground_truth/crack/7_mask.png.",
        "1 file left out, not read as images (1 .webp), such as bottle/test/crack/a.webp: "
        "what is read is .bmp, .jpeg, .jpg, .png, .tif, .tiff.",
        "again/bottle: 2 train good images are the same file and count once: train/good/000.png, train/good/copy.png.",
    ]


def test_mpdd_is_the_mvtec_layout(mvtec, tmp_path):
    assert len(import_data_set("mpdd", mvtec, tmp_path / "out")) == 2


def test_mvtec_3d(tmp_path):
    root = tmp_path / "3d" / "bagel"
    for split, kind in (("train", "good"), ("validation", "good"), ("test", "good"), ("test", "cut")):
        image(root / split / kind / "rgb/000.png", seed=len(split + kind))
        image(root / split / kind / "xyz/000.tiff")
        if split == "test":
            image(root / split / kind / "gt/000.png", defect=kind == "cut")
    for layout in (root, root.parent):
        with pytest.raises(LineError) as caught:
            import_data_set("mvtec", layout, tmp_path / "none")
        assert str(caught.value) == (
            f"expected an MVTec AD layout, got MVTec 3D-AD's, with rgb/ beside gt/ or xyz/ in {root}/train/good: "
            "bring it over: linewise lines import mvtec3d"
        )
    (line,) = import_data_set("mvtec3d", root.parent, tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "bagel/train/good/000.png",
        "bagel/train/good/validation_000.png",
        "bagel/test/good/000.png",
        "bagel/test/cut/000.png",
        "bagel/ground_truth/cut/000_mask.png",
    }
    assert line.has_masks


def test_visa(visa, tmp_path):
    (line,) = import_data_set("visa", visa, tmp_path / "out")
    assert line.name == "out/candle"
    assert tree(tmp_path / "out") == {
        "candle/train/good/0.JPG",
        "candle/train/good/1.JPG",
        "candle/test/good/2.JPG",
        "candle/test/anomaly/0.JPG",
        "candle/test/anomaly/1.JPG",
        "candle/ground_truth/anomaly/0_mask.png",
    }
    assert [record.mask_path is not None for record in line.defects] == [True, False]
    source = visa / "candle/Data/Images/Normal/2.JPG"
    assert line.test_good[0].path.read_bytes() == source.read_bytes()


def test_btad(btad, tmp_path):
    (line,) = import_data_set("btad", btad, tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "01/train/good/0000.bmp",
        "01/test/good/0000.bmp",
        "01/test/ko/0001.bmp",
        "01/ground_truth/ko/0001_mask.png",
    }
    assert line.has_masks


def test_names_of_masks_and_files_are_compared_in_one_form_of_unicode(btad, mvtec, tmp_path):
    image(btad / "01/test/ko/Gef\u00e4\u00df.bmp")
    image(btad / "01/ground_truth/ko/Gefa\u0308\u00df.png", defect=True)
    (line,) = import_data_set("btad", btad, tmp_path / "out")
    assert all(record.mask_path for record in line.defects)
    for name in ("Fl\u00e4che", "Fla\u0308che"):
        image(mvtec / "bottle/train/good" / f"{name}.png")
    with pytest.raises(LineError, match="one source file for each name"):
        import_data_set("mvtec", mvtec, tmp_path / "again")


def test_kolektorsdd_keeps_a_commutators_good_parts_together(kolektorsdd, tmp_path):
    (line,) = import_data_set("kolektorsdd", kolektorsdd, tmp_path / "out")
    assert line.name == "out/commutator"
    train = {record.path.name.split("_")[0] for record in line.train_good}
    test = {record.path.name.split("_")[0] for record in line.test_good}
    assert (train, test) == ({"kos01", "kos02", "kos04", "kos05"}, {"kos03", "kos06"})
    assert len(line.train_good) + len(line.test_good) == 11
    (defect,) = line.defects
    assert (defect.kind, defect.path.name) == ("crack", "kos02_Part1.jpg")
    assert defect.mask_path is not None
    assert defect.mask_path.name == "kos02_Part1_mask.bmp"


def test_a_part_without_its_label_is_refused(kolektorsdd, tmp_path):
    (kolektorsdd / "kos03/Part0_label.bmp").unlink()
    with pytest.raises(
        LineError, match=r"expected a part with its label: an image file, got no such file in .*Part0_label"
    ):
        import_data_set("kolektorsdd", kolektorsdd, tmp_path / "out")
    image(kolektorsdd / "kos03/Part0_label.png", defect=False)
    (kolektorsdd / "kos03/Part0_label.png").rename(kolektorsdd / "kos03/Part0_label.bmp")
    assert import_data_set("kolektorsdd", kolektorsdd, tmp_path / "out"), "contents count, not the suffix"


def test_linked_files_are_the_same_files(mvtec, tmp_path):
    import_data_set("mvtec", mvtec, tmp_path / "out", link=True)
    assert (tmp_path / "out/cable/train/good/000.png").samefile(mvtec / "cable/train/good/000.png")
    assert (tmp_path / "out/cable/license.txt").samefile(mvtec / "cable/license.txt")


def test_an_existing_destination_is_never_touched(mvtec, tmp_path):
    destination = tmp_path / "out"
    destination.mkdir()
    with pytest.raises(LineError) as caught:
        import_data_set("mvtec", mvtec, destination)
    assert str(caught.value) == (
        f"expected a destination that does not exist yet, got {destination}: choose another or move it away"
    )
    assert not list(destination.iterdir())
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "gone")
    with pytest.raises(LineError, match="does not exist yet"):
        import_data_set("mvtec", mvtec, dangling)


def test_a_failed_copy_leaves_nothing(mvtec, tmp_path):
    (mvtec / "cable/train/good/001.png").write_bytes(bytes(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # a copy of it fails for every user
    try:
        with pytest.raises(StorageError, match="expected to write the data set to"):
            import_data_set("mvtec", mvtec, tmp_path / "target" / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "target").iterdir())


def test_links_across_file_systems_are_refused_clearly(mvtec):
    folders = [folder for folder in (MEMORY, Path(tempfile.gettempdir())) if folder.is_dir()]
    elsewhere = next((folder for folder in folders if folder.stat().st_dev != mvtec.stat().st_dev), None)
    if elsewhere is None:
        pytest.skip("no second file system to link across")
    destination = elsewhere / f"linewise-import-{os.getpid()}"
    with pytest.raises(StorageError, match="import without hard links"):
        import_data_set("mvtec", mvtec, destination, link=True)
    assert not destination.exists()


def test_a_source_that_may_not_be_listed_is_refused(mvtec, tmp_path):
    with closed(mvtec), pytest.raises(StorageError) as caught:
        import_data_set("mvtec", mvtec, tmp_path / "new")
    assert str(caught.value) == (
        f"expected a data set that can be listed, got Permission denied at {mvtec}/train/good: grant access to it"
    )
    assert not (tmp_path / "new").exists()


def test_an_unknown_format_names_the_known_ones(mvtec, tmp_path):
    with pytest.raises(ConfigError) as caught:
        import_data_set("mnist", mvtec, tmp_path / "out")
    assert str(caught.value) == (
        "expected a data set format among btad, kolektorsdd, mpdd, mvtec, mvtec3d, mvtec_ad2, mvtec_loco, real_iad, "
        "visa, coco, cvat, label_studio, labelme, pascal_voc, yolo, got 'mnist': choose one of them"
    )


@pytest.mark.parametrize("name", IMPORTERS)
def test_a_source_of_another_layout_is_refused(tmp_path, name):
    source = tmp_path / "source"
    with pytest.raises(LineError, match=f"expected a folder with a data set in {name} format, got no such folder"):
        import_data_set(name, source, tmp_path / "out")
    (source / "images").mkdir(parents=True)
    layouts = {
        "mvtec": "an MVTec AD layout with <line>/train/good",
        "mpdd": "an MVTec AD layout with <line>/train/good",
        "mvtec3d": "the MVTec 3D-AD layout with <line>/train/good/rgb",
        "mvtec_loco": "the MVTec LOCO AD layout with <line>/test/logical_anomalies",
        "mvtec_ad2": "the MVTec AD 2 layout with <line>/test_public",
        "real_iad": "the Real-IAD layout with realiad_jsons/<line>.json and realiad_<size>/<line>",
        "visa": "the VisA layout with split_csv/1cls.csv",
        "btad": "the BTAD layout with <line>/train/ok",
        "kolektorsdd": "the KolektorSDD layout with folders kos01, kos02, ...",
    }
    with pytest.raises(LineError) as caught:
        import_data_set(name, source, tmp_path / "out")
    assert str(caught.value) == f"expected {layouts[name]}, got none in {source}: choose another format or folder"
    (source / "all.tar.xz").touch()
    with pytest.raises(LineError, match=r"got none in .*: unpack all.tar.xz, and name the folder that comes out"):
        import_data_set(name, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def row(visa: Path, text: str) -> None:
    with (visa / "split_csv/1cls.csv").open("a") as file:
        file.write(text + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("candle,test,normal,../secret.png,", r"expected a path inside the data set, got '../secret.png' in .* line 7"),
        ("candle,test,normal,/etc/hostname,", "expected a path inside the data set, got '/etc/hostname'"),
        ("candle,test,normal,candle/outside.png,", "expected a path inside the data set, got 'candle/outside.png'"),
        ("candle,test,normal,candle,", "expected a file that the data set has, got no 'candle', named in"),
        ("candle,test,normal,none.png,", "expected a file that the data set has, got no 'none.png'"),
        ("../../evil,test,normal,candle/Data/Images/Normal/0.JPG,", "expected a plain folder name, got '../../evil'"),
        ("..,test,normal,candle/Data/Images/Normal/0.JPG,", r"expected a plain folder name, got '\.\.'"),
        (",test,normal,candle/Data/Images/Normal/0.JPG,", "expected a plain folder name, got ''"),
        (
            "candle,train,anomaly,candle/Data/Images/Anomaly/1.JPG,",
            "expected train normal, test normal or test anomaly",
        ),
        ("candle,test", "expected the columns object, split, label, image, mask, got fewer in"),
        ("candle,test,normal,candle/Data/Images/Normal/2.JPG,", "expected one source file for each name, got"),
        (
            "fryum,test,normal,candle/Data/Images/Normal/2.JPG,",
            "expected good training images in every line, got none for",
        ),
    ],
)
def test_a_table_is_not_trusted(visa, tmp_path, text, message):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (visa / "candle/outside.png").symlink_to(tmp_path / "secret.png")
    row(visa, text)
    with pytest.raises(LineError, match=message):
        import_data_set("visa", visa, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_an_empty_or_garbled_table_is_refused(visa, tmp_path):
    table = visa / "split_csv/1cls.csv"
    table.write_text("object,split,label,image,mask\n")
    with pytest.raises(LineError, match="expected a table that names images, got an empty one"):
        import_data_set("visa", visa, tmp_path / "out")
    table.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(LineError, match="expected a readable CSV table"):
        import_data_set("visa", visa, tmp_path / "out")
