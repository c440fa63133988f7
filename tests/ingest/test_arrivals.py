"""Rows without a time are of their arrival, unless they are older than they look."""

import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.reading.bodies import RawRows
from driftline_ingest.receipts import Receipt
from tests.ingest.test_same_everywhere import NOW, Doors

STREAM = "name: a\ntime: {{period: 10min{}}}\nkey: id\ntarget: y\n"


def stream(more: str = "") -> StreamDefinition:
    return parse(STREAM.format(more), "a.yaml")


class Clocked(Doors):
    """Doors whose clock the test moves."""

    def __init__(self, stream: StreamDefinition, *, synchronised: bool = True) -> None:
        super().__init__(stream)
        self.now = NOW
        self.door._clock._clock = lambda: self.now
        self.door._arrivals._is_synchronised = lambda: synchronised

    async def send(self, *rows: object, retained: tuple[int, ...] = ()) -> Receipt:
        receipt, _ = await self.door.take_rows("a", RawRows(list(rows)), retained=retained)
        return receipt

    def aside(self, reason: str) -> float:
        return float(self.door.metrics.records_set_aside.labels("a", reason)._value.get())


async def test_a_row_without_a_time_is_of_its_arrival():
    doors = Clocked(stream())
    assert (await doors.send({"id": "k", "y": 1})).accepted == 1
    doors.now += 600
    assert (await doors.send({"id": "k", "y": 2}, {"id": "m", "y": 3})).accepted == 2
    assert [t for _, t, _ in await doors.taken()] == [NOW * 1000, (NOW + 600) * 1000, (NOW + 600) * 1000]


async def test_of_a_pair_that_comes_at_once_the_newer_is_taken():
    doors = Clocked(stream())
    receipt = await doors.send({"id": "k", "y": 1}, {"id": "k", "y": 2})
    assert (receipt.accepted, receipt.refused_total) == (1, 1)
    assert [values for _, _, values in await doors.taken()] == [(2.0,)]


async def test_five_hundred_rows_at_once_are_set_aside_and_none_counts_as_repeated():
    doors = Clocked(stream())
    receipt = await doors.send(*({"id": "k", "y": n} for n in range(500)))
    assert (receipt.accepted, receipt.repeated, receipt.out_of_order, receipt.refused_total) == (0, 0, 0, 500)
    assert receipt.refused[0].expected.startswith("a time of its own: others of its key came at the same time")
    for _ in range(20):
        doors.now += 0.5
        assert (await doors.send({"id": "k", "y": 1})).accepted == 0, "the burst goes on"
    assert doors.aside("burst") == 520
    doors.now += 1
    assert (await doors.send({"id": "k", "y": 2})).accepted == 1


async def test_a_fast_stream_is_no_burst():
    doors = Clocked(parse("name: a\ntime: {period: 1s}\nkey: id\ntarget: y\n", "a.yaml"))
    for _ in range(5):
        doors.now += 0.9
        assert (await doors.send({"id": "k", "y": 1})).accepted == 1


async def test_what_a_broker_has_kept_is_not_of_now_but_may_have_a_time_of_its_own():
    doors = Clocked(stream())
    timed = {"id": "m", "y": 1, "time": "2026-03-01T00:00:00Z"}
    receipt = await doors.send({"id": "k", "y": 1}, timed, retained=(1, 2))
    assert (receipt.accepted, receipt.refused_total, doors.aside("retained")) == (1, 1, 1)
    assert "the broker had kept this message" in receipt.refused[0].expected
    assert [key for key, _, _ in await doors.taken()] == ["m"]


@pytest.mark.parametrize(("more", "accepted"), [("", 0), (", arrival: trust", 1), (", arrival: refuse", 0)])
async def test_a_clock_that_is_not_synchronised_is_believed_only_where_the_definition_says_so(more: str, accepted: int):
    doors = Clocked(stream(more), synchronised=False)
    receipt = await doors.send({"id": "k", "y": 1})
    assert receipt.accepted == accepted
    assert doors.aside("clock") == (0 if more else 1)
    if not accepted:
        words = "the time; the row has id, y" if more else "this machine's clock is not synchronised"
        assert words in receipt.refused[0].expected


async def test_a_definition_that_fits_nothing_says_so_once_with_what_was_sent_instead(caplog: pytest.LogCaptureFixture):
    doors = Clocked(stream())
    for _ in range(120):
        await doors.send({"ident": "k", "temp": 1})
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert error.startswith("the definition fits none of the first 100 rows: y: found nothing, expected this column")
    assert error.endswith("the row has ident, temp")


async def test_a_field_that_nothing_names_is_said_once(caplog: pytest.LogCaptureFixture):
    doors = Clocked(stream())
    for _ in range(3):
        doors.now += 600
        await doors.send({"id": "k", "y": 1, "battery": 5})
    assert [record.getMessage() for record in caplog.records] == [
        "field 'battery' is ignored: the definition does not name it"
    ]
    assert doors.door.metrics.fields_ignored.labels("a")._value.get() == 3
