"""Orchestration: the jobs behind the command line, the Prefect flows around them, and nothing else."""
