"""The terminal's side of every command, and the commands that are no jobs."""
