"""Workitems (Unified Procedure Steps), who is subscribed to them, and what is still to be told."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Run 0023_workitems.sql."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
