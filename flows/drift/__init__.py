"""Watching what lines' cameras give for drift."""
