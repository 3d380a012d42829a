"""The flow `watch-drift` on a real API: its artifact with pictures, and the event that automations act on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from prefect import get_client

from deploy.bundles.registry import Registry
from deploy.drift.policy import DriftPolicy, DriftSettings, write_drift_settings
from deploy.results.store import ResultStore
from flows.drift.flow import EVENT, watch_drift
from flows.drift.request import WatchDriftRequest
from pipeline.settings import load_settings
from tests.deploy.results.result_rows import begin, scored
from tests.flows.adapted_home import LINE


def test_an_alarm_is_an_artifact_and_an_event(prefect_api: None, adapted_home: Path, tmp_path: Path) -> None:
    write_drift_settings(adapted_home, LINE, DriftSettings(policy=DriftPolicy.RE_ADAPT, block=1))
    fill_store(tmp_path)
    state = watch_drift(WatchDriftRequest(), return_state=True)
    assert state.is_completed()
    again = watch_drift(WatchDriftRequest(), return_state=True)
    assert again.is_completed()
    with get_client(sync_client=True) as client:
        found = {artifact.key: str(artifact.data) for artifact in client.read_artifacts(limit=200)}
        assert "darker since" in found["drift-line-a-7"]
        assert found["drift-line-a-7"].count("data:image/jpeg;base64,") == 2, "before and after"
        assert "re\\-adapt" in found["drift-line-a-7"] or "re-adapt" in found["drift-line-a-7"]
        (event,) = events(client)
    assert event["resource"]["prefect.resource.name"] == LINE
    assert event["payload"]["policy"] == "re-adapt"
    (alarm,) = event["payload"]["alarms"]
    assert alarm["words"].endswith(" % darker")


def fill_store(folder: Path) -> None:
    """150 images, of which the last 20 are darker; those that are shown are files."""
    bundle, rng = Registry(load_settings().home).live(LINE), np.random.default_rng(0)
    with ResultStore(load_settings().database) as store:
        run = begin(store, bundle)
        rows = []
        for number in range(1, 151):
            light = 100 if number <= 130 else 80
            path = folder / f"{number}.png"
            cv2.imwrite(str(path), np.full((24, 32, 3), light, np.uint8))
            row = scored(run, bundle, number, path=str(path))
            rows.append(row._replace(look_brightness=light + rng.normal()))
        store.add(rows)


def events(client: Any) -> list[dict[str, Any]]:
    """Those of drift that the server has; they come to it a little after the run."""
    for _ in range(60):
        asked = {"filter": {"event": {"name": [EVENT]}}, "limit": 50}
        found = client._client.post("/events/filter", json=asked).json()["events"]
        if found:
            return found
        time.sleep(0.5)
    return []
