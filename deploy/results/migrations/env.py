"""What alembic runs: the steps, on the connection and inside the transaction that `deploy.results.store` opened."""

from __future__ import annotations

from alembic import context

from deploy.results.schema import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    target_metadata=Base.metadata,
    transactional_ddl=True,  # also on SQLite, whose transaction the caller began: a killed migration leaves no half
)
context.run_migrations()
