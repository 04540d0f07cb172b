"""Bring the database's schema up to the code's, once, however many processes start at the same time.

Tables change by numbered alembic migrations. Functions and views hold no data, so they are simply put in place again
when their text has changed ("repeatables"). Nearly always everything is as it should be: that is seen by one look,
without alembic, which takes longer to load than most commands take to run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import psycopg

_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


def migrate(database_url: str, repeatables: Sequence[str] = ()) -> None:
    """Upgrade the schema under an advisory lock, then put the `repeatables` (SQL texts) in place.

    Raises ConfigurationError when the address is none or the database was already upgraded by a newer Fileroom,
    DatabaseError when it does not answer or refuses a statement.
    """
    if is_current(database_url, repeatables):
        return
    # Loaded only where there is something to do: alembic and SQLAlchemy cost a quarter of a second.
    from fileroom.db.migration import upgrade

    upgrade(database_url, repeatables)


def is_current(database_url: str, repeatables: Sequence[str] | None = None) -> bool:
    """Whether the database has the newest tables and, if they are given, these `repeatables`.

    False also where that cannot be seen: `migrate` then finds out, and says, why.
    """
    try:
        with psycopg.connect(database_url, autocommit=True) as connection:
            found = {version for (version,) in connection.execute("SELECT version_num FROM alembic_version")}
            if found != {_newest_version()}:
                return False
            if repeatables is None:
                return True
            return connection.execute("SELECT digest FROM schema_repeatable").fetchall() == [(digest_of(repeatables),)]
    except psycopg.Error:
        return False


def digest_of(repeatables: Sequence[str]) -> str:
    """What stands in `schema_repeatable` when these texts are in place."""
    return hashlib.sha256("\0".join(repeatables).encode()).hexdigest()


def _newest_version() -> str:
    """Migrations are files named by their revision, `0001_archive.py`, in their order."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))
