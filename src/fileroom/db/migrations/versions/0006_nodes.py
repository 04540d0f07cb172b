"""What is known of nodes beyond name and address, and how they answered."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the tables of 0006_nodes.sql."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
