"""The sink for PostgreSQL at a real server: what its tables hold, what comes after an outage, what is refused."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import BLENDS, DEAD_LETTERS
from driftline.scoring import LEVELS
from driftline_combiner.sinks.job import SinkJob
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable
from driftline_combiner.sinks.postgres import PostgresSink
from driftline_combiner.sinks.postgres_migrations import Migration, migrations
from driftline_combiner.sinks.postgres_rows import FORECASTS, OBSERVED, QUANTILES, rows_of
from driftline_combiner.sinks.settings import PostgresSection
from tests.combiner.sinks.blends import BEGIN, HOUR, TANK, blend
from tests.combiner.sinks.postgres_server import SUPERUSER, PostgresServer
from tests.combiner.sinks.running import running, until
from tests.conftest import ROOT

pytestmark = pytest.mark.process
STREAMS = {"tank": TANK}
T0 = datetime(2026, 1, 1, tzinfo=UTC)
databases = count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        one = PostgresServer()
    except Unavailable as error:
        pytest.skip(str(error))
    yield one.start()
    one.remove()


@pytest.fixture
def database(server: PostgresServer) -> str:
    name = f"d{next(databases)}"
    server.run("postgres", f"CREATE DATABASE {name}")
    return name


def section(server: PostgresServer, database: str, **more: Any) -> PostgresSection:
    given = {"host": "127.0.0.1", "port": server.port, "username": SUPERUSER}
    return PostgresSection(type="postgres", database=database, **{**given, **more})


@asynccontextmanager
async def opened(server: PostgresServer, database: str, **more: Any) -> AsyncIterator[PostgresSink]:
    async with PostgresSink(section(server, database, **more), STREAMS) as sink:
        yield sink


@asynccontextmanager
async def working(server: PostgresServer, database: str, bus: Bus, **more: Any) -> AsyncIterator[SinkJob]:
    async with running(section(server, database, **more), bus) as job:
        yield job


async def test_forecasts_and_what_was_observed_are_rows_that_meet_in_a_view(server, database):
    async with opened(server, database) as sink:
        assert await sink.send([blend(0), blend(1)]) == []
    forecasts = server.rows(database, "SELECT * FROM driftline.forecasts ORDER BY t, horizon")
    numbers = (0.5, -1.0, 2.0, None, 0.4, None)
    versions = {"batch": "v000001"}
    hour = timedelta(hours=1)
    assert forecasts[0] == ("tank", "k1", T0 + hour, 1, T0, *numbers, "kW", "online", False, versions)
    assert len(forecasts) == 4
    assert server.rows(database, "SELECT * FROM driftline.observed ORDER BY t") == [
        ("tank", "k1", T0, 0.0, "kW"),
        ("tank", "k1", T0 + hour, 1.0, "kW"),
    ]
    scored = server.rows(database, "SELECT t, horizon, forecast, observed, error FROM driftline.scored")
    assert scored == [(T0 + hour, 1, 0.5, 1.0, -0.5)]


async def test_what_comes_again_is_there_once_and_leaves_no_dead_row(server, database):
    async with opened(server, database) as sink:
        await sink.send([blend(n) for n in range(5)])
        before = server.rows(database, "SELECT ctid, * FROM driftline.forecasts ORDER BY t, horizon")
        await sink.send([blend(n) for n in range(5)])
        assert server.rows(database, "SELECT ctid, * FROM driftline.forecasts ORDER BY t, horizon") == before


async def test_of_two_forecasts_of_one_name_the_later_counts(server, database):
    async with opened(server, database) as sink:
        await sink.send([blend(0), replace(blend(0), value=[7.0, None], observed=9.0)])
        query = "SELECT value FROM driftline.forecasts WHERE horizon = 1"
        assert server.rows(database, query) == [(7.0,)]
        await sink.send([replace(blend(0), value=[8.0, None])])
        assert server.rows(database, query) == [(8.0,)]


async def test_keys_of_any_letters_are_kept_as_they_are(server, database):
    keys = ["\t\\N", "\\.", "it's", 'a"b', "a\nb", "Größe 7", "%s", "{}"]
    async with opened(server, database) as sink:
        assert await sink.send([blend(0, key) for key in keys]) == []
    found = server.rows(database, "SELECT key FROM driftline.observed")
    assert sorted(key for (key,) in found) == sorted(keys)


async def test_a_blend_that_no_table_can_hold_is_set_aside_and_the_others_are_kept(server, database):
    bus = MemoryBus()
    odd = [blend(1, "nul\0"), replace(blend(1, "late"), t=10**17, times=[10**17, 10**17])]
    async with working(server, database, bus) as job:
        await bus.publish(BLENDS, [blend(1), *odd, blend(2)])
        await until(lambda: job.standing.sent + job.standing.set_aside == 4)
        assert (job.standing.sent, job.standing.set_aside) == (2, 2)
    assert server.rows(database, "SELECT count(*) FROM driftline.observed") == [(2,)]
    reasons = [letter.value.reason for letter in await bus.read(DEAD_LETTERS)]
    assert ["NUL" in reason for reason in reasons] == [True, False]


async def test_a_server_that_was_killed_in_the_middle_gets_everything_once(server, database):
    bus, total = MemoryBus(), 1500
    async with working(server, database, bus) as job:
        await bus.publish(BLENDS, [blend(n) for n in range(total)])
        await until(lambda: job.standing.sent > 0)
        server.kill()
        assert job.standing.sent < total
        await until(lambda: job.standing.state == "unavailable")
        server.start()
        await until(lambda: job.standing.sent == total)
    assert server.rows(database, "SELECT count(*), count(DISTINCT t) FROM driftline.observed") == [(total, total)]
    assert server.rows(database, "SELECT count(*) FROM driftline.forecasts") == [(2 * total,)]


async def test_two_combiners_that_begin_at_once_make_the_tables_once(server, database):
    sinks = [PostgresSink(section(server, database), STREAMS) for _ in range(6)]
    await asyncio.gather(*(sink.send([blend(n, f"k{n}")]) for n, sink in enumerate(sinks)))
    for sink in sinks:
        await sink.__aexit__()
    assert server.rows(database, "SELECT version FROM driftline.versions ORDER BY version") == [
        (one.version,) for one in migrations()
    ]
    assert server.rows(database, "SELECT count(*) FROM driftline.observed") == [(6,)]


async def test_the_queries_of_the_page_work(server, database):
    async with opened(server, database) as sink:
        await sink.send([replace(blend(n), lower=[n - 1.0, None], upper=[n + 2.0, None]) for n in range(9)])
    page = (ROOT / "docs" / "sinks.md").read_text(encoding="utf-8")
    queries = re.findall(r"(?:^    (?:SELECT|FROM|WHERE|  SELECT) .*\n)+", page, re.MULTILINE)
    mine = [
        query.replace("$__timeFilter(t)", "t < now()")
        for block in queries
        for query in block.split(";")
        if "driftline." in query
    ]
    assert len(mine) == 4
    for query in mine:
        server.rows(database, query)
    assert "(1, " in str(server.rows(database, mine[3].replace("now()", f"'{T0}'::timestamptz")))


async def test_edges_that_share_a_database_have_a_schema_each(server, database):
    for name in ("north", "south"):
        async with opened(server, database, schema=name) as sink:
            await sink.send([blend(0)])
        assert server.rows(database, f"TABLE {name}.scored") == []


async def test_tables_of_a_later_release_are_refused_in_a_sentence(server, database):
    async with opened(server, database) as sink:
        await sink.send([blend(0)])
    server.run(database, "INSERT INTO driftline.versions VALUES (99)")
    async with opened(server, database) as sink:
        with pytest.raises(SinkRefused, match="found tables of version 99 in the schema driftline, expected 1"):
            await sink.send([blend(1)])
        server.run(database, "DELETE FROM driftline.versions WHERE version = 99")
        await sink.send([blend(1)])
    assert server.rows(database, "SELECT count(*) FROM driftline.observed") == [(2,)]


async def test_a_migration_that_fails_leaves_nothing_behind(server, database, monkeypatch):
    broken = [*migrations(), Migration(2, "CREATE TABLE half (n integer); SELECT nothing_of_that_name()")]
    with monkeypatch.context() as patch:
        patch.setattr("driftline_combiner.sinks.postgres_migrations.migrations", lambda: broken)
        async with opened(server, database) as sink:
            with pytest.raises(SinkRefused, match="nothing_of_that_name"):
                await sink.send([blend(0)])
    assert server.rows(database, "SELECT count(*) FROM pg_namespace WHERE nspname = 'driftline'") == [(0,)]
    async with opened(server, database) as sink:
        await sink.send([blend(0)])


async def test_tables_that_were_dropped_are_made_again(server, database):
    async with opened(server, database) as sink:
        await sink.send([blend(0)])
        server.run(database, "DROP SCHEMA driftline CASCADE")
        with pytest.raises(SinkRefused):
            await sink.send([blend(1)])
        await sink.send([blend(1)])
    assert server.rows(database, "SELECT value FROM driftline.observed") == [(1.0,)]


async def test_without_the_right_to_make_tables_it_says_so_and_goes_on_once_somebody_made_them(server, database):
    user = f"writer_{database}"
    server.run("postgres", f"CREATE ROLE {user} LOGIN")
    bus = MemoryBus()
    async with working(server, database, bus, username=user) as job:
        await bus.publish(BLENDS, [blend(0)])
        await until(lambda: job.standing.state == "refused")
        assert "permission denied" in job.standing.error
        assert f"let {user} use and create in the schema driftline" in job.standing.remedy
        async with opened(server, database) as owner:
            await owner.send([blend(5)])
        server.run(
            database,
            f"GRANT USAGE ON SCHEMA driftline TO {user}",
            f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA driftline TO {user}",
        )
        await until(lambda: job.standing.sent == 1)
    assert server.rows(database, "SELECT count(*) FROM driftline.observed") == [(2,)]


async def test_a_wrong_password_is_refused_and_one_that_is_corrected_is_used(database, server, tmp_path):
    user, password = f"asked_{database}", tmp_path / "password"
    server.run(
        "postgres", f"CREATE ROLE {user} LOGIN PASSWORD 'hush'", f"GRANT CREATE ON DATABASE {database} TO {user}"
    )
    server.require_passwords()
    password.write_text("guessed\n")
    async with opened(server, database, username=user, password_file=password) as sink:
        with pytest.raises(SinkRefused) as refused:
            await sink.send([blend(0)])
        assert "username and password_file" in refused.value.remedy
        assert "guessed" not in str(refused.value)
        password.write_text("hush\n")
        assert await sink.send([blend(0)]) == []


async def test_a_database_that_is_not_there_and_a_server_without_tls_are_refused(server, database):
    async with opened(server, "nowhere") as sink:
        with pytest.raises(SinkRefused, match="does not exist") as refused:
            await sink.send([blend(0)])
        assert refused.value.remedy == "create the database, or correct database"
    async with opened(server, database, tls=True) as sink:
        with pytest.raises(SinkRefused, match="SSL") as refused:
            await sink.send([blend(0)])
        assert refused.value.remedy.startswith("correct tls")


async def test_a_database_that_can_only_be_read_is_refused(server, database):
    server.run("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    async with opened(server, database) as sink:
        with pytest.raises(SinkRefused, match="read-only"):
            await sink.send([blend(0)])


async def test_a_table_that_is_locked_too_long_is_an_outage(server, database, monkeypatch):
    async with opened(server, database) as sink:
        await sink.send([blend(0)])
        monkeypatch.setattr("driftline_combiner.sinks.postgres.ANSWER_S", 0.5)
        with server.connect(database) as other, other.transaction():
            other.execute("LOCK TABLE driftline.observed")
            with pytest.raises(SinkUnavailable, match="no answer within"):
                await sink.send([blend(1)])
        monkeypatch.undo()
        await sink.send([blend(1)])
    assert server.rows(database, "SELECT count(*) FROM driftline.observed") == [(2,)]


async def test_nobody_there_is_an_outage():
    nobody = PostgresSection(type="postgres", host="127.0.0.1", port=1, database="d", username="u")
    async with PostgresSink(nobody, STREAMS) as sink:
        with pytest.raises(SinkUnavailable, match="refused"):
            await sink.send([blend(0)])


def test_the_tables_have_the_columns_that_are_written(server, database):
    async def make() -> None:
        async with opened(server, database) as sink:
            await sink.send([blend(0)])

    asyncio.run(make())
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = '{}' ORDER BY ordinal_position"
    for table in (FORECASTS, OBSERVED):
        assert tuple(name for (name,) in server.rows(database, query.format(table.name))) == table.columns


def test_each_quantile_has_a_column():
    assert [float(level) for level in QUANTILES.values()] == list(LEVELS[1:-1])


def test_rows_are_ordered_by_name_so_that_writers_never_wait_for_each_other_in_a_ring():
    rows = [row for n in (3, 1, 2) for row in rows_of(blend(n), TANK, lambda value: value)[FORECASTS]]
    newest = FORECASTS.newest([*rows, *rows])
    assert [row[2] for row in newest] == [T0 + timedelta(hours=n) for n in (2, 3, 4, 7, 8, 9)]
    assert len(newest) == len(rows)


def test_times_are_of_the_grid_in_utc():
    late = replace(blend(2), t=BEGIN + 2 * HOUR + 7000, grid_t=BEGIN + 2 * HOUR)
    ((_, _, t, value, _),) = rows_of(late, TANK, lambda one: one)[OBSERVED]
    assert (t, value) == (T0 + timedelta(hours=2), 2.0)
