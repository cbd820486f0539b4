"""What Alembic runs for each command: the caller's connection, inside the caller's transaction."""

from __future__ import annotations

from typing import Any

from alembic import context

from streamproxy.stores.sql.models import metadata


def run() -> None:
    """Apply the migrations and note the names of those that were applied."""
    attributes = context.config.attributes
    applied: list[str] = attributes["applied"]

    def note(*_: Any, **named: Any) -> None:
        applied.append(named["step"].up_revision_id)

    context.configure(
        connection=attributes["connection"],
        target_metadata=metadata,
        on_version_apply=note,
        # SQLite can do it as well; Alembic is only cautious because of the driver's own transactions.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
