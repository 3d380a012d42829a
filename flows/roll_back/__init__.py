"""Rolling back: the version that was live before is live again, and what was wrong is noted."""
