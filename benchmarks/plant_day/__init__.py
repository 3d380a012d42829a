"""One day of a plant, compressed: cameras, a server, a worker, a scorer, people, and what goes wrong."""
