"""How fast scoring is, and what it costs; `python -m benchmarks.scoring` runs it all."""
