"""Watching a line's stream of scored images for drift: a sequential test, what changed in words, alarms."""
