"""The Prefect server's side of every flow: runs, queues, artifacts."""
