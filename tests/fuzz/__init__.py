"""Hostile input: seeded mutations of real files, read in processes with limits. `python -m tests.fuzz` runs it."""
