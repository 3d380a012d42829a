"""Scoring over HTTP: images posted by any program, decided by the lines' live bundles. Torch-free; needs FastAPI."""
