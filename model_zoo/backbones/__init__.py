"""Frozen backbones: their weights, trunks and feature levels."""
