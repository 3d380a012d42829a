"""What the server answers, as OpenAPI shows it."""

from __future__ import annotations

import base64
from dataclasses import asdict
from datetime import datetime
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from deploy.bundles.bundle import Bundle
from deploy.bundles.facts import facts_of
from deploy.scoring.image_result import ImageResult
from pipeline.calibration import Decision

_REGION: dict[str, Any] = {
    "box": [412.0, 96.0, 64.0, 40.0],
    "contour": [[412.0, 96.0], [476.0, 100.0], [440.0, 136.0]],
    "area": 1536.0,
    "area_mm2": None,
    "peak": 2.41,
    "mean": 1.87,
}
_LINE: dict[str, Any] = {"line": "bottling/caps", "version": "20260102-030405"}


class RegionAnswer(BaseModel):
    """A marked part of an image, in pixels of the upright image from the outer corner of its first pixel."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REGION]})

    box: tuple[float, float, float, float] = Field(description="Left, top, width and height.")
    contour: list[tuple[float, float]] = Field(description="x and y of the outline's corners in turn.")
    area: float = Field(description="In pixels, without holes.")
    area_mm2: float | None = Field(description="In square millimetres, where the line knows the size of a pixel.")
    peak: float = Field(description="The map's highest value in it.")
    mean: float = Field(description="The map's mean value in it.")


class MapAnswer(BaseModel):
    """An anomaly map: the value of a pixel is low + (high - low) * grey / 65535."""

    png: str = Field(description="A grey PNG of 16 bits on the model's grid, in base64.")
    low: float = Field(description="The map's smallest value.")
    high: float = Field(description="The map's largest value.")

    @classmethod
    def of(cls, anomaly_map: NDArray[np.float32]) -> Self:
        """A map (h, w), finite."""
        low, high = float(anomaly_map.min()), float(anomaly_map.max())
        grey = np.round((anomaly_map - low) * (65535 / (high - low or 1.0))).astype(np.uint16)
        done, png = cv2.imencode(".png", grey)
        assert done, "OpenCV encodes any map"
        return cls(png=base64.b64encode(png.tobytes()).decode(), low=low, high=high)


class ScoreAnswer(BaseModel):
    """One image's result."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _LINE
                | {"decision": "REJECT", "score": 2.13, "p_value": 0.0004, "reason": None, "sha256": "9f86d081..."}
                | {"height": 1024, "width": 1024, "kind": "scratch", "kind_probability": 0.81}
                | {"regions": [_REGION], "map": None}
            ]
        }
    )

    line: str = Field(description="The line.")
    version: str = Field(description="The version of its bundle that decided.")
    decision: Decision = Field(description="PASS, REVIEW or REJECT.")
    score: float | None = Field(description="Higher is more anomalous; null where the model gave no finite number.")
    p_value: float | None = Field(description="Share of the line's good parts that score at least so high.")
    reason: str | None = Field(description="What a person should know; null where the score says all.")
    sha256: str = Field(description="Of the file.")
    height: int = Field(description="Of the upright image, in pixels.")
    width: int = Field(description="Of the upright image, in pixels.")
    kind: str | None = Field(description="Likeliest kind of defect of a flagged image, or 'none of these'.")
    kind_probability: float | None = Field(description="Of that kind; null where there is none.")
    regions: list[RegionAnswer] = Field(description="Where a flagged image is marked, the largest first.")
    map: MapAnswer | None = Field(default=None, description="The anomaly map, where ?map=png asks for it.")

    @classmethod
    def of(cls, bundle: Bundle, result: ImageResult, anomaly_map: NDArray[np.float32] | None) -> Self:
        """A scored image's result."""
        assert result.decision is not None
        assert result.sha256 is not None
        assert result.size is not None
        return cls(
            line=bundle.manifest.line,
            version=bundle.manifest.version,
            decision=result.decision,
            score=result.score,
            p_value=result.p_value,
            reason=result.reason,
            sha256=result.sha256,
            height=result.size[0],
            width=result.size[1],
            kind=None if result.kind is None else result.kind.name,
            kind_probability=None if result.kind is None else result.kind.probability,
            regions=[RegionAnswer.model_validate(asdict(region)) for region in result.regions],
            map=None if anomaly_map is None else MapAnswer.of(anomaly_map),
        )


class LineName(BaseModel):
    """A line that is served."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LINE]})

    line: str = Field(description="The line.")
    version: str | None = Field(description="Its live version; null where none is, or its pointer is damaged.")


class LinesAnswer(BaseModel):
    """The lines that are served."""

    lines: list[LineName] = Field(description="Sorted by name.")
    problems: list[str] = Field(description="What kept promoted bundles from being used, in sentences.")


class FactAnswer(BaseModel):
    """A fact of the model card."""

    section: str = Field(description="Under which heading.")
    key: str = Field(description="Names it for programs.")
    name: str = Field(description="Names it for people.")
    value: str = Field(description="In words and numbers.")


class LineAnswer(BaseModel):
    """A line's live version: what decides, and its model card's facts."""

    line: str = Field(description="The line.")
    version: str = Field(description="The live version.")
    bundle: str = Field(description="The bundle's id: equal ids mean equal bundles.")
    created_at: datetime = Field(description="When it was adapted.")
    reject: float = Field(description="Scores from here on are REJECT.")
    review: float = Field(description="Scores from here on, below `reject`, are REVIEW.")
    pixel: float = Field(description="Values of the map from here on are marked.")
    facts: list[FactAnswer] = Field(description="The model card.")

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """What a bundle says of itself."""
        manifest = bundle.manifest
        return cls(
            line=manifest.line,
            version=manifest.version,
            bundle=bundle.id,
            created_at=manifest.created_at,
            reject=manifest.threshold.reject,
            review=manifest.threshold.review,
            pixel=manifest.threshold.pixel,
            facts=[
                FactAnswer(section=section, key=fact.key, name=fact.name, value=fact.value)
                for section, facts in facts_of(manifest).items()
                for fact in facts
            ],
        )


class HealthAnswer(BaseModel):
    """That the server answers."""

    status: str = Field(description='"ok".')
    linewise: str = Field(description="Its version.")
    device: str = Field(description="What it scores on.")
    waiting: int = Field(description="Images that are not answered yet.")


class Problem(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"detail": "expected a line that is served (corks), got 'caps': name one of these"}]
        }
    )

    detail: str = Field(description="One sentence: what was expected, what came, what to do.")
