"""`driftline from`: what a broker sends, or a file holds, becomes a definition that takes it."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest
from typer.testing import CliRunner, Result

from driftline.errors import InvalidInput
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline_cli import asking, first_look
from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
from driftline_cli.heard import Message, heard
from driftline_cli.listening import BrokerUrl
from driftline_ingest.mqtt_routes import Route
from tests.ingest.test_mqtt import MOSQUITTO, Broker

Start = Callable[[Callable[[int], str], Callable[[int], bytes]], str]
EPOCH = 1_772_323_200
LISTENED_S = 4.0
NESTED = [
    {"dev": {"id": name}, "ts": EPOCH + 600 * n, "sensors": {"out": {"temp": f"{20 + n}.5"}, "in": {"temp": 21 + n}}}
    for n in range(3)
    for name in ("a", "b")
]


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ["from", *words])


def written(source: str, folder: Path, *words: str) -> StreamDefinition:
    result = typed(source, *words, "--output", str(folder / "new.yaml"))
    assert result.exit_code == 0, result.output
    return load(folder / "new.yaml")


def zigbee(n: int) -> bytes:
    return json.dumps(
        {"temperature": 20.0 + n / 10, "humidity": 58, "linkquality": 92, "update": {"state": "idle"}}
    ).encode()


async def _send(
    port: int, topic: Callable[[int], str], payload: Callable[[int], bytes], until: threading.Event
) -> None:
    async with aiomqtt.Client("127.0.0.1", port, identifier="sensors") as client:
        for n in range(10_000):
            await client.publish(topic(n), payload(n), qos=1)
            if await asyncio.to_thread(until.wait, 0.2):
                return


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto here: Debian's package mosquitto has it")
    (tmp_path / "broker").mkdir()
    started = Broker(tmp_path / "broker")
    started.start()
    started.wait()
    yield started
    started.stop()


@pytest.fixture
def sending(broker: Broker) -> Iterator[Start]:
    """Devices that send until the test is over; gives the broker's address."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def start(topic: Callable[[int], str], payload: Callable[[int], bytes]) -> str:
        thread = threading.Thread(target=lambda: asyncio.run(_send(broker.port, topic, payload, over)))
        thread.start()
        threads.append(thread)
        return f"mqtt://127.0.0.1:{broker.port}"

    yield start
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.process
def test_what_a_zigbee_bridge_sends_becomes_a_definition_that_takes_it(sending: Start, tmp_path: Path):
    address = sending(lambda n: f"zigbee2mqtt/{('attic', 'cellar')[n % 2]}", zigbee)
    words = ("--target", "temperature", "--seconds", str(LISTENED_S))
    stream = written(f"{address}/zigbee2mqtt/+", tmp_path, *words)
    assert (stream.name, stream.key, stream.target) == ("zigbee2mqtt", "device", "temperature")
    assert set(stream.features) == {"humidity", "linkquality"}
    assert stream.mqtt is not None
    assert (stream.mqtt.topic, stream.mqtt.payload) == ("zigbee2mqtt/{key}", "json")
    route, *_ = Route.of(stream, stream.mqtt)
    assert route.rows("zigbee2mqtt/attic", zigbee(1), 0.0) == [json.loads(zigbee(1)) | {"device": "attic"}]


@pytest.mark.process
def test_the_rows_are_shown_as_they_would_be_taken(sending: Start):
    address = sending(lambda n: f"meters/m{n % 3}/power", lambda n: str(200 + n % 7).encode())
    result = typed(f"{address}/meters/#", "--target", "value", "--seconds", str(LISTENED_S))
    assert result.exit_code == 0, result.output
    assert "topic: meters/{key}/power" in result.output.replace('"', "")
    assert "payload: number" in result.output
    assert "on arrival" in result.output
    assert "key: device" in result.output


@pytest.mark.process
def test_a_silent_broker_is_said_to_be_silent(broker: Broker):
    result = typed(f"mqtt://127.0.0.1:{broker.port}/nobody/+", "--target", "y", "--seconds", "0.5")
    assert result.exit_code == 1
    assert "heard nothing in 0.5 s: is this the filter of the topics?" in result.output.replace("\n", " ")


def test_a_broker_that_is_away_is_said_to_be_away():
    result = typed(f"mqtt://127.0.0.1:{free_port()}/a", "--target", "y", "--seconds", "5")
    assert result.exit_code == 3
    assert "does not answer or refuses" in result.output


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("mqtt://host/a/+/b", ("host", 1883, "a/+/b", False, None)),
        ("mqtts://m%40e:p%40ss@host:9/a/#", ("host", 9, "a/#", True, "m@e")),
        ("mqtt://host", ("host", 1883, "#", False, None)),
    ],
)
def test_addresses(url: str, parts: tuple[object, ...]):
    read = BrokerUrl.of(url)
    assert (read.host, read.port, read.topics, read.tls, read.username) == parts
    assert read.password in {None, "p@ss"}


@pytest.mark.parametrize("url", ["mqtt:///a", "mqtt://host/a#", "mqtt://host:99999/a", "mqtt://me:secret@host/a#"])
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(InvalidInput, match=r"expected|range") as refused:
        BrokerUrl.of(url)
    assert "secret" not in str(refused.value)


def messages(*pairs: tuple[str, object]) -> list[Message]:
    return [Message(topic, json.dumps(payload).encode(), 10.0 * n) for n, (topic, payload) in enumerate(pairs)]


def test_of_topics_that_differ_in_two_levels_the_one_with_more_names_is_the_key():
    sent = messages(*((f"site/{n % 2}/s{n % 5}/up", {"t": n, "at": "2026-03-01T00:00:00Z"}) for n in range(20)))
    found = heard(sent, "site/#", "a", "UTC")
    assert (found.topic, found.key, found.arrival) == ("site/+/{key}/up", "device", False)


def test_without_a_wildcard_there_is_one_series():
    found = heard(
        messages(("boiler", {"device": "b", "t": 1}), ("boiler", {"device": "b", "t": 2})), "boiler", "a", "UTC"
    )
    assert (found.topic, found.key, found.arrival) == ("boiler", None, True)


def test_other_kinds_of_messages_are_left_out_and_counted():
    sent = [
        *messages(*((f"a/{n}", {"t": n}) for n in range(5))),
        Message("a/x/y", b"7", 0.0),
        Message("a/9", b"on", 0.0),
    ]
    found = heard(sent, "a/#", "a", "UTC")
    assert found.topic == "a/{key}"
    assert found.notes == ("7 messages of 7 topics", "2 of them are of another kind and left out")


def test_neither_objects_nor_numbers_are_shown():
    with pytest.raises(InvalidInput, match=r"neither a JSON object nor a number among them, such as a/1: b'on'"):
        heard([Message("a/1", b"on", 0.0)], "a/#", "a", "UTC")


def test_nested_json_proposes_paths_and_takes_every_row(tmp_path: Path):
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, NESTED)))
    stream = written(str(tmp_path / "log.jsonl"), tmp_path, "--target", "sensors.out.temp")
    assert (stream.target, stream.key, stream.time.format, stream.time.period) == ("out_temp", "dev_id", "s", 600)
    content = tables.examine_file(tmp_path / "log.jsonl", stream)
    assert content.refused == 0
    assert content.rows.keys.tolist() == ["a", "b"] * 3
    assert content.rows.values[0].tolist() == [20.5, 21.0]


def test_a_list_inside_of_an_object_proposes_rows(tmp_path: Path):
    samples = [{"t": f"2026-03-01T00:{n:02}:00Z", "v": n % 4} for n in range(30)]
    (tmp_path / "memory.json").write_text(json.dumps({"serial": "L-7", "data": {"samples": samples}}))
    stream = written(str(tmp_path / "memory.json"), tmp_path, "--target", "v")
    assert stream.rows == "data.samples"
    assert len(tables.examine_file(tmp_path / "memory.json", stream).rows) == 30


@pytest.mark.parametrize(
    ("body", "target", "form"),
    [
        ("t,y\n1772323200,1\n1772323800,2\n1772324400,4\n", "y", "s"),
        ("t,y\n1772323200000,1\n1772323800000,2\n1772324400000,4\n", "y", "ms"),
        ("t,y\n31/03/2026 00:00,1\n31/03/2026 00:10,2\n31/03/2026 00:20,4\n", "y", "%d/%m/%Y %H:%M"),
        ("t,y\n03/31/26 12:00:00 AM,1\n03/31/26 12:10:00 AM,2\n03/31/26 12:20:00 AM,4\n", "y", "%m/%d/%y %I:%M:%S %p"),
        ('"Plot Title: pond"\n"#","Date Time","T"\n1,03/31/26 01:00,4\n2,03/31/26 01:10,5\n', "T", "%m/%d/%y %H:%M"),
        ("t;y\n01.03.2026 00:00;1.204,50\n01.03.2026 00:10;0,75\n", "y", None),
    ],
)
def test_times_as_devices_write_them_are_proposed_and_read(body: str, target: str, form: str | None, tmp_path: Path):
    (tmp_path / "log.csv").write_text(body)
    stream = written(str(tmp_path / "log.csv"), tmp_path, "--target", target)
    content = tables.examine_file(tmp_path / "log.csv", stream)
    assert (stream.time.format, stream.time.period, content.refused) == (form, 600, 0)
    assert len(content.rows) >= 2


def test_a_day_that_may_be_a_month_is_refused(tmp_path: Path):
    (tmp_path / "log.csv").write_text("t,y\n03/01/2026 00:00,1\n03/01/2026 00:10,2\n")
    said = typed(str(tmp_path / "log.csv"), "--target", "y")
    assert "which only a definition can name (`time.format`)" in said.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("body", "words", "sentence"),
    [
        ("t,y\n2026-03-01T00:00:00Z,a\n2026-03-01T00:10:00Z,b\n", (), "found no column to forecast"),
        ("x,y\n1,2\n2,4\n", ("--target", "y"), "found no column of times among"),
        ("t,y\n2026-03-01T00:00:00Z,1\n2026-03-01T00:10:00Z,2\n", ("--target", "z"), "expected as target one of: y"),
        (
            "t,y,x\n2026-03-01T00:00:00Z,1,3\n2026-03-01T00:10:00Z,2,1\n",
            (),
            "found no --target, expected one of the numeric columns: y, x",
        ),
        ("[1, 2]", (), "found no object of names and values"),
        ("", (), "found an empty file"),
    ],
)
def test_what_can_not_be_proposed_is_said(body: str, words: tuple[str, ...], sentence: str, tmp_path: Path):
    (tmp_path / "log.csv").write_text(body)
    result = typed(str(tmp_path / "log.csv"), *words)
    assert (result.exit_code, sentence in " ".join(result.output.split())) == (1, True), result.output


def test_a_file_that_is_not_there_and_an_address_of_another_kind(tmp_path: Path):
    assert "can't be read: No such file" in typed(str(tmp_path / "no.csv")).output.replace("\n", " ")
    assert "expected mqtt://HOST/TOPICS" in typed("https://localhost:1/influx").output.replace("\n", " ")


def test_a_file_that_exists_is_replaced_only_when_somebody_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "log.csv").write_text("t,y\n2026-03-01T00:00:00Z,1\n2026-03-01T00:10:00Z,2\n")
    (tmp_path / "old.yaml").write_text("# mine\n")
    result = typed(str(tmp_path / "log.csv"), "--output", str(tmp_path / "old.yaml"))
    assert (result.exit_code, (tmp_path / "old.yaml").read_text()) == (1, "# mine\n")
    found = first_look.look(str(tmp_path / "log.csv"), asking.FileHints("y"), asking.ask_target, 1.0)
    monkeypatch.setattr("typer.confirm", lambda _: False)
    with pytest.raises(InvalidInput, match="left as it is"):
        first_look.write(found.proposal, tmp_path / "old.yaml", at_terminal=True)
    assert (tmp_path / "old.yaml").read_text() == "# mine\n"
    monkeypatch.setattr("typer.confirm", lambda _: True)
    first_look.write(found.proposal, tmp_path / "old.yaml", at_terminal=True)
    assert (tmp_path / "old.yaml").read_text() == found.proposal.text


def test_words_among_numbers_are_missing_ones_and_names_may_have_points(tmp_path: Path):
    rows = [{"t": EPOCH + 600 * n, "a.b": {"c": n + 0.5 if n else "unavailable"}, "big": 10**400} for n in range(4)]
    (tmp_path / "log.json").write_text("\ufeff" + json.dumps(rows))
    stream = written(str(tmp_path / "log.json"), tmp_path, "--target", '["a.b"].c')
    content = tables.examine_file(tmp_path / "log.json", stream)
    assert (content.refused, content.rows.values[1:, 0].tolist()) == (0, [1.5, 2.5, 3.5])


def test_a_message_that_is_a_list_is_as_many_rows():
    payload = [{"t": n, "at": f"2026-03-01T00:0{n}:00Z"} for n in range(5)]
    found = heard(messages(("site/a", payload), ("site/b", payload)), "site/+", "a", "UTC")
    assert (found.topic, len(found.rows), found.notes) == ("site/{key}", 10, ("2 messages of 2 topics",))
