"""Calibration: new images of a line in; its version with another threshold out, the head as it was."""
