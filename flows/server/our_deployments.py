"""The deployments of a Prefect server that run Linewise's flows."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

_PAGE = 200  # the server gives no more at once


def our_deployments(client: SyncPrefectClient) -> Iterator[DeploymentResponse]:
    """Those whose flow is Linewise's, copies made in the UI among them, read page by page."""
    read = 0
    while page := client.read_deployments(limit=_PAGE, offset=read):
        yield from (found for found in page if (found.entrypoint or "").startswith("flows."))
        read += len(page)
