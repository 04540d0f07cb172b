"""The migration itself, by alembic, under an advisory lock. `db.schema` knows when there is need of it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.pool import NullPool

from fileroom.core.errors import ConfigurationError, DatabaseError
from fileroom.db.schema import digest_of

_ADVISORY_LOCK: Final = 0x46494C45  # "FILE"


def upgrade(database_url: str, repeatables: Sequence[str]) -> None:
    """Upgrade the schema under an advisory lock, then put the `repeatables` (SQL texts) in place.

    Raises ConfigurationError when the address is none or the database was already upgraded by a newer Fileroom,
    DatabaseError when it does not answer or refuses a statement.
    """
    engine = sqlalchemy.create_engine(_for_sqlalchemy(database_url), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})")
            connection.commit()
            _refuse_newer(connection)
            _upgrade(connection)
            _replace(connection, repeatables)
    except sqlalchemy.exc.OperationalError as error:
        raise DatabaseError(
            f"The database does not answer: {_first_line(error)}. Check FILEROOM_DATABASE_URL and the server."
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        raise DatabaseError(
            f"The database did not take the schema: {_first_line(error)}. Check the rights of its user, and that nothing "
            "else uses the database."
        ) from error


def _first_line(error: sqlalchemy.exc.DBAPIError) -> str:
    return str(error.orig).strip().partition("\n")[0]


def _for_sqlalchemy(url: str) -> str:
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    # The address itself is not shown: it may hold a password.
    raise ConfigurationError(
        "FILEROOM_DATABASE_URL is no address of a PostgreSQL database; write postgresql://USER:PASSWORD@HOST/DATABASE."
    )


def _config(connection: sqlalchemy.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def _refuse_newer(connection: sqlalchemy.Connection) -> None:
    if connection.exec_driver_sql("SELECT to_regclass('alembic_version')").scalar() is None:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    found = {row[0] for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")}
    if found - known:
        raise ConfigurationError(
            f"The database has schema version {', '.join(sorted(found))}, which this Fileroom does not know (its newest is "
            f"{max(known)}). It was upgraded by a newer Fileroom: start that one, or restore the backup from before."
        )


def _upgrade(connection: sqlalchemy.Connection) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        command.upgrade(_config(connection), "head")
    connection.commit()


def _replace(connection: sqlalchemy.Connection, repeatables: Sequence[str]) -> None:
    digest = digest_of(repeatables)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_repeatable (digest text NOT NULL)")
    if connection.exec_driver_sql("SELECT digest FROM schema_repeatable").scalar() != digest:
        for text in repeatables:
            connection.exec_driver_sql(text)
        connection.exec_driver_sql("DELETE FROM schema_repeatable")
        connection.exec_driver_sql("INSERT INTO schema_repeatable VALUES (%s)", (digest,))
    connection.commit()
