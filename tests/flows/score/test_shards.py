"""A folder scored in shards: every image in one share, one row each, by processes that know nothing of each other."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deploy.results.store import ResultStore
from deploy.scoring.sources.folder import FolderSource
from deploy.scoring.sources.shard import Shard, parse_shard
from flows.score import job
from flows.score.request import ScoreRequest
from pipeline.errors import ConfigError
from pipeline.settings import load_settings
from tests.deploy.results.postgres_server import running_postgres
from tests.flows.adapted_home import LINE, score_request


def rows() -> dict[str, float | None]:
    """The score of each content in the store, once."""
    with ResultStore(load_settings().database) as store:
        found = store.query(line=LINE, limit=None)
    assert all(count == 1 for count in Counter(row.image_sha256 for row in found).values())
    return {str(row.image_sha256): row.score for row in found}


def test_every_file_is_in_one_share(tmp_path: Path):
    for number in range(60):
        (tmp_path / f"{number}.png").touch()
    shares = [[item.name for item in FolderSource(tmp_path, shard=Shard(n, 4)).items()] for n in range(1, 5)]
    assert sorted(name for share in shares for name in share) == sorted(f"{n}.png" for n in range(60))
    assert min(map(len, shares)) > 5
    (tmp_path / "later.png").touch()
    assert [item.name for item in FolderSource(tmp_path, shard=Shard(1, 4)).items() if item.name != "later.png"] == (
        shares[0]
    )


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/201", "2", "a/b", "1/4/2"])
def test_what_is_no_shard_is_said(text: str):
    with pytest.raises(ConfigError, match="a shard such as 2/8"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"watch": True}, "shard with a folder as it is"),
        ({"parts": "{part}_{view}.png", "views": ("2",)}, "either a shard or parts"),
    ],
)
def test_what_does_not_go_with_a_shard(adapted_home: Path, line: Path, other: dict[str, object], told: str):
    with pytest.raises(ConfigError, match=told):
        job.run(ScoreRequest.asked(**{**dict(score_request(line)), "shard": "1/2", **other}), load_settings())


def test_shares_make_the_rows_of_the_whole(adapted_home: Path, line: Path):
    job.run(score_request(line), load_settings())
    whole = rows()
    (adapted_home / "results.sqlite").unlink()
    for number in (1, 2, 3):
        job.run(score_request(line, shard=f"{number}/3"), load_settings())
    assert rows() == whole
    (only := adapted_home.parent / "one").mkdir()
    shutil.copy(next((line / "test").rglob("*.png")), only)
    empty = [job.run(score_request(line, images=str(only), shard=f"{n}/9"), load_settings()) for n in range(1, 10)]
    assert sorted(result.summary.counts.found for result in empty) == [0] * 8 + [1]


@pytest.mark.parametrize("changes", [{"shard": "1/2"}, {"watch": True}, {"images": "rtsp://camera/1"}])
def test_only_a_whole_folder_is_divided(adapted_home: Path, line: Path, changes: dict[str, object]):
    pytest.importorskip("prefect", reason="the extra `flows` is not installed")
    from flows.score.shards_flow import in_shards

    with pytest.raises(ConfigError, match="a whole folder as it is, to be scored in shards"):
        in_shards(score_request(line, **changes), 2)


def test_a_dask_cluster_scores_shards_into_one_postgresql_store(
    prefect_api: None, adapted_home: Path, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("prefect_dask", reason="the extra `dask` is not installed")
    from distributed import LocalCluster

    from flows.score.flow import score_folder

    job.run(score_request(line), load_settings())
    whole = rows()
    with running_postgres(tmp_path / "postgres") as url:
        monkeypatch.setenv("LINEWISE_DATABASE_URL", url.replace("postgresql:", "postgresql+psycopg:"))
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
            monkeypatch.setenv("LINEWISE_DASK_SCHEDULER", cluster.scheduler_address)
            result = score_folder(score_request(line), shards=4)
        assert rows().keys() == whole.keys()
        assert np.allclose(list(rows().values()), [whole[name] for name in rows()])
        with ResultStore(load_settings().database) as store:
            assert sorted(run.scored for run in store.runs() if run.scored)[-1] < 10, "not one did all"
    assert (result.summary.counts.scored, result.summary.counts.skipped) == (0, 10)
    assert "data:image/jpeg;base64," in result.report.read_text()
