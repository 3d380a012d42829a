"""The plant on one machine: a Prefect server and a worker as background processes, and how they and the lines do."""
