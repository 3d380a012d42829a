"""Rolling a plant's meta-model back: the one that was live before is live again, and what was wrong is noted."""
