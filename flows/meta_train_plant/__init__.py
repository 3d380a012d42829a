"""The plant's own meta-model: learned from all lines of its registry, live where it is better on lines it never saw."""
