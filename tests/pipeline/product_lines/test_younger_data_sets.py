"""Importers of MVTec LOCO AD, MVTec AD 2 and Real-IAD: their layouts in small."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import LineError
from pipeline.product_lines.importers import import_data_set

SIZE = (20, 24)


def image(path: Path, seed: int) -> None:
    write(path, np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8))


def mask(path: Path, rows: slice, value: int = 255) -> None:
    marked = np.zeros(SIZE, np.uint8)
    marked[rows, 5:9] = value
    write(path, marked)


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(os.fspath(path), pixels)


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def marked_rows(path: Path) -> list[int]:
    pixels = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return np.flatnonzero(pixels.any(axis=1)).tolist()


@pytest.fixture
def loco(tmp_path):
    root = tmp_path / "loco"
    line = root / "pushpins"
    places = ("train/good", "validation/good", "test/good", "test/logical_anomalies", "test/structural_anomalies")
    for seed, place in enumerate(places):
        image(line / place / "000.png", seed)
    mask(line / "ground_truth/logical_anomalies/000/000.png", slice(2, 4), value=254)
    mask(line / "ground_truth/logical_anomalies/000/001.png", slice(8, 10), value=253)
    mask(line / "ground_truth/structural_anomalies/000/000.png", slice(5, 6), value=252)
    (line / "defects_config.json").write_text("[]")
    (root / "license.txt").write_text("CC BY-NC-SA 4.0")
    return root


@pytest.fixture
def ad2(tmp_path):
    root = tmp_path / "ad2"
    line = root / "vial"
    for seed, name in enumerate(
        (
            "train/good/000_regular",
            "validation/good/000_regular",
            "test_public/good/000_overexposed",
            "test_public/bad/000_regular",
            "test_public/bad/000_shift_1",
            "test_private/000",
            "test_private_mixed/000_mixed",
        )
    ):
        image(line / f"{name}.png", seed)
    for name in ("000_regular", "000_shift_1"):
        mask(line / f"test_public/ground_truth/bad/{name}_mask.png", slice(2, 4))
    return root


@pytest.fixture
def real_iad(tmp_path):
    root = tmp_path / "real_iad"
    pictures = root / "realiad_256/switch"
    image(pictures / "OK/S0001/switch_0001_OK_C1.jpg", 1)
    image(pictures / "OK/S0002/switch_0002_OK_C1.jpg", 2)
    image(pictures / "NG/HS/S0003/switch_0003_NG_HS_C1.jpg", 3)
    image(pictures / "NG/HS/S0003/switch_0003_NG_HS_C2.jpg", 4)
    mask(pictures / "NG/HS/S0003/switch_0003_NG_HS_C1.png", slice(2, 4))
    for name in ("switch", "zipper"):  # the tables of all products come in one archive, the images in one for each
        table(root, name, "OK", "HS")
    return root


def table(root: Path, name: str, good: str, kind: str, **changed: object) -> None:
    defect = f"NG/{kind}/S0003/{name}_0003_NG_{kind}"
    values = {
        "meta": {"prefix": f"{name}/", "normal_class": good},
        "train": [{"category": name, "anomaly_class": good, "image_path": f"OK/S0001/{name}_0001_OK_C1.jpg"}],
        "test": [
            {"anomaly_class": good, "image_path": f"OK/S0002/{name}_0002_OK_C1.jpg", "mask_path": None},
            {"anomaly_class": kind, "image_path": f"{defect}_C1.jpg", "mask_path": f"{defect}_C1.png"},
            {"anomaly_class": good, "image_path": f"{defect}_C2.jpg", "mask_path": None},
        ],
    }
    path = root / f"realiad_jsons/realiad_jsons/{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values | changed))


def test_the_masks_of_a_logical_anomaly_become_one(loco, tmp_path):
    (line,) = import_data_set("mvtec_loco", loco, tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "license.txt",
        "pushpins/train/good/000.png",
        "pushpins/train/good/validation_000.png",
        "pushpins/test/good/000.png",
        "pushpins/test/logical_anomalies/000.png",
        "pushpins/test/structural_anomalies/000.png",
        "pushpins/ground_truth/logical_anomalies/000_mask.png",
        "pushpins/ground_truth/structural_anomalies/000_mask.png",
    }
    assert [record.kind for record in line.defects] == ["logical_anomalies", "structural_anomalies"]
    assert [marked_rows(record.mask_path) for record in line.defects if record.mask_path] == [[2, 3, 8, 9], [5]]


def test_a_mask_of_another_size_is_refused(loco, tmp_path):
    odd = loco / "pushpins/ground_truth/logical_anomalies/000/001.png"
    write(odd, np.ones((10, 10), np.uint8))
    with pytest.raises(LineError, match="expected a part with its label: a mask of its image's size, 20 x 24 pixels"):
        import_data_set("mvtec_loco", loco, tmp_path / "out")


def test_what_is_private_in_ad_2_is_told_and_left_out(ad2, tmp_path):
    said = []
    (line,) = import_data_set("mvtec_ad2", ad2 / "vial", tmp_path / "out", on_remark=said.append)
    assert tree(tmp_path / "out") == {
        "vial/train/good/000_regular.png",
        "vial/train/good/validation_000_regular.png",
        "vial/test/good/000_overexposed.png",
        "vial/test/bad/000_regular.png",
        "vial/test/bad/000_shift_1.png",
        "vial/ground_truth/bad/000_regular_mask.png",
        "vial/ground_truth/bad/000_shift_1_mask.png",
    }
    assert all(record.mask_path for record in line.defects)
    assert said == [
        "2 image files not used in this layout: test_private/000.png, test_private_mixed/000_mixed.png.",
    ]


@pytest.mark.parametrize(("data_set", "marker"), [("loco", "test/logical_anomalies"), ("ad2", "test_public")])
def test_the_older_layout_is_not_taken_for_it(data_set, marker, tmp_path, request):
    source = request.getfixturevalue(data_set)
    (line,) = (path for path in source.iterdir() if path.is_dir())
    name, format = {"loco": ("LOCO AD", "mvtec_loco"), "ad2": ("AD 2", "mvtec_ad2")}[data_set]
    with pytest.raises(LineError) as caught:
        import_data_set("mvtec", source, tmp_path / "out")
    assert str(caught.value) == (
        f"expected an MVTec AD layout, got MVTec {name}'s, with {marker}/ in {line}: "
        f"bring it over: linewise lines import {format}"
    )


def test_real_iad_is_what_its_tables_say_of_the_products_that_are_there(real_iad, tmp_path):
    (line,) = import_data_set("real_iad", real_iad, tmp_path / "out")
    assert tree(tmp_path / "out") == {
        "switch/train/good/switch_0001_OK_C1.jpg",
        "switch/test/good/switch_0002_OK_C1.jpg",
        "switch/test/good/switch_0003_NG_HS_C2.jpg",  # the defect cannot be seen from there
        "switch/test/HS/switch_0003_NG_HS_C1.jpg",
        "switch/ground_truth/HS/switch_0003_NG_HS_C1_mask.png",
    }
    assert line.name == "out/switch"
    assert line.has_masks


def test_tables_that_were_moved_up_are_found(real_iad, tmp_path):
    tables = real_iad / "realiad_jsons"
    shutil.move(tables / "realiad_jsons/switch.json", tables / "switch.json")
    shutil.rmtree(tables / "realiad_jsons")
    assert import_data_set("real_iad", real_iad, tmp_path / "out")


def test_one_size_of_images_is_meant(real_iad, tmp_path):
    shutil.copytree(real_iad / "realiad_256", real_iad / "realiad_1024")
    with pytest.raises(LineError) as caught:
        import_data_set("real_iad", real_iad, tmp_path / "out")
    assert str(caught.value) == (
        f"expected images of one size, got realiad_1024 and realiad_256 in {real_iad}: move all but one of them away"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": None}, r"expected a table with meta, train and test, got 'train: Input should be a valid list' in"),
        ({"test": [{"anomaly_class": "OK", "image_path": "../a.jpg"}]}, "expected a path inside the data set"),
        ({"test": [{"anomaly_class": "OK", "image_path": "OK/no.jpg"}]}, "expected a file that the data set has"),
        (
            {"test": [{"anomaly_class": "../x", "image_path": "OK/S0001/switch_0001_OK_C1.jpg"}]},
            r"expected a plain folder name, got '\.\./x' in .*switch.json, test 0",
        ),
    ],
)
def test_a_table_is_not_trusted(real_iad, tmp_path, changed, message):
    table(real_iad, "switch", "OK", "HS", **changed)
    with pytest.raises(LineError, match=message):
        import_data_set("real_iad", real_iad, tmp_path / "out")
    assert not (tmp_path / "out").exists()
