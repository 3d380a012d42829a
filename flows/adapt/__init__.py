"""Adaptation: a few images of a new line in, a registered bundle out."""
