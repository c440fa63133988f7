"""The sink for PostgreSQL and TimescaleDB: each forecast and each observed value as a row.

A batch is copied into temporary tables and taken over from there by name, in one transaction: it is there as a whole or
not at all, and what comes again changes nothing.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Self

import psycopg
from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.json import Jsonb

from driftline.errors import InvalidInput
from driftline.messages import BLENDS, Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.sinks.port import SinkUnavailable, Unsendable
from driftline_combiner.sinks.postgres_answers import explained
from driftline_combiner.sinks.postgres_migrations import migrate, use
from driftline_combiner.sinks.postgres_rows import FORECASTS, OBSERVED, Row, Table, rows_of
from driftline_combiner.sinks.secret_files import read_secret
from driftline_combiner.sinks.settings import PostgresSection

log = logging.getLogger(__name__)

BATCH: Final = 200
"""Blends at once: with 36 horizons 7,400 rows."""
CONNECT_S: Final = 10
ANSWER_S: Final = 60.0
"""How long a transaction may take before its server counts as away."""


class PostgresSink:
    """See `driftline_combiner.sinks.port.Sink`."""

    topic = BLENDS
    batch_limit = BATCH

    def __init__(self, section: PostgresSection, streams: Mapping[str, StreamDefinition]) -> None:
        self._section = section
        self._streams = streams
        self._connection: AsyncConnection[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def send(self, batch: Sequence[Blend]) -> Sequence[Unsendable]:
        rows: dict[Table, list[Row]] = {FORECASTS: [], OBSERVED: []}
        unsendable = []
        for index, blend in enumerate(batch):
            try:
                for table, more in rows_of(blend, self._streams[blend.stream], Jsonb).items():
                    rows[table] += more
            except InvalidInput as error:
                unsendable.append(Unsendable(index, str(error)))
        await self._write(rows)
        return unsendable

    async def _write(self, rows: Mapping[Table, Sequence[Row]]) -> None:
        """Raises SinkUnavailable and SinkRefused."""
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await self._opened()
                async with connection.transaction():
                    await use(connection, self._section.db_schema)
                    for table, some in rows.items():
                        await _upsert(connection, table, table.newest(some))
        except TimeoutError as error:
            await self._leave()
            raise SinkUnavailable(f"no answer within {ANSWER_S:.0f} seconds") from error
        except psycopg.Error as error:
            # What is wrong may be the tables: they are looked at again with the next connection.
            await self._leave()
            raise explained(error.sqlstate, str(error), self._section.username, self._section.db_schema) from error

    async def _opened(self) -> AsyncConnection[Any]:
        """Connected, to tables of this version. Raises psycopg.Error and SinkRefused."""
        if self._connection is None:
            connection = await AsyncConnection.connect(**self._parameters(), autocommit=True, prepare_threshold=None)
            try:
                await migrate(connection, self._section.db_schema)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    def _parameters(self) -> dict[str, Any]:
        section = self._section
        files = {"sslrootcert": section.ca_file, "sslcert": section.cert_file, "sslkey": section.key_file}
        given = {name: str(path) for name, path in files.items() if path is not None}
        encrypted = {"sslmode": "verify-full", "sslrootcert": "system"} if section.tls else {}
        return {
            "host": section.host,
            "port": section.port,
            "dbname": section.database,
            "user": section.username,
            "password": read_secret(section.password_file),
            "application_name": "driftline",
            "connect_timeout": CONNECT_S,
            **encrypted,
            **given,
        }

    async def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()


async def _upsert(connection: AsyncConnection[Any], table: Table, rows: Sequence[Row]) -> None:
    if not rows:
        return
    incoming = Identifier("pg_temp", f"incoming_{table.name}")
    await connection.execute(_TEMPORARY.format(incoming=incoming, table=Identifier(table.name)))
    columns = SQL(", ").join(map(Identifier, table.columns))
    async with connection.cursor() as cursor:
        async with cursor.copy(SQL("COPY {} ({}) FROM STDIN").format(incoming, columns)) as copy:
            for row in rows:
                await copy.write_row(row)
        await cursor.execute(_taken_over(table, incoming, columns))


_TEMPORARY: Final = SQL("CREATE TEMPORARY TABLE IF NOT EXISTS {incoming} (LIKE {table}) ON COMMIT DELETE ROWS")
_TAKE_OVER: Final = SQL(
    "INSERT INTO {table} AS old ({columns}) SELECT {columns} FROM {incoming} "
    "ON CONFLICT ({name}) DO UPDATE SET {changes} WHERE ({former}) IS DISTINCT FROM ({new})"
)
"""What comes again as it was leaves no dead row."""


def _taken_over(table: Table, incoming: Identifier, columns: Composed) -> Composed:
    others = [Identifier(name) for name in table.other_columns]
    return _TAKE_OVER.format(
        table=Identifier(table.name),
        incoming=incoming,
        columns=columns,
        name=SQL(", ").join(map(Identifier, table.name_columns)),
        changes=SQL(", ").join(SQL("{0} = excluded.{0}").format(column) for column in others),
        former=SQL(", ").join(SQL("old.{}").format(column) for column in others),
        new=SQL(", ").join(SQL("excluded.{}").format(column) for column in others),
    )
