"""Reviews of broken glass; what the pages of associations need."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the tables of 0011_review.sql."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
