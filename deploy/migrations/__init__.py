"""The result store's schema, step by step. `deploy.results` runs these when it opens a database."""
