"""Run by Alembic: migrates over the connection that `atoll.store.migrate` hands in.

The transaction is the caller's.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
