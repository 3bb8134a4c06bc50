"""Where Alembic meets the hub's tables: on the connection that `steps` hands over, or on `-x url=...` for a draft."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, create_engine

from hub.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=False,  # the transaction is the caller's
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as own:
        run(own)
