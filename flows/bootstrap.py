"""`python -m flows.bootstrap`: make a Prefect server ready for Linewise. Safe to repeat.

It creates the process work pool with its queues by priority, the queue before the GPU and the automations that crash
runs of a machine that lost power (they would hold their slots for ever), then registers the deployments of
`prefect.yaml` and renews those of an older Linewise. The server is the one that PREFECT_API_URL names; one that has
just been started is waited for.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import Any

import httpx
import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flows import load_flow_from_entrypoint

from flows.activities import DEPLOYMENTS, TEND_LINE_DEPLOYMENT
from flows.doctor.checks import check_prefect
from flows.doctor.prefect_address import prefect_address
from flows.server.automations import create_automations, create_line_automations
from flows.server.runs import GPU_LIMIT
from flows.server.work_pool import WORK_POOL, create_gpu_queue, create_work_pool, queue_by_priority
from pipeline.errors import ConfigError, LinewiseError

WAIT = 60.0
_BETWEEN_TRIES = 0.5
_TENDING = (TEND_LINE_DEPLOYMENT, "tend-plant")
_ONCE_CANCELLED = {"adapt-new-lines", "score-plant"}  # flows


def wait_for_server(seconds: float) -> None:
    """Wait until the server answers, and say so on standard error: one that was just started takes up to half a minute.

    Raises:
        ConfigError: it does not answer in time, or PREFECT_API_URL names none that could.
    """
    prefect_address()
    deadline, told = time.monotonic() + seconds, False
    while True:
        try:
            check_prefect()
        except ConfigError:
            if time.monotonic() >= deadline:
                raise
            if not told:
                sys.stderr.write(f"Waiting up to {seconds:.0f} s for the Prefect server to answer.\n")
                told = True
            time.sleep(_BETWEEN_TRIES)
        else:
            return


def register_deployments(client: SyncPrefectClient, *, update: bool = False) -> list[str]:
    """Register the deployments of the packaged `prefect.yaml`.

    One that is there already is left to `renew_deployments`, with the parameters and schedules it was given in the UI,
    unless `update` asks for the file's state.

    Returns:
        Names of the deployments that were registered.

    Raises:
        ConfigError: Prefect refused a deployment; its last words are in the message, all of them on standard error.
    """
    with as_file(files("deploy") / "prefect.yaml") as prefect_file:
        known = {deployment.name for deployment in client.read_deployments(limit=200)}
        names = [name for name in DEPLOYMENTS if update or name not in known]
        if not names:
            return []
        chosen = [argument for name in names for argument in ("-n", name)]
        command = [
            sys.executable,
            "-P",
            "-m",
            "prefect",
            "--no-prompt",
            "deploy",
            "--prefect-file",
            str(prefect_file),
            *chosen,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own arguments
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        sys.stderr.write(f"{said}\n")
        last = said.splitlines()[-1].strip() if said else f"exit code {done.returncode}"
        raise ConfigError("every deployment to register", f"'{last}'", "check PREFECT_API_URL and the server's log")
    return names


def renew_deployments(client: SyncPrefectClient) -> list[str]:
    """Give the deployments that an older Linewise registered the entrypoint, form and pull steps of this one.

    All else can be changed in the UI and stays: parameters, schedules and their switches, the pause switch, tags,
    concurrency limit, job variables, description. Two things of it an older Linewise got wrong, see `_enqueued` and
    `queue_by_priority`. Copies
    made in the UI are renewed too, under whatever name; a deployment whose entrypoint lies outside of Linewise is left
    alone.

    A deployment whose parameters this version's form refuses stays as it is, and standard error says so: the others'
    runs should not wait for it.

    Returns:
        Names of the deployments that were renewed.
    """
    renewed: list[str] = []
    for flow_name, code in packaged_code().items():
        for deployment in _deployments_of(client, flow_name):
            ours = (deployment.entrypoint or "").startswith("flows.")
            current = code | _enqueued(deployment, flow_name) | queue_by_priority(deployment, flow_name)
            if not ours or all(getattr(deployment, name) == value for name, value in current.items()):
                continue
            try:
                client.update_deployment(deployment.id, DeploymentUpdate(**current))
            except PrefectHTTPStatusError as error:
                if error.response.status_code != httpx.codes.CONFLICT:
                    raise
                refused = ConfigError(
                    f"parameters of the deployment '{deployment.name}' that its flow takes",
                    f"'{error.response.json()['detail']}'",
                    "change them in the UI, then run this again",
                )
                sys.stderr.write(f"{refused}\n")
            else:
                renewed.append(deployment.name)
    return renewed


def packaged_code() -> dict[str, dict[str, Any]]:
    """By flow, the fields of its deployments that follow the code: no user can edit them in the UI."""
    content = yaml.safe_load((files("deploy") / "prefect.yaml").read_text(encoding="utf-8"))
    code: dict[str, dict[str, Any]] = {}
    for deployment in content["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"])
        code[flow.name] = {
            "entrypoint": deployment["entrypoint"],
            "parameter_openapi_schema": flow.parameters.model_dump(mode="json", exclude_unset=True),
            "pull_steps": content["pull"],
        }
    return code


def _enqueued(deployment: DeploymentResponse, flow_name: str) -> dict[str, Any]:
    """That its runs wait for each other, where an older Linewise had the server cancel those that would wait.

    Behind a run that died, that cancelled what was asked for. What a schedule makes does not pile up all the same, see
    `flows.server.late_runs`.
    """
    options = deployment.concurrency_options
    if (
        flow_name not in _ONCE_CANCELLED
        or options is None
        or options.collision_strategy is not ConcurrencyLimitStrategy.CANCEL_NEW
    ):
        return {}
    return {"concurrency_options": options.model_copy(update={"collision_strategy": ConcurrencyLimitStrategy.ENQUEUE})}


def _deployments_of(client: SyncPrefectClient, flow_name: str) -> list[DeploymentResponse]:
    """A flow's deployments, read page by page: the server gives at most 200 at once."""
    chosen = FlowFilter(name=FlowFilterName(any_=[flow_name]))
    found: list[DeploymentResponse] = []
    while page := client.read_deployments(flow_filter=chosen, limit=200, offset=len(found)):
        found += page
    return found


def set_up_server(*, wait: float = WAIT, update: bool = False) -> tuple[list[str], list[str]]:
    """Everything that the server of PREFECT_API_URL needs before a worker comes.

    Args:
        wait: seconds to wait until it answers.
        update: see `register_deployments`.

    Returns:
        Names of the deployments that were registered, and of those that were renewed.

    Raises:
        ConfigError: it does not answer in time, or refuses.
    """
    wait_for_server(wait)
    with server_client("register") as client:
        create_work_pool(client)
        create_gpu_queue(client)
        create_automations(client, WORK_POOL)
        changed = register_deployments(client, update=update), renew_deployments(client)
        tend_line, tend_plant = (client.read_deployment_by_name(f"{name}/{name}").id for name in _TENDING)
        create_line_automations(client, tend_line, tend_plant)
        return changed


@contextmanager
def server_client(purpose: str) -> Iterator[SyncPrefectClient]:
    """A client of the server; `purpose` says what Linewise is to be let do, where it is not.

    Raises:
        ConfigError: the server refuses, or went away.
    """
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.HTTPError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            reason = f"HTTP status {error.response.status_code}"
        raise ConfigError(
            f"a Prefect server that lets Linewise {purpose}",
            f"'{reason}'",
            "set PREFECT_API_AUTH_STRING as the server has it, or look into its log",
        ) from error


def main() -> int:
    """Set everything up and say what to do next."""
    parser = argparse.ArgumentParser(prog="python -m flows.bootstrap", description="Make a Prefect server ready.")
    parser.add_argument(
        "--update",
        action="store_true",
        help="register every deployment anew; resets parameters and schedules to the file's",
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=WAIT,
        metavar="SECONDS",
        help=f"how long to wait for a server that has just been started (default: {WAIT:.0f})",
    )
    arguments = parser.parse_args()
    if not os.environ.get("PREFECT_API_URL"):
        sys.stderr.write("expected PREFECT_API_URL, got none: export PREFECT_API_URL=http://127.0.0.1:4200/api\n")
        return 2
    try:
        registered, renewed = set_up_server(wait=arguments.wait, update=arguments.update)
    except LinewiseError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"Work pool {WORK_POOL}, queue {GPU_LIMIT} and the automations are there. "
        f"Deployments registered: {', '.join(registered) or 'none, all were there'}; "
        f"renewed: {', '.join(renewed) or 'none'}.\n"
        f"Start a worker with: prefect worker start --pool {WORK_POOL}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
