"""One environment for three services: what all share is given once, what one has of its own goes before it."""

from pathlib import Path

import pytest

from driftline.errors import InvalidInput
from driftline.names import PORTS
from driftline_edge.settings import read_all


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"DRIFTLINE_{name}", value)


def test_each_service_has_a_door_of_its_own(monkeypatch: pytest.MonkeyPatch):
    set_all(monkeypatch, {"HOST": "127.0.0.2", "INGEST_HOST": "127.0.0.3", "COMBINER_PORT": "9", "CONNECTIONS": "99"})
    found = read_all()
    assert [found.ingest.port, found.inference.port, found.combiner.port] == [PORTS["ingest"], PORTS["inference"], 9]
    assert [found.ingest.host, found.inference.host] == ["127.0.0.3", "127.0.0.2"]
    assert {found.ingest.connections, found.combiner.connections} == {99}
    assert list(found.doubts()) == []


def test_what_is_wrong_is_said_once_and_by_the_name_that_it_was_given(monkeypatch: pytest.MonkeyPatch):
    set_all(monkeypatch, {"DELIVERY": "twice", "INGEST_PORT": "high", "BODY_LIMIT": "0"})
    with pytest.raises(InvalidInput) as refused:
        read_all()
    said = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert said == ["DRIFTLINE_DELIVERY", "DRIFTLINE_INGEST_PORT", "DRIFTLINE_BODY_LIMIT"]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"PORT": "8000"}, "DRIFTLINE_PORT: found 8000, expected none, since there are three ports here: DRIFTLINE_I"),
        (
            {"STORE": "s3://bucket", "STORE_TOPIC": "events"},
            "DRIFTLINE_STORE_TOPIC: found 'events', expected none, since DRIFTLINE_BUS is 'embedded'",
        ),
        ({"DISK": "1000"}, "DRIFTLINE_DISK: found '1000': Input should be greater than or equal to 1000000"),
    ],
)
def test_what_can_not_be_meant_here_is_refused(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], line: str):
    set_all(monkeypatch, variables)
    with pytest.raises(InvalidInput) as refused:
        read_all()
    (said,) = str(refused.value).splitlines()
    assert said.startswith(line)


def test_a_broker_is_in_vain_on_the_embedded_bus_alone(monkeypatch: pytest.MonkeyPatch):
    set_all(monkeypatch, {"BROKERS": "kafka:9092"})
    assert list(read_all().doubts()) == ["DRIFTLINE_BROKERS is passed over, since DRIFTLINE_BUS is 'embedded'"]
    set_all(monkeypatch, {"BUS": "kafka"})
    assert list(read_all().doubts()) == []


def test_everything_is_kept_in_one_folder_unless_it_is_said_to_be_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    set_all(monkeypatch, {"DATA": "/data"})
    found = read_all()
    assert (found.ingest.store, found.inference.store) == ("/data/store", "/data/store")
    assert found.inference.cache == Path("/data/cache")
    assert found.edge.embedded.folder == Path("/data/bus")
    set_all(monkeypatch, {"STORE": "s3://bucket", "CACHE": str(tmp_path)})
    found = read_all()
    assert (found.ingest.store, found.inference.store) == ("s3://bucket", "s3://bucket")
    assert found.inference.cache == tmp_path


def test_on_the_embedded_bus_outputs_and_position_are_one_commit(monkeypatch: pytest.MonkeyPatch):
    found = read_all()
    for loop in (found.inference.loop, found.combiner.loop):
        assert (loop.exactly_once, loop.interval) == (True, 0)
    assert not found.ingest.loop.exactly_once, "the archive puts nothing out on the bus"
    set_all(monkeypatch, {"BUS": "kafka"})
    assert not read_all().inference.loop.exactly_once
