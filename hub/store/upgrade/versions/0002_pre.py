"""Processes tell each other which systems they leave alone, and share their log-ins."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_pre"
down_revision = "0001_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rest",
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("system", "kind", name=op.f("pk_rest")),
    )
    op.create_table(
        "token",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_token")),
    )
