"""`python -m flows.bootstrap`: make a Prefect server ready for Linewise. Safe to repeat.

It creates the process work pool, the queue before the GPU and the automation that crashes runs whose engine went
silent (a machine that lost power would hold its slot for ever), then registers the deployments of `prefect.yaml`.
The server is the one that PREFECT_API_URL names.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from datetime import timedelta
from importlib.resources import as_file, files

import httpx
from prefect import get_client
from prefect.automations import Automation
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.activities import DEPLOYMENTS
from flows.doctor.checks import check_prefect
from flows.server.runs import GPU_LIMIT
from pipeline.errors import ConfigError, LinewiseError

WORK_POOL = "linewise"
SILENT_RUNS = "linewise: crash silent runs"
SILENCE = timedelta(seconds=90)  # three heartbeats of PREFECT_FLOWS_HEARTBEAT_FREQUENCY in prefect.yaml


def create_work_pool(client: SyncPrefectClient) -> None:
    """The pool that `prefect worker start --pool linewise` serves."""
    try:
        client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
    except ObjectAlreadyExists:
        return


def create_gpu_queue(client: SyncPrefectClient, places: int = 1) -> None:
    """One run at a time on the GPU; raise the limit in the UI on a machine with more."""
    try:
        client.read_global_concurrency_limit_by_name(GPU_LIMIT)
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=places))


def create_silent_runs_automation(client: SyncPrefectClient) -> None:
    """Crash a run whose heartbeats stop: it must exist before the run does."""
    if client.read_automations_by_name(SILENT_RUNS):
        return
    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    message = "No heartbeat for 90 seconds: the engine is gone."
    automation = Automation(
        name=SILENT_RUNS,
        description="A run whose engine sent no heartbeat for 90 seconds is crashed, so that it frees its slot.",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)],
    )
    automation.create()


def register_deployments(client: SyncPrefectClient, *, update: bool = False) -> list[str]:
    """Register the deployments of the packaged `prefect.yaml`.

    One that is there already is left alone, with the parameters and schedules it was given in the UI, unless `update`
    asks for the file's state.

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


def main() -> int:
    """Set everything up and say what to do next."""
    parser = argparse.ArgumentParser(prog="python -m flows.bootstrap", description="Make a Prefect server ready.")
    parser.add_argument(
        "--update",
        action="store_true",
        help="register every deployment anew, as after an upgrade; resets parameters and schedules to the file's",
    )
    update: bool = parser.parse_args().update
    if not os.environ.get("PREFECT_API_URL"):
        sys.stderr.write("expected PREFECT_API_URL, got none: export PREFECT_API_URL=http://127.0.0.1:4200/api\n")
        return 2
    try:
        check_prefect()
        with get_client(sync_client=True) as client:
            create_work_pool(client)
            create_gpu_queue(client)
            create_silent_runs_automation(client)
            registered = register_deployments(client, update=update)
    except LinewiseError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except httpx.HTTPError as error:  # it answers, and refuses
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        sys.stderr.write(
            f"expected a Prefect server that lets Linewise register, got '{reason}': "
            "set PREFECT_API_AUTH_STRING as the server has it, or look into its log\n"
        )
        return 2
    sys.stdout.write(
        f"Work pool {WORK_POOL}, queue {GPU_LIMIT} and the automation are there. "
        f"Deployments registered: {', '.join(registered) or 'none, all were there'}.\n"
        f"Start a worker with: prefect worker start --pool {WORK_POOL}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
