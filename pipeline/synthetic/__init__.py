"""Procedural product lines and synthetic defects, seeded, with masks."""
