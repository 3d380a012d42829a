"""Linewise for programs that own a loop of their own: images as numpy arrays in, decisions and regions out.

    line = linewise.Line.open("bottling/caps")        # or Line.adapt("bottling/caps", good=[...], defects=[...])
    result = line.score(frame)                        # uint8 or uint16, (H, W) or RGB (H, W, 3)
    if result.decision is linewise.Decision.REJECT: ...

Importing this loads neither torch nor Prefect; `Line.adapt` loads torch when it is called.
"""

from linewise.line import Line
from linewise.result import Result
from pipeline.calibration import Decision, Threshold
from pipeline.errors import BundleError, ConfigError, DeviceError, ImageError, LineError, LinewiseError
from pipeline.regions import Region

__all__ = [
    "BundleError",
    "ConfigError",
    "Decision",
    "DeviceError",
    "ImageError",
    "Line",
    "LineError",
    "LinewiseError",
    "Region",
    "Result",
    "Threshold",
]
