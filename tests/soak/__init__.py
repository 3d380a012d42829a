"""Scoring for hours: whether memory, latency, file descriptors and threads stay flat; see __main__."""
