"""Whatever writes to InfluxDB writes here: the answers that its clients read, and the real Telegraf."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from driftline.bus.memory import MemoryBus
from driftline.errors import Unavailable
from driftline.messages import RECORDS
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline.streams.reading.line_protocol import LineReader
from driftline.streams.reading.rows import RowReader
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings
from tests.golang import telegraf
from tests.ingest.test_door import AwayBus, published
from tests.serving import served

STREAM = parse(
    "name: roof\ntime: {period: 10min}\nkey: station\ntarget: temperature\nfeatures: {humidity: level, ok: level}\n",
    "roof.yaml",
)
NESTED = parse(
    "name: nested\ntime: {period: 10min}\nkey: what\ntarget: warm\n"
    "columns: {warm: temp.value, what: {path: _measurement}}\n",
    "nested.yaml",
)
PATIENCE_S = 60
FIRST = 1772323200000
LINES = "".join(
    f"weather,station=roof,site=north temperature={11 + n / 10:.1f},humidity={70 - n}i,ok=t "
    f"{FIRST + n * 600_000}000000\n"
    for n in range(6)
)


def build(bus: MemoryBus, folder: Path, **changes: Any) -> FastAPI:
    streams = {"roof": STREAM, "nested": NESTED}
    return create_app(IngestSettings(body_limit=10_000, **changes), bus, FolderStore(folder), streams=streams)


@asynccontextmanager
async def door(bus: MemoryBus, folder: Path, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build(bus, folder, **changes), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
        yield client


@pytest.fixture
def bus() -> AwayBus:
    return AwayBus(1)


async def write(client: httpx.AsyncClient, body: str | bytes, bucket: str = "roof", **more: Any) -> httpx.Response:
    return await client.post("/api/v2/write", params={"bucket": bucket, "org": "any"}, content=body, **more)


async def test_lines_become_records(bus: AwayBus, tmp_path: Path):
    async with door(bus, tmp_path) as client:
        answer = await write(client, LINES)
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await write(client, LINES)).status_code == 204
    records = await published(bus, 6)
    assert len(records) == 6
    assert [record.t for record in records] == [FIRST + n * 600_000 for n in range(6)]
    assert records[0].key == "roof"
    assert records[0].values == {"temperature": 11.0, "humidity": 70.0, "ok": 1.0}


@pytest.mark.parametrize(("precision", "digits"), [("ns", "000000"), ("us", "000"), ("ms", ""), ("n", "000000")])
async def test_times_are_of_the_precision_that_is_named(bus: AwayBus, tmp_path: Path, precision: str, digits: str):
    async with door(bus, tmp_path) as client:
        params = {"db": "roof", "precision": precision}
        content = f"weather,station=a temperature=1 {FIRST}{digits}"
        answer = await client.post("/write", params=params, content=gzip.compress(content.encode()), headers=GZIP)
        assert answer.status_code == 204, answer.text
    (record,) = await published(bus, 1)
    assert record.t == FIRST


GZIP = {"Content-Encoding": "gzip"}


async def test_good_lines_are_taken_before_the_bad_ones_are_refused(bus: AwayBus, tmp_path: Path):
    bad = f'weather,station=roof temperature= 5\n\nweather temperature=1 {FIRST}\nweather,station=b temperature="x" 7\n'
    async with door(bus, tmp_path) as client:
        answer = await write(client, f"# a comment\n{LINES}{bad}")
        counted = (await client.get("/metrics")).text
    assert answer.status_code == 400
    said = answer.json()
    assert (said["code"], said["line"]) == ("invalid", 8)
    assert said["message"].startswith("partial write: 3 of 9 lines are refused: line 8: found 'weather,station=roof")
    assert "; line 10: station: found nothing, expected this column" in said["message"]
    assert "; line 11: temperature: found 'x', expected a number" in said["message"]
    assert 'driftline_records_refused_total{stream="roof"} 3.0' in counted
    assert len(await published(bus, 6)) == 6


async def test_lines_of_other_measurements_are_left_out_and_said_once(bus: AwayBus, tmp_path: Path, caplog):
    async with door(bus, tmp_path) as client:
        for _ in range(2):
            assert (await write(client, f"cpu,host=h usage_idle=99 {FIRST}000000\n{LINES}")).status_code == 204
    sentence = (
        "lines of the measurement 'cpu' are left out: they have the fields usage_idle, and none of humidity, ok, "
        "temperature"
    )
    assert [record.message for record in caplog.records].count(sentence) == 1


async def test_a_path_may_name_the_measurement(bus: AwayBus, tmp_path: Path):
    body = f"hum value=1 {FIRST}000000\ntemp value=2 {FIRST}000000\n"
    async with door(bus, tmp_path) as client:
        assert (await write(client, body, "nested")).status_code == 204
    (record,) = await published(bus, 1)
    assert (record.key, record.values) == ("temp", {"warm": 2.0})


@pytest.mark.parametrize(
    ("column", "line"),
    [
        ("temp", "temp,station=a temp=2 1"),
        ("temp.temp", "temp,station=a temp=2 1"),
        ("temp", "\ufefftemp,station=a temp=2 1"),
        ("temp", "weather,station=a temp=2 1"),
    ],
)
def test_a_measurement_may_have_the_name_of_its_field(column: str, line: str):
    """As Telegraf's `inputs.temp` has."""
    yaml = f"name: a\ntime: {{period: 10min}}\nkey: station\ntarget: y\ncolumns: {{y: {column}}}\n"
    reader = RowReader(parse(yaml, "a.yaml"))
    raw = LineReader(reader).rows(line.encode())
    (record,) = reader.read(raw.rows, 0.0, text=False).records
    assert record.values == {"y": 2.0}


@pytest.mark.parametrize(
    ("path", "params", "headers", "body", "status", "said"),
    [
        ("/api/v2/write", {"bucket": "attic"}, {}, b"", 403, "found bucket 'attic', expected the name of a stream"),
        ("/write", {"db": "attic"}, {}, b"", 404, "database not found"),
        ("/api/v2/write", {"bucket": "roof", "precision": "h"}, {}, b"", 400, "found precision 'h', expected one of"),
        ("/api/v2/write", {"bucket": "roof"}, GZIP, b"none", 400, "broken gzip"),
        ("/api/v2/write", {"bucket": "roof"}, GZIP, gzip.compress(b"a" * 200, mtime=0)[:-9], 400, "it ends too soon"),
        ("/api/v2/write", {"bucket": "roof"}, GZIP, gzip.compress(b"a" * 10**6, mtime=0), 413, "unpacked bytes"),
        ("/api/v2/write", {"bucket": "roof"}, {"Content-Encoding": "br"}, b"", 400, "expected gzip or none"),
        ("/query", {"q": "SELECT 1"}, {}, b"", 400, "expected CREATE DATABASE"),
        ("/query", {"q": 'CREATE DATABASE "roof"'}, {}, b"", 200, "statement_id"),
        ("/query", {}, {}, b"q=CREATE+DATABASE+roof&q=SELECT+1", 200, "statement_id"),
    ],
)
async def test_what_can_not_be_taken_is_answered_as_influxdb_does(
    bus: AwayBus, tmp_path: Path, path: str, params: dict[str, str], headers, body: bytes, status: int, said: str
):
    async with door(bus, tmp_path) as client:
        answer = await client.post(path, params=params, headers=headers, content=body)
    assert answer.status_code == status
    assert said in answer.text
    if status >= 400:
        assert {"code", "message"} <= answer.json().keys() or path != "/api/v2/write"


@pytest.mark.parametrize("path", ["/api/v2/write?bucket=roof", "/write?db=roof"])
async def test_nothing_is_acknowledged_while_the_bus_is_away(bus: AwayBus, tmp_path: Path, path: str):
    async with door(bus, tmp_path) as client:
        bus.away = True
        answer = await client.post(path, content=LINES)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        bus.away = False
        assert (await client.post(path, content=LINES)).status_code == 204
    assert len(await published(bus, 6)) == 6


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/api/v2/write?bucket=roof", {"Authorization": "Token hush"}, 204),
        ("/api/v2/write?bucket=roof", {"Authorization": "Bearer hush"}, 204),
        ("/write?db=roof&u=me&p=hush", {}, 204),
        ("/write?db=roof", {"Authorization": "Basic bWU6aHVzaA=="}, 204),
        ("/write?db=roof", {"Authorization": "Basic !"}, 401),
        ("/write?db=roof&p=guessed", {}, 401),
        ("/api/v2/write?bucket=roof", {"Authorization": "Token guessed"}, 401),
        ("/api/v2/write?bucket=roof", {}, 401),
        ("/query?q=CREATE+DATABASE+x", {}, 401),
    ],
)
async def test_the_token_is_shown_as_influxdb_s_clients_show_it(
    bus: AwayBus, tmp_path: Path, path: str, headers: dict[str, str], status: int
):
    async with door(bus, tmp_path, token="hush") as client:  # noqa: S106
        answer = await client.post(path, headers=headers, content=LINES)
    assert answer.status_code == status


async def test_who_sends_too_much_keeps_what_it_has(bus: AwayBus, tmp_path: Path):
    async with door(bus, tmp_path, rate=0.1, rate_burst=3) as client:
        assert (await write(client, LINES)).status_code == 204
        answer = await write(client, LINES)
        assert (answer.status_code, answer.json()["code"]) == (429, "too many requests")
        assert int(answer.headers["Retry-After"]) > 0
        # Telegraf's plugin for version 1 would drop the batch after 429.
        assert (await client.post("/write?db=roof", content=LINES)).status_code == 503


async def test_clients_that_ask_first_are_answered(bus: AwayBus, tmp_path: Path):
    async with door(bus, tmp_path) as client:
        assert (await client.get("/ping")).status_code == 204
        assert (await client.head("/ping")).headers["X-Influxdb-Version"]
        assert (await client.get("/health")).json()["status"] == "pass"


def lines(body: str) -> Any:
    return LineReader(RowReader(STREAM, arrival=True)).rows(body.encode())


NAMES = st.text(st.sampled_from("ab ,=é\"'#"), min_size=1, max_size=6)
TEXTS = st.text(st.sampled_from('ab ,=é"\\\n#'), max_size=8)
# The parser's C library takes numbers below 2.3e-308 for out of range; no sensor says one.
FLOATS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
VALUES = st.one_of(st.booleans(), FLOATS, st.integers(-(2**63), 2**63 - 1), TEXTS)


def written(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", r"\\").replace('"', r"\"") + '"'
    return f"{value}i" if isinstance(value, int) and not isinstance(value, bool) else repr(value)


def escaped(name: str) -> str:
    return re.sub(r"([ ,=])", r"\\\1", name)


@given(
    points=st.lists(
        st.tuples(
            st.dictionaries(NAMES.map(lambda name: f"t{name}"), NAMES, max_size=3),
            st.dictionaries(NAMES.map(lambda name: f"f{name}"), VALUES, max_size=3),
            st.integers(0, 4 * 10**12),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read(points: list[tuple[dict[str, str], dict[str, object], int]]):
    body = ""
    for tags, fields, t in points:
        named = "".join(f",{escaped(name)}={escaped(value)}" for name, value in tags.items())
        measured = ",".join(f"{escaped(name)}={written(value)}" for name, value in {**fields, "temperature": 1}.items())
        body += f"m{named} {measured} {t}000000\n"
    raw = lines(body)
    assert not raw.broken
    for row, (tags, fields, t) in zip(raw.rows, points, strict=True):
        assert row.pop("time").timestamp() == pytest.approx(t / 1000)
        assert row == {**tags, **fields, "temperature": 1}


@given(body=st.text(st.sampled_from('m ,=\\"1itT\n#\x00é.-e'), max_size=60))
def test_no_line_hides_another(body: str):
    good = 'weather text="a",temperature=1 1772323200000000000'
    raw = lines(f"{good}\n{body}\n{good}\n")
    assert raw.rows[0] == raw.rows[-1]
    assert len(raw.lines) == len(raw.rows) >= 2


@pytest.mark.parametrize(
    "line",
    [
        "weather temperature=1,temperature=2 1",
        "weather,a=1,a=2 temperature=1 1",
        "weather temperature=1 99999999999999999999",
        "weather temperature=1 1.5",
        "weather temperature=nan 1",
        "weather,station= temperature=1 1",
        'weather text="open,temperature=1 1',
        "nonsense",
    ],
)
def test_a_line_that_can_mean_two_things_or_none_is_broken(line: str):
    raw = lines(f"{line}\nweather temperature=1 1\n")
    assert [refusal.row for refusal in raw.broken] == [1]
    assert len(raw.rows) == 1


CONFIG = """\
[agent]
interval = "1s"
flush_interval = "1s"
metric_batch_size = 4
omit_hostname = true
[[inputs.tail]]
files = ["{lines}"]
from_beginning = true
data_format = "influx"
"""
OUTPUTS = {
    "influxdb_v2": '[[outputs.influxdb_v2]]\nurls = ["http://{address}"]\ntoken = "hush"\norganization = "home"\n'
    'bucket = "roof"\n',
    "influxdb": '[[outputs.influxdb]]\nurls = ["http://{address}"]\ndatabase = "roof"\nusername = "me"\n'
    'password = "hush"\n',
}


@pytest.mark.process
@pytest.mark.parametrize("output", OUTPUTS)
async def test_telegraf_loses_nothing_while_the_bus_is_away(bus: AwayBus, tmp_path: Path, output: str):
    """Its standard plugins as they are: a bad line among good ones, another measurement, a bus that is away first."""
    try:
        program = await asyncio.to_thread(telegraf)
    except Unavailable as error:
        pytest.skip(str(error))
    measured, config, log = tmp_path / "lines", tmp_path / "telegraf.conf", tmp_path / "telegraf.log"
    measured.write_text(f'weather,station=b temperature="x" {FIRST}000000\ncpu,host=h idle=9 {FIRST}000000\n{LINES}')
    bus.away = True
    async with served(build(bus, tmp_path / "store", token="hush")) as address:  # noqa: S106
        config.write_text(CONFIG.format(lines=measured) + OUTPUTS[output].format(address=address))
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(program, "--config", str(config), stderr=stream)
        try:
            await until_said(log, "503")
            bus.away = False
            async with asyncio.timeout(PATIENCE_S):
                records = await published(bus, 6)
            await until_said(log, "partial write: 1 of")
        finally:
            process.terminate()
            await process.wait()
    assert {record.t for record in records} == {FIRST + n * 600_000 for n in range(6)}
    assert sum((await bus.lag(RECORDS, "nobody")).values()) == 6


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_said(log: Path, words: str) -> None:
    said = await asyncio.to_thread(log.read_text)
    assert words in said, said
