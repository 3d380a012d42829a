"""Finished flow runs of Linewise's deployments that are old, with their artifacts."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound

from flows.server.our_deployments import our_deployments

_FINISHED = [StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED]
_PAGE = 200  # the server gives no more at once


def drop_old_runs(before: datetime, dry_run: bool) -> int:
    """Delete what ended before a time, or only count it.

    A run's artifacts go first, then the runs that it began, then itself: whoever is killed between leaves a run that
    the next try finds.

    Returns:
        How many runs of deployments that were.
    """
    with get_client(sync_client=True) as client:
        deployments = [found.id for found in our_deployments(client)]
        if not deployments:
            return 0
        old = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=deployments),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_FINISHED)),
            end_time=FlowRunFilterEndTime.model_validate({"before_": before}),
        )
        if dry_run:
            return client.count_flow_runs(flow_run_filter=old)
        dropped = 0
        while page := client.read_flow_runs(flow_run_filter=old, limit=_PAGE):
            for run in page:
                _drop(client, run.id)
                dropped += 1
        return dropped


def _drop(client: SyncPrefectClient, run: UUID) -> None:
    children = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    while page := client.read_flow_runs(flow_run_filter=children, limit=_PAGE):
        for child in page:
            _drop(client, child.id)
    made = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run]))
    while artifacts := client.read_artifacts(artifact_filter=made, limit=_PAGE):
        for artifact in artifacts:
            with suppress(ObjectNotFound):  # another housekeeper's
                client.delete_artifact(artifact.id)
    with suppress(ObjectNotFound):
        client.delete_flow_run(run)
