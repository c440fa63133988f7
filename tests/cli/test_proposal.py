"""A definition is proposed from a file alone; what can't be forecast is refused in one sentence."""

import io
import math
import random
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import InvalidInput
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.reading.rows import RowReader
from driftline.streams.rows import Rows
from driftline_cli.measured import is_angle, measured
from driftline_cli.proposal import Proposal, check_zone, horizons, name_of, propose
from driftline_cli.survey import survey
from driftline_cli.timeline import timeline
from driftline_cli.written_times import pattern_of
from tests.cli.files import START, csv, hourly, weekly_course
from tests.conftest import ROOT

N = 400
MINUTE, DAY = 60, 86_400


def proposal(
    body: bytes, target: str, *, key: str | None = None, zone: str | None = None, source: str = "a.csv"
) -> Proposal:
    seen = survey(body, source, zone or "UTC")
    line = timeline(seen, key)
    return propose(seen, line, measured(seen, line), target, zone)


def refusal(body: bytes, target: str = "y", **hints: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        proposal(body, target, **hints)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def written(pattern: str, step: int = 3600) -> bytes:
    """Rows whose times are written so."""
    times = [START + timedelta(seconds=step * n) for n in range(N)]
    return csv("t,y", [(t.strftime(pattern), n % 7) for n, t in enumerate(times)])


def read(body: bytes, stream: StreamDefinition) -> Rows:
    return tables.decode(body, stream, "a.csv")


@pytest.fixture(scope="module")
def turbines() -> bytes:
    """Two weeks of the shipped turbines, as CSV: the wind turned across north in them."""
    sink = io.BytesIO()
    pcsv.write_csv(pq.read_table(ROOT / "data" / "la-haute-borne.parquet").slice(400_000, 8_000), sink)
    return sink.getvalue()


def test_the_turbines_are_recognised(turbines: bytes):
    suggested = proposal(turbines, "Ot_avg", source="data/la-haute-borne.csv")
    stream = suggested.definition
    assert stream.name == "la-haute-borne"
    assert (stream.time.column, stream.time.zone, stream.time.period) == ("Date_time", "required", 600)
    assert stream.key == "Wind_turbine_name"
    assert stream.features == {
        **dict.fromkeys(["Ba_avg", "P_avg", "Ws_avg"], "level"),
        **dict.fromkeys(["Va_avg", "Ya_avg", "Wa_avg"], "angle"),
    }
    assert stream.horizon == (1, 36, 144)
    assert suggested.notes[0].startswith("8,000 records, 4 series by 'Wind_turbine_name', from 2015-")
    assert any(note.endswith("of the records are 10 min apart") for note in suggested.notes)


def test_the_reader_reads_the_file_by_what_is_proposed(turbines: bytes):
    rows = tables.decode(turbines, proposal(turbines, "Ot_avg").definition, "a.csv")
    assert (len(rows), len(set(rows.keys.tolist())), rows.values.shape[1]) == (8_000, 4, 7)


def test_an_hourly_file_is_one_series():
    suggested = proposal(weekly_course(N), "visitors")
    stream = suggested.definition
    assert (stream.key, stream.time.period, stream.features, stream.horizon) == (None, 3600, {}, (1, 6, 24))
    assert suggested.notes == (
        "400 records, one series, from 2026-01-05T00:00 to 2026-01-21T15:00 UTC",
        "100 % of the records are 1 h apart",
    )


def test_times_without_a_zone_are_taken_as_utc_and_that_is_said():
    body = hourly(N, "time,y", lambda n, _: [n % 7], zone="")
    suggested = proposal(body, "y")
    assert suggested.definition.time.zone == "UTC"
    assert any("carry no zone and are taken as UTC" in note for note in suggested.notes)
    local = proposal(body, "y", zone="Europe/Paris")
    assert local.definition.time.zone == "Europe/Paris"
    assert local.notes[0].endswith("from 2026-01-04T23:00 to 2026-01-21T14:00 UTC")
    assert not any("UTC;" in note for note in local.notes)


def test_a_zone_that_a_parquet_file_names_is_kept():
    t = [1_767_571_200_000 + 3_600_000 * n for n in range(N)]
    table = pa.table({"t": pa.array(t, pa.timestamp("ms", tz="Europe/Paris")), "y": [float(n % 5) for n in range(N)]})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert proposal(sink.getvalue(), "y").definition.time.zone == "Europe/Paris"


def test_an_unknown_zone_says_what_is_expected():
    with pytest.raises(InvalidInput, match="found 'Mars/Base', expected the name of a time zone such as Europe/Paris"):
        check_zone("Mars/Base")


def test_of_two_keys_the_one_that_tells_the_series_apart_is_taken():
    rows = [
        (f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z", s // 2, f"s{s}", n + s) for n in range(200) for s in range(4)
    ]
    body = csv("time,site,sensor,y", [(t, f"site{site}", sensor, y % 11) for t, site, sensor, y in rows])
    assert proposal(body, "y").definition.key == "sensor"
    assert "site" not in proposal(body, "y").definition.features


def test_two_keys_that_name_the_series_together_are_refused():
    rows = [
        (f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z", site, room, n % 7)
        for n in range(200)
        for site in "ab"
        for room in ("hall", "roof")
    ]
    said = refusal(csv("time,site,room,y", rows))
    assert "75 % of the times are repeated; only 'site' and 'room' together tell the series apart" in said


def test_measured_values_are_no_half_of_a_key():
    rows = [(f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z", "ab"[n % 2], n % 7 + s) for n in range(N) for s in (0, 9)]
    assert "found no column that tells the series apart" in refusal(csv("time,site,y", rows))


def test_whole_numbers_name_the_series_where_no_text_does():
    body = csv(
        "time,device,y", [(f"2026-01-{1 + n // 24:02}T{n % 24:02}:00:00Z", d, n % 5) for n in range(N) for d in (7, 8)]
    )
    assert proposal(body, "y").definition.key == "device"


def test_sensors_that_report_in_turn_are_told_apart_though_no_time_is_repeated():
    offsets = {"a": 3, "b": 11, "c": 40}
    rows = [
        (f"2026-01-05T{n // 60:02}:{n % 60:02}:{second:02}Z", sensor, n % 7)
        for n in range(600)
        for sensor, second in offsets.items()
    ]
    stream = proposal(csv("time,sensor,y", rows), "y").definition
    assert (stream.key, stream.time.period) == ("sensor", 60)


def test_a_status_in_words_is_no_key():
    body = hourly(N, "time,state,y", lambda n, _: ["on" if n % 50 < 20 else "off", n % 7])
    suggested = proposal(body, "y")
    assert suggested.definition.key is None
    assert "# left out: state: is text ('on')" in suggested.text


def test_a_key_that_was_named_is_taken():
    body = hourly(N, "time,state,y", lambda n, _: ["on" if n % 50 < 20 else "off", n % 7])
    assert proposal(body, "y", key="state").definition.key == "state"
    assert "found no column 'room' for the key, expected one of ['time', 'state', 'y']" in refusal(body, key="room")
    assert "found no column 'time' for the key" in refusal(body, key="time")


def test_a_step_that_jitters_is_the_one_that_was_meant():
    drawn = random.Random(2)
    seconds = np.cumsum([300 + drawn.gauss(0, 4) for _ in range(N)])
    rows = [
        (np.datetime_as_string(np.datetime64(START.replace(tzinfo=None), "s") + int(s)), n % 9)
        for n, s in enumerate(seconds)
    ]
    assert proposal(csv("time,y", rows), "y").definition.time.period == 300


def test_an_odd_step_that_is_kept_is_the_period():
    assert proposal(hourly(N, "time,y", lambda n, _: [n % 7], step=27), "y").definition.time.period == 27


def test_steps_that_contradict_each_other_are_said():
    drawn = random.Random(3)
    t = np.cumsum([drawn.choice([60, 120, 1800, 14_400, 5_000 * drawn.random() + 1]) for _ in range(N)])
    body = csv(
        "time,y",
        [(np.datetime_as_string(np.datetime64("2026-01-05T00:00:00") + int(s)), n % 9) for n, s in enumerate(t)],
    )
    assert any(note.startswith("the steps contradict each other: only ") for note in proposal(body, "y").notes)


def test_gaps_are_said():
    body = hourly(N, "time,y", lambda n, _: [n % 7]).splitlines()
    suggested = proposal(b"\n".join(body[:100] + body[160:]), "y")
    assert suggested.notes[1] == "over 99 % of the records are 1 h apart; 1 longer steps, up to 2.5 d"


def test_days_without_a_time_of_day_are_a_day_apart():
    days = [(START + timedelta(days=n)).date() for n in range(N)]
    for body in (
        csv("day,y", [(day, n % 7) for n, day in enumerate(days)]),
        parquet(day=days, y=[n % 7 for n in range(N)]),
    ):
        stream = proposal(body, "y").definition
        assert (stream.time.column, stream.time.period, stream.horizon) == ("day", DAY, (1, 7, 28))
        assert read(body, stream).t[-1] == 1000 * int((START + timedelta(days=N - 1)).timestamp())


def test_a_time_is_taken_before_a_day():
    body = hourly(N, "x,day,y", lambda n, t: [t.date(), n % 7])
    assert proposal(body, "y").definition.time.column == "x"


@pytest.mark.parametrize("pattern", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"])
def test_days_as_people_write_them_are_a_day_apart(pattern: str):
    body = written(pattern, DAY)
    stream = proposal(body, "y").definition
    assert (stream.time.format, stream.time.period, len(read(body, stream))) == (pattern, DAY, N)


@pytest.mark.parametrize(
    ("pattern", "form"),
    [("%d.%m.%y %H:%M", "%d.%m.%y %H:%M"), ("%Y/%m/%d %H:%M", None), ("%Y.%m.%d %H:%M:%S", None)],
)
def test_a_year_of_two_digits_or_in_front_is_read_as_the_reader_reads_it(pattern: str, form: str | None):
    body = written(pattern)
    stream = proposal(body, "y").definition
    assert (stream.time.format, stream.time.period) == (form, 3600)
    assert read(body, stream).t[0] == 1000 * int(START.timestamp())


@pytest.mark.parametrize(
    ("day", "clock", "separator", "form"),
    [
        ("%Y-%m-%d", "%H:%M:%S", ",", None),
        ("%d.%m.%Y", "%H:%M", ";", None),
        ("%d.%m.%Y", "%X", ",", None),
        ("%d/%m/%Y", "%H:%M", ",", "%d/%m/%Y %H:%M"),
        ("%m/%d/%Y", "%I:%M %p", ",", "%m/%d/%Y %I:%M %p"),
        ("%m-%d-%Y", "%H:%M:%S", "\t", "%m-%d-%Y %H:%M:%S"),
    ],
)
def test_a_day_and_a_time_of_day_in_columns_of_their_own_are_one(
    day: str, clock: str, separator: str, form: str | None
):
    times = [START + timedelta(hours=n) for n in range(N)]
    text = csv("day,clock,y", [(t.strftime(day), t.strftime(clock), n % 7) for n, t in enumerate(times)])
    body = text.replace(b",", separator.encode())
    suggested = proposal(body, "y")
    stream = suggested.definition
    assert (stream.time.column, stream.time.date, stream.time.format, stream.time.period) == (
        "clock",
        "day",
        form,
        3600,
    )
    assert "left out" not in suggested.text
    assert read(body, stream).t.tolist() == [1000 * int(t.timestamp()) for t in times]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("hours", [range(24), range(6, 19)], ids=["all day", "from six to six"])
@pytest.mark.parametrize("pattern", ["%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d-%m-%y %H:%M:%S", "%m/%d/%y %H:%M"])
def test_midnight_shows_whether_the_day_or_the_month_comes_first(pattern: str, hours: range, *, newest_first: bool):
    """None of the days is beyond the 12th."""
    times = [START + timedelta(hours=n / 2) for n in range(2 * 24 * 7) if n // 2 % 24 in hours]
    rows = [(t.strftime(pattern), key, n % 7) for n, t in enumerate(times) for key in "ab"]
    body = csv("t,room,y", rows[::-1] if newest_first else rows)
    stream = proposal(body, "y").definition
    assert (stream.time.format, stream.time.period, stream.key) == (pattern, 1800, "room")
    assert sorted(set(read(body, stream).t.tolist())) == [1000 * int(t.timestamp()) for t in times]


@pytest.mark.parametrize("days", [[(1, 3), (2, 5)], [(1, 3), (2, 3), (3, 7)], [(1, 1), (2, 3)]])
def test_an_order_that_shows_neither_day_nor_month_decides_nothing(days: list[tuple[int, int]]):
    """Whoever reads the day first finds a jump of a month, too."""
    times = [START.replace(month=month, day=day, hour=hour) for day, month in days for hour in range(24)]
    assert pattern_of([f"{t:%d/%m/%Y %H:%M}" for t in times]) is None


def test_a_version_is_no_time():
    body = csv("ts,fw,y", [(1_767_571_200 + 600 * n, "1.4.22" if n < N // 2 else "1.4.23", n % 7) for n in range(N)])
    stream = proposal(body, "y").definition
    assert (stream.time.column, stream.time.format, stream.time.period) == ("ts", "s", 600)


def test_a_last_row_of_sums_is_left_out_beside_a_column_of_days():
    body = hourly(N, "t,y,calibrated", lambda n, _: [n % 7, "3.3.2023"]) + b"\nSum,5,\n"
    stream = proposal(body, "y").definition
    assert (stream.time.column, stream.time.period) == ("t", 3600)


def test_midnight_is_seen_among_tens_of_thousands_of_times():
    times = [START + timedelta(seconds=3 * n) for n in range(30_000)]
    assert pattern_of([f"{t:%m/%d/%Y %H:%M:%S}" for t in times]) == "%m/%d/%Y %H:%M:%S"


def test_with_points_the_day_comes_first():
    assert pattern_of(["05.01.2026 00:00", "05.01.2026 00:10"]) == "%d.%m.%Y %H:%M"


@pytest.mark.parametrize(
    ("pattern", "odd"),
    [
        ("%d.%m.%Y %H:%M", "28:01.2026 00:00"),
        ("%d/%m/%Y %H:%M", "31/02/2026 00:00"),
        ("%m/%d/%Y %H:%M", "Mean"),
        ("%Y-%m-%dT%H:%M:%SZ", "Mean"),
    ],
)
def test_a_few_rows_whose_time_is_none_are_left_out(pattern: str, odd: str):
    body = written(pattern) + f"\n{odd},3\n".encode()
    stream = proposal(body, "y").definition
    content = tables.examine(body, stream, "a.csv")
    assert (stream.time.period, len(content.rows), content.refused) == (3600, N, 1)


@pytest.mark.parametrize(
    ("pattern", "step"),
    [("%d.%m.%Y %H:%M", 3600), ("%d/%m/%Y %H:%M", 3600), ("%Y-%m-%dT%H:%M:%SZ", 3600), ("%Y-%m-%d", DAY)],
)
def test_a_few_rows_without_a_time_are_left_out(pattern: str, step: int):
    body = written(pattern, step) + b"\n,3\n,4\n"
    stream = proposal(body, "y").definition
    content = tables.examine(body, stream, "a.csv")
    assert (stream.time.period, len(content.rows), content.refused) == (step, N, 2)
    assert content.sentence(content.refusals[0]).startswith("line 402: column 't': found nothing, expected a time")


def test_a_few_empty_times_in_a_parquet_file_are_left_out():
    times = [*(START + timedelta(hours=n) for n in range(N)), None]
    body = parquet(t=times, y=[float(n % 7) for n in range(N + 1)])
    stream = proposal(body, "y").definition
    content = tables.examine(body, stream, "a.parquet")
    assert (stream.time.period, len(content.rows), content.refused) == (3600, N, 1)


def test_the_live_door_reads_the_same_texts_as_the_file():
    body = written("%d.%m.%Y %H:%M") + b"\nMean,3\n"
    stream = proposal(body, "y", zone="Europe/Berlin").definition
    sent = [dict(zip(("t", "y"), line.split(","), strict=True)) for line in body.decode().split("\n")[1 : N + 1]]
    taken = RowReader(stream).read(sent, 0.0, text=True)
    assert [record.t for record in taken.records] == tables.examine(body, stream, "a.csv").rows.t.tolist()


def test_times_that_are_text_in_a_parquet_file_are_read():
    times = [f"{START + timedelta(hours=n):%Y-%m-%d %H:%M}Z" for n in range(N)]
    body = parquet(t=times, y=[n % 7 for n in range(N)])
    stream = proposal(body, "y").definition
    assert (stream.time.column, stream.time.period) == ("t", 3600)
    assert len(read(body, stream)) == N


@pytest.mark.parametrize("told", [b"sep=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfSEP=;;;\n"])
def test_a_line_that_tells_spreadsheets_the_separator_is_no_header(told: bytes):
    body = told + hourly(N, "time;y", lambda n, _: [n % 7]).replace(b",", b";")
    stream = proposal(body, "y").definition
    assert (stream.time.column, stream.time.period) == ("time", 3600)
    assert len(read(body, stream)) == N


def test_name_hints_choose_between_two_columns_of_times():
    body = hourly(N, "measured_time,received,y", lambda n, t: [f"{t:%Y-%m-%dT%H:%M:%S}Z", n % 7])
    swapped = hourly(N, "received,measured_time,y", lambda n, t: [f"{t:%Y-%m-%dT%H:%M:%S}Z", n % 7])
    for either in (body, swapped):
        suggested = proposal(either, "y")
        assert suggested.definition.time.column == "measured_time"
        assert suggested.notes[-1] == "further columns of times, not used: received"


def test_columns_that_say_nothing_are_left_out_with_the_reason():
    def columns(n: int, _: object) -> list[object]:
        y = round(10 * math.sin(n / 5), 3)
        return [y, 3, n % 4 if n == 7 else "", y, n, round(n * 0.3 + (n % 2) * 0.1, 2), round(math.cos(n), 3)]

    suggested = proposal(hourly(N, "time,y,constant,rare,copy,row,meter,x", columns), "y")
    assert suggested.definition.features == {"x": "level"}
    for line in (
        "constant: never changes (3)",
        "rare: has a value in only 1 of 400 records",
        "copy: the same as y",
        "row: counts the rows",
        "meter: only grows, as a counter does",
    ):
        assert f"# left out: {line}" in suggested.text


def test_of_many_columns_those_that_move_with_the_target_are_taken():
    drawn = random.Random(4)

    def columns(n: int, _: object) -> list[object]:
        y = drawn.gauss(0, 1)
        near = [y + drawn.gauss(0, 0.2) for _ in range(3)]
        return [f"{value:.4f}" for value in (y, *(drawn.gauss(0, 1) for _ in range(20)), *near)]

    header = ",".join(["time", "y", *(f"x{n}" for n in range(20)), *(f"near{n}" for n in range(3))])
    suggested = proposal(hourly(N, header, columns), "y")
    assert len(suggested.definition.features) == 12
    assert {"near0", "near1", "near2"} <= set(suggested.definition.features)
    assert " and 6 more: moves less with y than the 12 that are taken" in suggested.text


def test_a_target_that_only_grows_is_said():
    body = hourly(N, "time,kwh", lambda n, _: [round(n * 0.3 + (n % 2) * 0.1, 2)])
    assert proposal(body, "kwh").notes[-1].startswith("'kwh' only grows, as a counter does")


def angle(values: list[float]) -> bool:
    body = hourly(len(values), "time,y", lambda n, _: [values[n]])
    seen = survey(body, "a.csv", "UTC")
    return is_angle(seen.numbers[0], timeline(seen))


@pytest.mark.parametrize("low", [0, -180])
def test_a_direction_that_turns_across_its_end_is_an_angle(low: int):
    drawn = random.Random(5)
    turned = np.cumsum([drawn.gauss(0, 25) for _ in range(2_000)])
    assert angle([round(low + value % 360, 1) for value in turned])


@pytest.mark.parametrize(
    "values",
    [
        [358.0 if n % 40 < 20 else 2.0 for n in range(1_000)],
        [random.Random(n).uniform(0, 360) for n in range(1_000)],
        [n % 360 / 3.6 for n in range(2_000)],
        [180 + 179 * math.sin(n / 30) for n in range(1_000)],
    ],
    ids=["a switch", "noise", "percents", "a wave"],
)
def test_what_does_not_turn_is_no_angle(values: list[float]):
    assert not angle(values)


@pytest.mark.parametrize(
    ("period", "steps"),
    [
        (1, (1, 120, 900)),
        (10, (1, 180, 720)),
        (MINUTE, (1, 180, 720)),
        (10 * MINUTE, (1, 36, 144)),
        (15 * MINUTE, (1, 24, 96)),
        (60 * MINUTE, (1, 6, 24)),
        (DAY // 4, (1, 4, 28)),
        (DAY, (1, 7, 28)),
        (7 * DAY, (1, 4)),
    ],
)
def test_horizons_are_a_step_a_quarter_of_a_day_and_a_day_or_their_like(period: int, steps: tuple[int, ...]):
    assert horizons(period, 100_000) == steps


@given(st.integers(1, 40 * DAY), st.integers(1, 20_000), st.integers(1, 50))
def test_horizons_are_always_those_of_a_definition(period: int, records: int, series: int):
    steps = horizons(period, records, series)
    assert list(steps) == sorted(set(steps))
    assert all(1 <= step <= 1000 and 10 * step <= records for step in steps)
    assert not steps or steps[0] == 1


def test_a_short_file_has_fewer_horizons():
    assert horizons(3600, 230) == (1, 6)
    assert horizons(3600, 222) == (1,)
    assert horizons(3600, 221) == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/Haus Süd_2026 (neu).csv", "haus-sud-2026-neu"),
        ("数据.csv", "stream"),
        ("-.parquet", "stream"),
        ("a" * 100 + ".csv", "a" * 63),
    ],
)
def test_a_name_is_made_of_the_files(source: str, name: str):
    assert name_of(source) == name


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_of_a_column_comes_back(name: str):
    columns = {"t": pa.array([3_600_000 * n for n in range(N)], pa.timestamp("ms", tz="UTC"))}
    columns |= {"y": pa.array([float(n % 5) for n in range(N)]), name: pa.array([float(n % 7) for n in range(N)])}
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    if name in {"t", "y"}:
        return
    assert proposal(sink.getvalue(), "y", source=f"{name}.csv").definition.features == {name: "level"}
    assert proposal(sink.getvalue(), name).definition.target == name


LINES = hourly(N, "time,y", lambda n, _: [n % 7])
EPOCH = 1_767_571_200


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "found an empty file, expected a line of column names and records"),
        (b"\xef\xbb\xbf\r\n", "found an empty file"),
        (b"time,y\n", "found no record, expected at least 200: a history"),
        (b"time,y\n2026-01-01T00:00:00Z,1\n", "found one record, expected at least 200: a history"),
        (b"\n".join(LINES.splitlines()[:100]), "found 99 records, expected at least 200: a history"),
        (b"\n".join(LINES.splitlines()[:215]), "found 214 records of 1 series, expected at least 222: "),
        (csv("a,b", [(n, n % 7) for n in range(N)]), "found no column of times among ['a', 'b']; expected one such as"),
        (csv("t,y", [(1000 * EPOCH + n, n % 7) for n in range(N)]), "found records less than a second apart"),
        (csv("t,y", [(f"{1 + n % 12:02}/01/2026 00:15", n % 7) for n in range(N)]), "times such as '01/01/2026 00:15'"),
        (written("%d/%m/%Y,%H:%M", 60).replace(b"t,", b"d,t,", 1), "found times such as '05/01/2026', which only"),
        (written("%d/%m/%Y %H:%M", 60), "found times such as '05/01/2026 00:00', which only a definition can name"),
        (hourly(N, "t,y", lambda n, _: [n % 7]) + b"\nMean,3" * 9, "'t': found 'Mean' among its times, expected"),
        (written("%d.%m.%Y %H:%M") + b"\n28:01.2026 00:00,3" * 9, "'t': found '28:01.2026 00:00' among its times"),
        (hourly(N, ",y", lambda n, _: [n % 7]), "found times in a column without a name, expected a name in"),
        (hourly(N, "t,", lambda n, _: [n % 7]), "expected numbers that change: '' has no name"),
        (written("%Y-%m-%d %H:%M") + b"\n,3" * 9, "column 't': found 9 empty times, expected a time in every row"),
        (csv("t,y", [("2026-01-01T00:00:00Z", n) for n in range(N)]), "found one time in all 400 records"),
        (LINES.split(b"\n", 1)[1], "in the first line, expected the columns' names there"),
        (LINES + "\n2026-01-01T00:00:00Z,ü".encode() + b"\xff", "found text that is not UTF-8 at byte"),
        (LINES + b"\n2026-01-01T00:00:00Z,\x81\xff", "found text that is not UTF-8 at byte"),
        (LINES.decode().encode("utf-16-le"), "found bytes of zero, as UTF-16 without its first mark has"),
        (b"\xff\xfe" + LINES.decode().encode("utf-16-le") + b"\x00", "found text that is not UTF-16 at byte"),
        (LINES + b"\nx,y,z,a\n", "neither Parquet nor CSV"),
        (b"PAR1" + LINES, "a Parquet file that can't be read"),
        (b"PK\x03\x04rest", "found a workbook or an archive, expected CSV in UTF-8 or Parquet"),
        (b"\xff\xfet\x00", "found no record"),
        (b"\xff\xfe", "found an empty file"),
        (hourly(N, "time,y,y", lambda n, _: [n, n]), "found several columns 'y', expected each name once"),
        (hourly(N, "time,y,x", lambda *_: [1, 2]), "expected numbers that change: 'y' never changes (1)"),
        (hourly(N, "time,y", lambda *_: [""]), "found no column to forecast, expected numbers that change: 'y' is"),
        (hourly(N, "time", lambda *_: []), "expected numbers that change: only ['time']"),
        (hourly(N, "time,y,x", lambda n, _: ["wet", n % 7]), "'y' is text ('wet'), expected as target one of: x"),
        (hourly(N, "time,z,x", lambda n, _: [n % 5, n % 7]), "found that no column 'y' of measured values, "),
        (
            hourly(N, "time,y,x", lambda n, _: ["broken" if n == 9 else n % 9, n % 7]),
            "found that 'y' has texts among its numbers ('broken'), which a definition may map",
        ),
        (hourly(N, "time,y,x", lambda n, _: [f'"{n % 9},5"', n % 7]), "found that 'y' has decimal commas (0,5)"),
        (hourly(N, "time,y", lambda n, _: [n % 7], step=0.25), "of the times are repeated; found no column that tells"),
    ],
)  # fmt: skip
def test_a_file_that_can_not_be_forecast_is_refused_in_a_sentence(body: bytes, sentence: str):
    said = refusal(body)
    assert said.startswith("a.csv: ")
    assert sentence in said


@pytest.mark.parametrize("separator", [b";", b"\t", b"|"])
def test_other_separators_decimal_commas_and_words_for_nothing_are_read(separator: bytes):
    plain = hourly(N, "time,y,x", lambda n, _: [n % 9 + 0.5, "unavailable" if n == 9 else n % 7])
    other = plain.replace(b",", separator).replace(b".5", b",5")
    assert proposal(other, "y").definition == proposal(plain, "y").definition


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "cp1252"])
def test_text_in_another_encoding_is_read_by_a_definition_that_names_it(encoding: str):
    text = hourly(N, "Zeit;Außen [°C];y", lambda n, _: [n % 9, n % 7]).decode().replace(",", ";")
    body = ("\ufeff" if encoding == "utf-16-be" else "").join(["", text]).encode(encoding)
    suggested = proposal(body, "y")
    stream = suggested.definition
    assert (stream.csv.encoding, list(stream.features)) == (encoding.removesuffix("-be"), ["Außen [°C]"])
    assert len(read(body, stream)) == N
    assert f"read as {stream.csv.encoding}" in suggested.notes[1]


@pytest.mark.parametrize("case", sorted(ROOT.glob("data/*.parquet")), ids=lambda path: path.stem)
def test_every_shipped_file_is_recognised(case: Path):
    suggested = proposal(case.read_bytes(), "P_avg", source=str(case))
    assert suggested.definition.key == "Wind_turbine_name"
    assert list(suggested.definition.features.values()).count("angle") == 3
