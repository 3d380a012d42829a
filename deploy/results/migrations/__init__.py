"""The result store's schema, step by step. `deploy.results.store` runs these when it opens a database."""
