"""The sink for line protocol at a real InfluxDB and a real QuestDB, and at a server that answers as others do."""

import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from msgspec.structs import replace

from driftline.bus.memory import MemoryBus
from driftline.errors import Unavailable
from driftline.messages import BLENDS, Blend
from driftline_combiner.sinks.influx import InfluxSink
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable, Unsendable
from driftline_combiner.sinks.settings import InfluxSection
from tests.combiner.sinks import line_servers
from tests.combiner.sinks.blends import BEGIN, HOUR, TANK, blend
from tests.combiner.sinks.line_servers import LineServer
from tests.combiner.sinks.running import running, until
from tests.serving import served

pytestmark = pytest.mark.process
STREAMS = {"tank": TANK}
ADMIN: dict[str, Any] = {"auth": ("root", "hush")}
databases = count()


def kept_server(make: Callable[..., LineServer], folder: Any, **more: Any) -> Iterator[LineServer]:
    try:
        server = make(folder, **more)
    except Unavailable as error:
        pytest.skip(str(error))
    yield server.start()
    server.kill()


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineServer]:
    yield from kept_server(line_servers.influxdb, tmp_path_factory.mktemp("influxdb"))


@pytest.fixture(scope="module")
def questdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LineServer]:
    yield from kept_server(line_servers.questdb, tmp_path_factory.mktemp("questdb"))


@pytest.fixture
def database(influxdb: LineServer) -> str:
    name = f"d{next(databases)}"
    influxdb.influx(f"CREATE DATABASE {name}")
    return name


def section(url: str, bucket: str = "b", api: str = "2", **more: Any) -> InfluxSection:
    return InfluxSection(type="influx", url=url, bucket=bucket, api=api, **more)


async def sent(section_: InfluxSection, *blends: Blend) -> list[Unsendable]:
    async with InfluxSink(section_, STREAMS) as sink:
        return list(await sink.send(blends))


async def test_forecasts_and_what_was_observed_are_points_at_the_time_that_they_are_for(influxdb, database):
    keys = ["k1", "a b,c=d\\", "50%", "Größe\\,x"]
    assert (
        await sent(section(influxdb.url, database, "1", tags={"site": "north 1"}), *(blend(1, k) for k in keys)) == []
    )
    rows = influxdb.influx(
        'SELECT "key", horizon, site, issued, value, lower, upper, p50, guarded, version_batch '
        "FROM driftline_forecasts WHERE \"key\" = 'k1'",
        database,
    )
    expected = ["k1", "1", "north 1", BEGIN + HOUR, 1.5, 0, 3, 1.4, False, "v000001"]
    assert rows == [[BEGIN + 2 * HOUR, *expected]]
    found = influxdb.influx('SELECT "key", value FROM driftline_observed', database)
    assert sorted(row[1] for row in found) == sorted(["k1", "a b,c=d%5C", "50%", "Größe%5C,x"])
    assert {(row[0], row[2]) for row in found} == {(BEGIN + HOUR, 1)}


async def test_bodies_that_are_too_large_are_halved_and_what_comes_again_is_there_once(influxdb, database):
    target = section(influxdb.url, database, "1")
    for _ in range(2):
        async with InfluxSink(target, STREAMS) as sink:
            # It counts packed bytes.
            sink._zips = False
            assert await sink.send([blend(n) for n in range(100)]) == []
    assert influxdb.influx("SELECT count(value) FROM driftline_observed", database)[0][1] == 100
    assert influxdb.influx("SELECT count(value) FROM driftline_forecasts", database)[0][1] == 100


async def test_what_is_older_than_the_server_keeps_is_passed_over(influxdb, caplog):
    influxdb.influx("CREATE DATABASE brief WITH DURATION 1h")
    async with InfluxSink(section(influxdb.url, "brief", "1"), STREAMS) as sink:
        for _ in range(3):
            assert await sink.send([blend(0)]) == []
    assert caplog.text.count("keeps no points that are so old") == 1


async def test_a_field_of_another_type_and_a_limit_are_refused_until_somebody_corrects_them(influxdb, database):
    target = section(influxdb.url, database, "1")
    body = f'driftline_observed,stream=x value="text" {BEGIN}000000'
    influxdb.write(database, body)
    with pytest.raises(SinkRefused, match="field type conflict") as refused:
        await sent(target, blend(0))
    assert "give the field the type there" in refused.value.remedy
    influxdb.influx("DROP MEASUREMENT driftline_observed", database)
    assert await sent(target, blend(0)) == []
    await sent(target, *(blend(0, f"key{n}") for n in range(60)))
    with pytest.raises(SinkRefused, match="limit exceeded") as refused:
        await sent(target, blend(0, "one more"))
    assert "raise its limit" in refused.value.remedy


async def test_a_database_that_is_not_there_and_another_version_are_refused_with_the_remedy(influxdb):
    with pytest.raises(SinkRefused, match="database not found") as refused:
        await sent(section(influxdb.url, "nowhere", "1"), blend(0))
    assert refused.value.remedy.startswith("create the bucket")
    with pytest.raises(SinkRefused, match="404") as refused:
        await sent(section(influxdb.url, "nowhere"), blend(0))
    assert 'api: "1"' in refused.value.remedy


async def test_a_wrong_password_is_refused_and_one_that_is_corrected_is_used(tmp_path):
    (tmp_path / "server").mkdir()
    (server,) = started = list(_guarded(tmp_path))
    password = tmp_path / "password"
    try:
        server.influx("CREATE USER root WITH PASSWORD 'hush' WITH ALL PRIVILEGES")
        server.influx("CREATE DATABASE d", **ADMIN)
        password.write_text("guessed\n")
        async with InfluxSink(section(server.url, "d", "1", username="root", password_file=password), STREAMS) as sink:
            with pytest.raises(SinkRefused, match="401") as refused:
                await sink.send([blend(0)])
            assert "password_file" in refused.value.remedy
            password.write_text("hush\n")
            assert await sink.send([blend(0)]) == []
        assert len(server.influx("SELECT value FROM driftline_observed", "d", **ADMIN)) == 1
    finally:
        for one in started:
            one.kill()


def _guarded(folder: Any) -> Iterator[LineServer]:
    try:
        yield line_servers.influxdb(folder / "server", auth=True).start()
    except Unavailable as error:
        pytest.skip(str(error))


async def test_an_influxdb_that_was_killed_in_the_middle_gets_everything_once(influxdb, database):
    await killed_in_the_middle(influxdb, section(influxdb.url, database, "1"))
    assert influxdb.influx("SELECT count(value) FROM driftline_observed", database)[0][1] == 1500
    assert influxdb.influx("SELECT count(value) FROM driftline_forecasts", database)[0][1] == 1500


async def test_a_questdb_that_was_killed_in_the_middle_gets_everything_once(questdb):
    """Its tables are told first what makes a point the same."""
    await sent(section(questdb.url), blend(0))
    for table, keys in (("driftline_forecasts", "stream, key, horizon"), ("driftline_observed", "stream, key")):
        questdb.questdb(f"ALTER TABLE {table} DEDUP ENABLE UPSERT KEYS(timestamp, {keys})")
    await killed_in_the_middle(questdb, section(questdb.url))
    await until(lambda: questdb.questdb("SELECT count() FROM driftline_observed") == [[1500]])
    await until(lambda: questdb.questdb("SELECT count() FROM driftline_forecasts") == [[1500]])
    query = "SELECT key, horizon, issued, value, upper, p50, guarded, version_batch FROM driftline_forecasts LIMIT 1"
    assert questdb.questdb(query) == [["k1", "1", BEGIN, 0.5, 2.0, 0.4, False, "v000001"]]


async def killed_in_the_middle(server: LineServer, target: InfluxSection) -> None:
    bus = MemoryBus()
    async with running(target, bus) as job:
        await bus.publish(BLENDS, [blend(n) for n in range(1500)])
        await until(lambda: job.standing.sent > 0)
        server.kill()
        assert job.standing.sent < 1500
        await until(lambda: job.standing.state == "unavailable")
        server.start()
        await until(lambda: job.standing.sent == 1500)


async def test_a_line_that_questdb_can_not_keep_is_set_aside_and_the_others_are_kept(questdb):
    ancient = replace(blend(3, "old"), t=-10 * HOUR, times=[-9 * HOUR, -4 * HOUR])
    refused = await sent(section(questdb.url), blend(1, "new"), ancient, blend(2, "new"))
    assert [one.index for one in refused] == [1]
    assert "1970" in refused[0].reason or "timestamp" in refused[0].reason
    await until(lambda: questdb.questdb("SELECT count() FROM driftline_observed WHERE key = 'new'") == [[2]])
    with pytest.raises(SinkRefused):
        await sent(section(questdb.url), ancient)


class Scripted:
    """Answers one after the other with what is scripted, then with 204, and keeps what it was sent."""

    def __init__(self, *answers: Response) -> None:
        self.app = FastAPI()
        self.seen: list[tuple[Request, bytes]] = []
        self._answers = list(answers)
        self.app.get("/livez")(self.alive)
        self.app.post("/proxy/api/v2/write")(self.write)

    async def alive(self) -> Response:
        return Response()

    async def write(self, request: Request) -> Response:
        self.seen.append((request, await request.body()))
        return self._answers.pop(0) if self._answers else Response(status_code=204)


@asynccontextmanager
async def scripted(*answers: Response) -> AsyncIterator[tuple[Scripted, str]]:
    server = Scripted(*answers)
    async with served(server.app) as address:
        yield server, f"http://{address}/proxy/"


async def test_version_2_is_called_with_its_parameters_its_token_and_a_packed_body(tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with scripted() as (server, url):
        assert await sent(section(url, "power", org="home", token_file=token), blend(0)) == []
    ((request, body),) = server.seen
    assert dict(request.query_params) == {"org": "home", "bucket": "power", "precision": "ms"}
    assert request.headers["authorization"] == "Token s3cret"
    assert gzip.decompress(body).startswith(b"driftline_observed,key=k1,stream=tank value=0.0 ")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_for_patience_gets_it(status):
    async with scripted(Response("slowly", status, {"Retry-After": "7"})) as (_, url):
        with pytest.raises(SinkUnavailable, match=f"it answered {status}: slowly") as away:
            await sent(section(url), blend(0))
    assert away.value.wait == 7


async def test_a_full_disk_is_told_with_the_remedy():
    text = '{"code":"internal error","message":"engine: write /data/1.wal: no space left on device"}'
    async with scripted(Response(text, 500)) as (_, url):
        with pytest.raises(SinkRefused, match="no space left") as refused:
            await sent(section(url), blend(0))
    assert refused.value.remedy.startswith("make room")


async def test_a_server_that_can_read_nothing_is_asked_few_times():
    async with scripted(*(Response("no", 400) for _ in range(500))) as (server, url):
        with pytest.raises(SinkRefused, match="it answered 400: no"):
            await sent(section(url), *(blend(n) for n in range(100)))
    assert len(server.seen) < 100


async def test_a_page_that_is_no_server_of_lines_is_refused():
    async with scripted(Response(status_code=301, headers={"Location": "/login"})) as (_, url):
        with pytest.raises(SinkRefused, match="301"):
            await sent(section(url), blend(0))


async def test_nobody_there_is_an_outage():
    with pytest.raises(SinkUnavailable, match="no answer: ConnectError"):
        await sent(section("http://127.0.0.1:1"), blend(0))
