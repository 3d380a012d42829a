"""Finished runs of Linewise's deployments go with their artifacts; nothing else on the server does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

pytest.importorskip("prefect", reason="the extra `flows` is not installed")

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Completed, Failed, Running

import flows.housekeeping.flow
from flows.housekeeping.request import HousekeepingRequest
from flows.server.old_runs import drop_old_runs

PARAMETERS = {"request": {}}
TOMORROW, YESTERDAY = (datetime.now(UTC) + timedelta(days=days) for days in (1, -1))


@pytest.fixture
def client(prefect_api) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def deployment(client: SyncPrefectClient, name: str, entrypoint: str) -> UUID:
    return client.create_deployment(client.create_flow_from_name(name), name, entrypoint=entrypoint)


def run_in(client: SyncPrefectClient, deployment: UUID, state: State) -> UUID:
    run = client.create_flow_run_from_deployment(deployment, parameters=PARAMETERS).id
    client.set_flow_run_state(run, Running(), force=True)
    if not state.is_running():
        client.set_flow_run_state(run, state, force=True)
    made = ArtifactCreate(key=f"old-{run}", type="markdown", data="figures", flow_run_id=run)
    client.request("POST", "/artifacts/", json=made.model_dump(mode="json", exclude_unset=True))
    return run


def is_there(client: SyncPrefectClient, run: UUID) -> bool:
    try:
        client.read_flow_run(run)
    except ObjectNotFound:
        return False
    return True


def artifacts(client: SyncPrefectClient, runs: list[UUID]) -> int:
    return len(client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))))


def test_finished_runs_go_with_their_artifacts(client: SyncPrefectClient) -> None:
    ours = deployment(client, "a-copy", "flows.score.flow.score_folder")
    others = deployment(client, "another-teams", "elsewhere/flow.py:run")
    finished = [run_in(client, ours, state) for state in (Completed(), Failed(), Cancelled())]
    running = run_in(client, ours, Running())
    foreign = run_in(client, others, Completed())
    try:
        assert drop_old_runs(YESTERDAY, False) == 0, "none is so old"
        counted = drop_old_runs(TOMORROW, True)
        assert counted >= 3
        assert all(is_there(client, run) for run in finished), "a dry run"
        assert drop_old_runs(TOMORROW, False) == counted
        assert not any(is_there(client, run) for run in finished)
        assert artifacts(client, finished) == 0
        assert is_there(client, running)
        assert is_there(client, foreign)
        assert artifacts(client, [running, foreign]) == 2
        assert drop_old_runs(TOMORROW, False) == 0
    finally:
        for made in (ours, others):
            client.delete_deployment(made)


def test_the_flow_tells_what_went(client: SyncPrefectClient, adapted_home) -> None:
    state = flows.housekeeping.flow.housekeeping(HousekeepingRequest(), return_state=True)
    assert state.is_completed()
    run = state.state_details.flow_run_id
    (told,) = [a.data for a in client.read_artifacts(limit=200) if a.flow_run_id == run and a.key == "housekeeping"]
    assert "| Prefect runs | 0 |" in str(told)
