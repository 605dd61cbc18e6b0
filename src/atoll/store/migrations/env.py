"""Run by Alembic: migrates over the connection that `atoll.store.database` hands in.

The transaction is the caller's.
"""

from alembic import context

from atoll.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
