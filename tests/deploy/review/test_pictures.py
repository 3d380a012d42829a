"""What is shown of an image, and what is not."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
import tifffile

from deploy.bundles.registry import Registry
from deploy.review.nearest_patches import NearestPatches
from deploy.review.pictures import LONGEST_SIDE
from tests.deploy.review.asked_plant import AskedPlant, asked_result
from tests.deploy.scoring_plant import LINE, Plant
from tests.parts.plant import bundle_files, head_graph, later_draft, write_image


def shown(asked: AskedPlant, path: str, result: int | str) -> tuple[int, bytes]:
    answer = asked.browser().client.get(path, params={"result": result})
    return answer.status_code, answer.content


def test_an_image_and_its_heat_map_come_as_jpegs(asked: AskedPlant) -> None:
    flagged, passed = asked.result(11), asked.result(0)
    status, data = shown(asked, "/picture", flagged.id)
    pixels = simplejpeg.decode_jpeg(data)
    assert (status, pixels.shape) == (200, (96, 96, 3))
    written = cv2.imread(flagged.image_path)
    assert abs(pixels[:40, :40].astype(int).mean() - written[:40, :40].mean()) < 3
    assert shown(asked, "/heat", flagged.id) == (200, Path(flagged.overlay_path or "").read_bytes())
    assert shown(asked, "/heat", passed.id)[0] == 404


def test_what_a_browser_cannot_show_is_decoded_and_made_smaller(plant: Plant) -> None:
    deep = np.full((60, 2400), 30000, np.uint16)
    deep[:30] = 65535
    plant.images.mkdir()
    tifffile.imwrite(plant.images / "deep.tif", deep)
    assert cv2.imwrite(str(plant.images / "plain.bmp"), np.full((64, 64, 3), 90, np.uint8))
    plant.score()
    asked = AskedPlant(plant)
    for row in plant.store.query():
        status, data = shown(asked, "/picture", row.id)
        pixels = simplejpeg.decode_jpeg(data)
        assert status == 200
        if row.image_path.endswith("tif"):
            assert pixels.shape == (40, LONGEST_SIDE, 3)
            assert abs(int(pixels[5, 5, 0]) - 255) < 3
            assert abs(int(pixels[35, 5, 0]) - 117) < 4


def test_a_file_that_has_another_content_by_now_is_passed_over_and_named(asked: AskedPlant) -> None:
    first = asked.result(11)
    write_image(Path(first.image_path), brightness=90, seed=99)
    Path(first.overlay_path or "").unlink()
    assert shown(asked, "/picture", first.id)[0] == 404
    browser = asked.browser()
    page = browser.see()
    assert asked_result(page) == asked.result(10).id
    assert "1 passed over: its file has gone, or its name was used again" in page
    chosen = browser.see("/line", line=LINE, result=first.id)
    assert "name was used again: another image lies there now" in chosen
    assert "/picture" not in chosen


def test_a_file_that_has_gone_is_still_asked_about_under_its_heat_map(asked: AskedPlant) -> None:
    Path(asked.result(11).image_path).unlink()
    page = asked.browser().see()
    assert asked_result(page) == asked.result(11).id
    assert "no such file" in page
    assert "/heat?result=" in page


def test_a_kind_whose_images_have_all_gone_keeps_nobody(asked: AskedPlant) -> None:
    """As where production is deleted after a day: the random ones were looked for again and again."""
    for row in asked.store.query():
        if row.overlay_path is None:
            Path(row.image_path).unlink()
    browser = asked.browser()
    page, seen = browser.see(), set()
    for _ in range(14):
        if "No question is left" in page:
            break
        seen.add(asked_result(page))
        page = browser.answer(page, "defective")
    assert seen == {row.id for row in asked.store.query() if row.overlay_path is not None}
    assert "5 images cannot be shown" in page


@pytest.mark.parametrize("result", ["", "0", "99999", "-1", "1.0", "../../etc/passwd", "/etc/passwd", "1' OR 1", "٣"])
def test_nothing_but_a_results_id_names_an_image(asked: AskedPlant, result: str) -> None:
    for path in ("/picture", "/heat"):
        assert shown(asked, path, result)[0] == 404
    client = asked.browser().client
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/templates/index.html.j2"):
        assert client.get(path).status_code == 404


def test_a_heat_map_is_served_only_from_where_scoring_draws_them(asked: AskedPlant, tmp_path: Path) -> None:
    """A row that names another picture, whoever wrote it, shows nothing."""
    other = tmp_path / "secret.jpg"
    other.write_bytes(Path(asked.result(11).overlay_path or "").read_bytes())
    row = asked.result(11)
    with asked.store.writing_session() as session:
        merged = session.merge(row)
        merged.overlay_path = str(other)
    assert shown(asked, "/heat", row.id)[0] == 404


def test_the_index_tells_of_every_line(asked: AskedPlant) -> None:
    page = asked.browser().see("/", any="")
    assert LINE in page
    assert "7 flagged without a word" in " ".join(page.split())
    assert asked.browser().client.get("/line?line=none").status_code == 404


def test_a_flagged_image_stands_beside_the_good_patch_it_was_compared_with(asked: AskedPlant) -> None:
    browser, registry = asked.browser(), Registry(asked.plant.root / "home")
    flagged, passed = asked.result(11), asked.result(0)
    assert f'src="/patches?result={flagged.id}"' in browser.see("/line", line=LINE, result=flagged.id)
    assert "/patches" not in browser.see("/line", line=LINE, result=passed.id)
    status, without = shown(asked, "/patches", flagged.id)
    assert status == 200
    assert set(simplejpeg.decode_jpeg(without)[20:100, 160:240].ravel()) == {160}, (
        "a view that the bundle does not name"
    )
    sources = io.BytesIO()
    np.save(sources, np.array([[1, -1, 0, 0]] * 500, np.int32))
    support = {"support/001.jpg": simplejpeg.encode_jpeg(np.full((32, 32, 3), 50, np.uint8))}
    files = {**bundle_files(), **support, "head.onnx": head_graph(), "bank_sources.npy": sources.getvalue()}
    flagged.bundle_version = registry.add(later_draft(registry, "v2", 2), files).manifest.version
    picture = NearestPatches(registry).picture(flagged)
    assert picture is not None
    pixels = simplejpeg.decode_jpeg(picture)
    assert pixels.shape == (128, 264, 3)
    assert abs(pixels[100, 236].astype(int) - 50).max() < 6, "the second good image, on the right"
    Path(flagged.image_path).write_bytes(Path(passed.image_path).read_bytes())
    assert NearestPatches(registry).picture(flagged) is None, "another image lies there"
