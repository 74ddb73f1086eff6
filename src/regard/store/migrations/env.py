"""Alembic's entry point: migrate over the connection that `regard.store.database.migrate` hands in."""

from alembic import context

from regard.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
