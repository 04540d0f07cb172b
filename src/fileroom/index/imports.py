"""Which files of an import have been dealt with."""

from __future__ import annotations

from fileroom.db.pool import Pool


async def finished_paths(pool: Pool, source: str) -> set[str]:
    """The paths of an unfinished import that were dealt with."""
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT path FROM import_progress WHERE source = %s", (source,))
        return {row[0] for row in await cursor.fetchall()}


async def note_finished(pool: Pool, source: str, outcomes: list[tuple[str, str]]) -> None:
    """Remember paths and what became of them."""
    if not outcomes:
        return
    paths, results = zip(*outcomes, strict=True)
    async with pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO import_progress (source, path, outcome)
                SELECT %s, * FROM unnest(%s::text[], %s::text[]) ON CONFLICT (source, path) DO NOTHING""",
            (source, list(paths), list(results)),
        )


async def forget_import(pool: Pool, source: str) -> None:
    """The import is complete, or starts anew."""
    async with pool.connection() as connection:
        await connection.execute(b"DELETE FROM import_progress WHERE source = %s", (source,))
