"""Scoring: images of a line, or of a plant, in; decisions, rows, heat maps and a report out."""
