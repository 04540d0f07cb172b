"""Passkeys, and passwords that must be changed."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables of 0009_passkeys.sql."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
