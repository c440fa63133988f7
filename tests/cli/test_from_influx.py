"""`driftline from http://…/influx`: what Telegraf and others post; and files of line protocol everywhere."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from driftline.errors import InvalidInput, Unavailable
from driftline.streams import tables
from driftline.streams.definition_files import load, parse
from driftline_cli import asking, first_look
from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
from driftline_cli.lines_survey import SentLines, lines_seen, survey_lines, usable_fields
from driftline_cli.receiving import DoorUrl, receive
from tests.cli.test_from import typed
from tests.golang import telegraf
from tests.ingest.test_influx import STREAM

FIRST = 1_772_323_200
LINES = "".join(
    f"weather,site=north,station={name} temperature={20 + n / 10},humidity={70 - n}i {FIRST + 600 * n}000000000\n"
    for n in range(9)
    for name in ("roof", "cellar")
)
OTHERS = "".join(f"cpu,cpu=cpu{n % 2},host=h usage_idle={90 - n % 7} {FIRST + 10 * n}000000000\n" for n in range(40))
WAIT_S = 90
LONG_S = 600.0
ENOUGH = b"#\n" * 20_000
"""Ends it before its time, and says nothing."""


def looked_at(
    path: str, params: Mapping[str, str], headers: Mapping[str, str], *bodies: bytes, target: str | None
) -> tuple[first_look.FirstLook, list[int]]:
    """What is proposed for bodies that a client posts below /influx, and the client's answers."""
    url, listening = f"http://127.0.0.1:{free_port()}/influx", threading.Event()
    hints = asking.FileHints(target)
    with ThreadPoolExecutor() as pool:
        look = pool.submit(first_look.look, url, hints, asking.ask_target, LONG_S, lambda _: listening.set())
        assert listening.wait(WAIT_S)
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            to = f"{url.removesuffix('/influx')}{path}"
            answers = [client.post(to, content=body, params=params, headers=headers) for body in bodies]
            client.post(f"{url}/write", content=ENOUGH)
        return look.result(WAIT_S), [answer.status_code for answer in answers]


@pytest.mark.process
@pytest.mark.parametrize(
    ("path", "params", "headers"),
    [
        ("/influx/api/v2/write", {"bucket": "Roof", "org": "any"}, {"Authorization": "Token x"}),
        ("/influx/write", {"db": "roof", "precision": "ns"}, {"Content-Encoding": "gzip"}),
        ("/api/v2/write", {"bucket": "roof"}, {"Content-Encoding": "gzip"}),
        ("/write", {"db": "roof"}, {}),
    ],
)
def test_what_is_posted_becomes_a_definition(path: str, params: dict[str, str], headers: dict[str, str]):
    bodies = [body.encode() for body in (OTHERS, LINES)]
    packed = [gzip.compress(body) if "Content-Encoding" in headers else body for body in bodies]
    found, answers = looked_at(path, params, headers, *packed, target="temperature")
    stream = found.proposal.definition
    assert answers == [204, 204]
    assert (stream.name, stream.key, stream.target, stream.time.period) == ("roof", "station", "temperature", 600)
    assert list(stream.features) == ["humidity"]
    assert len(found.rows) == 10
    first = found.rows[0]
    assert (first.key, first.t, first.values) == ("roof", FIRST * 1000, (20.0, 70.0))
    assert found.notes[0] == "58 lines of the measurements cpu (40), weather (18)"
    assert ("the bucket must be the stream's name, roof" in found.notes) == (params.get("bucket") == "Roof")
    assert any(note.startswith("lines of the measurement 'cpu' are left out") for note in found.notes)


@pytest.mark.process
def test_what_can_not_be_read_is_counted_and_shown():
    bad = b'nonsense\nweather,station=roof temperature= 7\nweather temperature="unavailable" 1772323200000000000\n'
    found, answers = looked_at("/influx/write", {}, {}, LINES.encode(), bad, b"\xff\x00", target="temperature")
    assert answers == [204] * 3
    assert any(note.startswith("3 other lines can't be read: found 'nonsense'") for note in found.notes)
    assert any(note.startswith("1 of 19 lines would be refused: column 'station'") for note in found.notes)


@pytest.mark.process
@pytest.mark.parametrize(
    ("params", "headers", "body", "status"),
    [
        ({"precision": "h"}, {}, b"m a=1", 400),
        ({}, {"Content-Encoding": "gzip"}, b"none", 400),
        ({}, {"Content-Encoding": "gzip"}, gzip.compress(b"a" * 17_000_000, mtime=0), 413),
    ],
)
def test_a_request_that_can_not_be_read_is_refused(
    params: dict[str, str], headers: dict[str, str], body: bytes, status: int
):
    url, listening = f"http://127.0.0.1:{free_port()}/influx", threading.Event()
    with ThreadPoolExecutor() as pool:
        receiving = pool.submit(receive, DoorUrl.of(url), LONG_S, lambda _: listening.set())
        assert listening.wait(WAIT_S)
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            answer = client.post(f"{url}/write", params=params, headers=headers, content=body)
            asked = [client.get(f"{url}/ping"), client.get(f"{url}/health"), client.post(f"{url}/query")]
            client.post(f"{url}/write", content=ENOUGH)
        assert [part.body for part in receiving.result(WAIT_S).sent] == [ENOUGH]
    assert answer.status_code == status, answer.text
    assert [one.status_code for one in asked] == [204, 200, 200]


def test_enough_lines_end_it_before_its_time():
    url, listening = DoorUrl.of(f"http://localhost:{free_port()}"), threading.Event()
    with ThreadPoolExecutor() as pool:
        receiving = pool.submit(receive, url, LONG_S, lambda _: listening.set())
        assert listening.wait(WAIT_S)
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            client.post(f"{url}/write", content=b"m a=1 1\n" * 20_000)
        assert len(receiving.result(WAIT_S).sent) == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://192.0.2.1:9/influx", "192.0.2.1 is no address of this machine"),
        ("http://nobody.invalid:9/influx", "found no address of 'nobody.invalid', expected one of this machine"),
        ("http://127.0.0.1/influx", "found no port, expected an address of this machine such as http://127.0.0.1:8086"),
        ("http://127.0.0.1:0/influx", "found no port"),
        ("http://127.0.0.1:99999/influx", "Port out of range"),
        ("http://:8086/influx", "found no host"),
    ],
)
def test_an_address_that_can_not_be_listened_at_is_refused(url: str, sentence: str):
    with pytest.raises(InvalidInput, match=sentence):
        first_look.look(url, asking.FileHints("y"), asking.ask_target, 0.1)


def test_a_password_is_in_no_error():
    with pytest.raises(InvalidInput) as refused:
        DoorUrl.of("http://me:secret@host/influx")
    assert "secret" not in str(refused.value)


def test_a_port_that_is_in_use_is_said_to_be():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(Unavailable, match="is in use already"):
        receive(DoorUrl.of(f"http://127.0.0.1:{server.getsockname()[1]}"), 1.0, print)


def test_silence_is_said():
    said = typed(f"http://127.0.0.1:{free_port()}/influx", "--seconds", "0.2")
    assert (said.exit_code, "nothing was posted in 0.2 s" in " ".join(said.output.split())) == (1, True)


def seen(*bodies: str, precision: str | None = None, arrived: float | None = 100.0):
    return lines_seen([SentLines(body.encode(), precision, arrived) for body in bodies], "it")


def test_without_a_target_the_fields_of_all_measurements_may_be_chosen():
    assert set(usable_fields(seen(LINES, OTHERS), "UTC", None, brief=True).usable) == {
        "temperature",
        "humidity",
        "usage_idle",
    }


def test_fields_that_two_measurements_have_need_their_names():
    found = seen(LINES, "cellar.air,station=b temperature=1,wet=2 1772323200\n")
    with pytest.raises(InvalidInput, match=r"found several fields 'temperature', expected as target one of weather\."):
        found.of("temperature")
    measurement, target = found.of("wet")
    assert (measurement.name, target) == ("cellar.air", '["cellar.air"].wet')
    with pytest.raises(InvalidInput, match=r"found no field 'cold', expected as target one of weather\."):
        found.of("cold")


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("m,host=h,station=s a=1 1\nm,host=h,station=t a=1 2", "station"),
        ("m,host=h,site=s a=1 1\nm,host=g,site=t a=1 2", "site"),
        ("m,host=h a=1 1\nm,host=h a=1 2", "host"),
        ("m a=1 1\nm a=2 2", None),
        ("m,number=007 a=1 1\nm,number=008 a=1 1", "number"),
        ("m,a=x a=1 1\nm,a=y a=2 2", None),
        ("m,s=x,room=r a=1 1\nm,s=y a=2 2", "s"),
    ],
)
def test_the_tag_that_tells_series_apart_is_the_key(lines: str, key: str | None):
    survey, arrival = survey_lines(seen(lines).measurements[0], "it", "UTC")
    assert (survey.key, arrival) == (key, False)


def test_series_that_no_single_tag_tells_apart_are_refused():
    found = seen("\n".join(f"m,host={n % 2},cpu={n // 2} a={n} {n}" for n in range(4))).measurements[0]
    with pytest.raises(InvalidInput, match=r"found 4 series that only the tags cpu, host tell apart together"):
        survey_lines(found, "it", "UTC")
    survey, _ = survey_lines(found, "it", "UTC", "host")
    assert survey.key == "host"


def test_lines_without_a_time_are_of_their_arrival():
    _, arrival = survey_lines(seen("m,s=b a=1\nm,s=b a=2").measurements[0], "it", "UTC")
    assert arrival
    with pytest.raises(InvalidInput, match="found no time in the lines of 'm'"):
        survey_lines(seen("m,s=b a=1\nm,s=b a=2", arrived=None).measurements[0], "it", "UTC")


def test_nothing_that_can_be_read_is_said():
    with pytest.raises(InvalidInput, match="found no line that can be read: found 'nonsense', expected a line such as"):
        seen("nonsense")
    with pytest.raises(InvalidInput, match=r"found no line that can be read$"):
        seen("# a comment\n\n")


@pytest.mark.parametrize("digits", ["000000000", "000000", "000", ""])
def test_a_file_of_line_protocol_is_read_in_any_unit(digits: str, tmp_path: Path):
    (tmp_path / "log.lp").write_text("\ufeff# DML\n" + (LINES + OTHERS).replace("000000000\n", f"{digits}\n"))
    result = typed(str(tmp_path / "log.lp"), "--target", "temperature", "--output", str(tmp_path / "new.yaml"))
    assert result.exit_code == 0, result.output
    stream = load(tmp_path / "new.yaml")
    assert (stream.name, stream.key, stream.time.period) == ("log", "station", 600)
    content = tables.examine_file(tmp_path / "log.lp", stream)
    assert (len(content.rows), content.refused) == (18, 0)
    assert content.rows.t[0] == FIRST * 1000
    guessed = [note for note in content.notes if "since 1970" in note]
    assert len(guessed) == (0 if digits == "000000000" else 1)


def check(folder: Path, body: str, definition: str) -> Result:
    (folder / "log.lp").write_text(body)
    (folder / "s.yaml").write_text(definition)
    return CliRunner().invoke(app, ["check", str(folder / "log.lp"), "--stream", str(folder / "s.yaml")])


def test_a_file_of_line_protocol_is_checked_line_by_line(tmp_path: Path):
    bad = 'nonsense\nweather,station=roof temperature=1\nweather,station=roof temperature="x" 1772323200000000000\n'
    said = check(tmp_path, f"{OTHERS}{LINES}{bad}", STREAM_YAML)
    output = " ".join(said.output.split())
    assert said.exit_code == 1
    assert "18 rows would be taken, 3 refused" in output
    assert "refused: line 59 (1): found 'nonsense', expected a line such as" in output
    assert "refused: line 60 (1): column 'time': found nothing, expected the time" in output
    assert "refused: line 61 (1): column 'temperature': found 'x', expected a number" in output
    assert "lines of the measurement 'cpu' are left out" in output


STREAM_YAML = (
    "name: s\ntime: {period: 10min}\nkey: station\ntarget: temperature\nfeatures: {humidity: level, ok: level}\n"
)


def test_the_definition_may_say_the_unit_of_times(tmp_path: Path):
    (tmp_path / "log.lp").write_text("weather,station=roof temperature=1 1000000\n")
    stream = parse(STREAM_YAML.replace("period", "format: ms, period"), "s.yaml")
    assert tables.read_file(tmp_path / "log.lp", stream).t.tolist() == [1_000_000]


def test_a_file_without_a_line_that_is_a_row_says_why(tmp_path: Path):
    (tmp_path / "log.lp").write_text("nonsense\n")
    with pytest.raises(InvalidInput, match=r"log\.lp: line 1: found 'nonsense', expected a line such as"):
        tables.read_file(tmp_path / "log.lp", STREAM)


CONFIG = """\
[agent]
interval = "1s"
flush_interval = "1s"
[[inputs.tail]]
files = ["{lines}"]
from_beginning = true
data_format = "influx"
"""
OUTPUTS = {
    "influxdb_v2": '[[outputs.influxdb_v2]]\nurls = ["{url}"]\ntoken = "t"\norganization = "home"\nbucket = "roof"\n',
    "influxdb": '[[outputs.influxdb]]\nurls = ["{url}"]\ndatabase = "roof"\n',
}


@pytest.mark.process
@pytest.mark.parametrize("output", OUTPUTS)
async def test_telegraf_is_pointed_at_it(tmp_path: Path, output: str):
    try:
        program = await asyncio.to_thread(telegraf)
    except Unavailable as error:
        pytest.skip(str(error))
    url, listening = f"http://127.0.0.1:{free_port()}/influx", asyncio.Event()
    (tmp_path / "lines").write_text(OTHERS + LINES)
    (tmp_path / "telegraf.conf").write_text(CONFIG.format(lines=tmp_path / "lines") + OUTPUTS[output].format(url=url))
    loop = asyncio.get_running_loop()

    def said(_: str) -> None:
        loop.call_soon_threadsafe(listening.set)

    look = asyncio.create_task(
        asyncio.to_thread(
            first_look.look,
            url,
            asking.FileHints("temperature"),
            asking.ask_target,
            LONG_S,
            said,
        )
    )
    await asyncio.wait_for(listening.wait(), WAIT_S)
    words = ("--config", str(tmp_path / "telegraf.conf"), "--once", "--test-wait", "5")
    process = await asyncio.create_subprocess_exec(program, *words, stderr=asyncio.subprocess.DEVNULL)
    await asyncio.wait_for(process.wait(), WAIT_S)
    async with httpx.AsyncClient(timeout=60) as client:
        await client.post(f"{url}/write", content=ENOUGH)
    found = await asyncio.wait_for(look, WAIT_S)
    stream = found.proposal.definition
    assert (stream.name, stream.key, stream.target, stream.time.period) == ("roof", "station", "temperature", 600)
    assert [row.t for row in found.rows[::2]] == [(FIRST + 600 * n) * 1000 for n in range(5)]
