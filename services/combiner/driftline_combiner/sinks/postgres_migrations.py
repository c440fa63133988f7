"""Brings the tables of a schema to the version that this software writes.

The files in `migrations/` are run in the order of their numbers, each once, and all that are due in one transaction.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier

from driftline_combiner.sinks.port import SinkRefused

_FOLDER: Final = files("driftline_combiner.sinks") / "migrations"
_LOCK: Final = SQL("SELECT pg_advisory_xact_lock(hashtextextended('driftline ' || %s, 0))")


@dataclass(frozen=True)
class Migration:
    """version: counted from 1."""

    version: int
    sql: str


def migrations() -> list[Migration]:
    """By version, ascending."""
    named = sorted((path.name, path) for path in _FOLDER.iterdir() if path.name.endswith(".sql"))
    return [Migration(int(name.partition("_")[0]), path.read_text(encoding="utf-8")) for name, path in named]


async def migrate(connection: AsyncConnection[Any], schema: str) -> None:
    """Whoever may only write rows needs no more rights where the tables are there. Raises SinkRefused for tables that a
    later release made, and psycopg.Error."""
    known = migrations()
    async with connection.transaction():
        version = await _version(connection, schema)
    if version < known[-1].version:
        async with connection.transaction():
            # Another combiner may be at it, too: it has done all when the lock is free.
            await connection.execute(_LOCK, [schema])
            version = await _begin(connection, schema)
            await _run(connection, [one for one in known if one.version > version])
    elif version > known[-1].version:
        raise SinkRefused(
            f"found tables of version {version} in the schema {schema}, expected {known[-1].version} at most",
            "update this software, or name another schema",
        )


async def use(connection: AsyncConnection[Any], schema: str) -> None:
    """For this transaction alone, so that it works through a pooler, too."""
    await connection.execute("SELECT set_config('search_path', quote_ident(%s) || ', pg_catalog', true)", [schema])


async def _version(connection: AsyncConnection[Any], schema: str) -> int:
    """0 before the first."""
    table = SQL("{}.versions").format(Identifier(schema))
    regclass = await connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)])
    if await regclass.fetchone() == (None,):
        return 0
    cursor = await connection.execute(SQL("SELECT coalesce(max(version), 0) FROM {}").format(table))
    row = await cursor.fetchone()
    return int(row[0]) if row is not None else 0


async def _begin(connection: AsyncConnection[Any], schema: str) -> int:
    """The version, in a schema that is there."""
    cursor = await connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema])
    if not cursor.rowcount:
        # Not "if not exists": that needs the right to make one even where it is there.
        await connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    await use(connection, schema)
    if not (version := await _version(connection, schema)):
        await connection.execute(
            "CREATE TABLE versions (version integer PRIMARY KEY, since timestamptz NOT NULL DEFAULT now())"
        )
    return version


async def _run(connection: AsyncConnection[Any], due: list[Migration]) -> None:
    for migration in due:
        await connection.execute(migration.sql.encode())
        await connection.execute("INSERT INTO versions (version) VALUES (%s)", [migration.version])
