"""Certificates of the DICOM and web ports."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the tables of 0010_certificates.sql."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text())
