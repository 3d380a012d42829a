"""The plant's processes: what `linewise up` starts, the scorer, and the runs that are asked for. All may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import SecretStr

from benchmarks.plant_day.cameras import wait_for
from benchmarks.plant_day.surroundings import Surroundings
from flows.server.automations import UNSTARTED_RUNS
from pipeline.settings import Settings, load_settings

T = TypeVar("T")
_KEPT = {"LINEWISE_TEMPLATE_CACHE"}
_TRIES = 6
_TYPED_AGAIN_SECONDS = 5.0
_RUN_SECONDS = 900.0
_PAGE = 200  # runs that the server tells at once
UNDER_WAY = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


class Processes:
    """A home with a server, a worker, a review page and a scorer.

    Args:
        root: folder of the day; the home lies in it, and the logs.
        cameras: folder that is scored.
        port: of the server; the review page takes the next one.
        surroundings: whom the scorer tells, the databases, and what else can be killed.

    Attributes:
        asked_again: runs that were killed with what they ran on, and asked for once more.
        typed_again: commands that ended with a sentence, and were typed once more.
        scorer_ended: how often the scorer ended by itself, and was started again as a service manager does.
    """

    def __init__(self, root: Path, cameras: Path, *, port: int, surroundings: Surroundings) -> None:
        self.home, self.asked_again, self.typed_again, self.scorer_ended = root / "home", 0, 0, 0
        self.services, self.review_page = surroundings.services, f"http://127.0.0.1:{port + 1}"
        self._root, self._cameras, self._port, self._publish = root, cameras, port, surroundings.publish
        kept = {name for name in os.environ if name in _KEPT or not name.startswith(("PREFECT_", "LINEWISE_"))}
        self._environment = {name: os.environ[name] for name in kept} | dict(surroundings.variables)
        self._environment |= {"LINEWISE_HOME": str(self.home), "PREFECT_WORKER_QUERY_SECONDS": "1"}
        self._scorer: subprocess.Popen[bytes] | None = None
        self._keeper, self._ending = threading.Thread(target=self._keep_scorer, name="keeper"), threading.Event()
        self._turn = threading.RLock()

    @property
    def settings(self) -> Settings:
        """Of the plant's home."""
        url = self._environment.get("LINEWISE_DATABASE_URL")
        return load_settings(self.home).model_copy(update={"database_url": SecretStr(url) if url else None})

    def linewise(self, *arguments: str) -> str:
        """What the command says; what it depends on may be away, and then it is typed again.

        Raises:
            RuntimeError: it ended with another code than 0, again and again.
        """
        command = [sys.executable, "-m", "flows.cli", *arguments]
        for left in reversed(range(_TRIES)):
            done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return done.stdout
            told = f"linewise {' '.join(arguments)} ended with {done.returncode}: {done.stdout}{done.stderr}"
            if not left:
                raise RuntimeError(told)
            self.typed_again += 1
            print(f"{time.strftime('%H:%M:%S')} typed again: {told}", flush=True)
            time.sleep(_TYPED_AGAIN_SECONDS)
        raise AssertionError

    def up(self) -> None:
        """Start what does not run."""
        with self._turn:
            self.linewise("up", "--port", str(self._port), "--review-port", str(self._port + 1))

    def let_runs_start_in(self, seconds: float) -> None:
        """Seconds after which a run that a worker took and did not start counts as dead."""

        def change(client: SyncPrefectClient) -> None:
            for automation in client.read_automations_by_name(UNSTARTED_RUNS):
                changed = automation.model_dump(mode="json", exclude={"id", "owner_resource"})
                changed["trigger"]["within"] = seconds
                client.request("PUT", "/automations/{id}", path_params={"id": automation.id}, json=changed)

        self.asked(change)

    def down(self) -> None:
        """End all of it, the scorer first. Not by SIGINT: what a shell starts in the background ignores it."""
        self._ending.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        if self._scorer is not None and self._scorer.poll() is None:
            self._scorer.send_signal(signal.SIGTERM)
            self._scorer.wait(180)
        self.linewise("down", "--now")

    def keep_scorer(self) -> None:
        """Start `linewise score-plant --watch --publish`, and again where it ends by itself."""
        self._start_scorer()
        self._keeper.start()

    def _keep_scorer(self) -> None:
        while not self._ending.wait(_TYPED_AGAIN_SECONDS):
            with self._turn:
                if self._scorer is not None and (code := self._scorer.poll()) is not None:
                    self.scorer_ended += 1
                    print(f"{time.strftime('%H:%M:%S')} the scorer ended with {code}, and is started again", flush=True)
                    self._start_scorer()

    def _start_scorer(self) -> None:
        command = [sys.executable, "-m", "flows.cli", "score-plant", str(self._cameras), "--watch", "--device", "cpu"]
        with (self._root / "scorer.log").open("ab") as log:
            self._scorer = subprocess.Popen(  # noqa: S603
                [*command, "--publish", self._publish], env=self._environment, stdout=log, stderr=log
            )

    def kill(self, part: str, away: float) -> None:
        """Kill server, worker, scorer or a service with -9, and start it again after so many seconds."""
        if (service := self.services.get(part)) is not None:
            service.kill()
            time.sleep(away)
            service.start()
            return
        with self._turn:
            if part == "scorer":
                assert self._scorer is not None
                self._scorer.kill()
                self._scorer.wait()
                time.sleep(away)
                self._start_scorer()
                return
            os.kill(json.loads((self.home / "plant" / f"{part}.json").read_text())["pid"], signal.SIGKILL)
            time.sleep(away)
            self.up()

    def client(self) -> SyncPrefectClient:
        """Of the plant's server."""
        return SyncPrefectClient(api=f"http://127.0.0.1:{self._port}/api")

    def asked(self, what: Callable[[SyncPrefectClient], T], seconds: float = 300.0) -> T:
        """What the server says, once it can be reached."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.client() as client:
                    return what(client)
            except (httpx.HTTPError, RuntimeError) as error:
                refused = isinstance(error, PrefectHTTPStatusError) and error.response.status_code < 500
                if refused or time.monotonic() > deadline:
                    raise
                time.sleep(1.0)

    def run(self, deployment: str, request: dict[str, Any], **parameters: Any) -> Any:
        """A run of a deployment that ended as it should; one that was killed is asked for again.

        Raises:
            RuntimeError: it failed again and again.
        """
        told = []
        for _ in range(_TRIES):
            key = str(uuid4())

            def create(client: SyncPrefectClient, key: str = key) -> Any:
                found = client.read_deployment_by_name(f"{deployment}/{deployment}")
                return client.create_flow_run_from_deployment(
                    found.id, parameters={"request": request, **parameters}, idempotency_key=key
                )

            ended = self.ended(self.asked(create).id)
            if ended.state.is_completed():
                return ended
            told.append(f"{ended.state.name}: {ended.state.message}")
            self.asked_again += 1
        raise RuntimeError(f"{deployment} did not come to its end: {told}")

    def ended(self, run_id: Any) -> Any:
        """That run, once it ended."""
        found: list[Any] = []

        def is_final() -> bool:
            found[:] = [self.asked(lambda client: client.read_flow_run(run_id))]
            return found[0].state is not None and found[0].state.is_final()

        wait_for(is_final, f"the end of run {run_id}", _RUN_SECONDS)
        return found[0]

    def runs(self, *states: StateType) -> list[Any]:
        """All flow runs, or those in some states."""
        wanted = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))) if states else None
        chosen = FlowRunFilter(state=wanted)

        def all_of_them(client: SyncPrefectClient) -> list[Any]:
            found = list[Any]()
            while page := client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE, offset=len(found)):
                found += page
            return found

        return self.asked(all_of_them)

    def has_unstarted_run(self) -> bool:
        """Whether a worker took a run that does not run yet."""
        return bool(self.runs(StateType.PENDING))

    def slots_held(self) -> float:
        """Of the server's concurrency limits."""
        found = self.asked(lambda client: client.request("POST", "/v2/concurrency_limits/filter", json={"limit": 200}))
        return sum(limit["active_slots"] for limit in found.json())
