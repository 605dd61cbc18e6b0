"""The history of the tables, for Alembic.

Every step must leave tables that the release before can work with: gateways are upgraded one by one.
"""
