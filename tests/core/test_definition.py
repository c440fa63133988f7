"""A definition says what is wrong with it: file, line, key, found, expected."""

import json
import tracemalloc
from pathlib import Path

import pytest

from driftline.errors import InvalidDefinition
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load, load_folder, parse
from tests.conftest import ROOT

LEAST = "name: a\ntime: {column: when, period: 10min}\ntarget: y\n"


def test_the_streams_that_come_along_are_valid():
    streams = load_folder(ROOT / "streams")
    assert set(streams) == {"outdoor-temperature", "active-power"}
    assert streams["active-power"].columns[0] == "P_avg"
    assert all(stream.season == 144 for stream in streams.values())
    assert [streams[name].unit for name in ("outdoor-temperature", "active-power")] == ["°C", "kW"]


def test_the_least_definition_is_one_series_forecast_one_step_ahead():
    stream = parse(LEAST, "a.yaml")
    assert (stream.key, stream.columns, stream.horizon) == (None, ("y",), (1,))


def test_a_key_that_comes_twice_is_said_and_the_later_one_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "a.yaml"
    file.write_text(f"{LEAST}features: {{x: level, x: angle}}\nhorizon: [1]\ncsv: {{separator: ';'}}\nhorizon: [2]\n")
    assert load(file).horizon == (2,)
    assert [record.getMessage() for record in caplog.records] == [
        f"{file}: line 4: found 'x' for the second time, which alone counts",
        f"{file}: line 7: found 'horizon' for the second time, which alone counts",
    ]


@pytest.mark.parametrize("targets", ["target: wind", "targets: [y, wind]"])
def test_a_target_that_is_an_angle_too_is_said(targets: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    file = tmp_path / "a.yaml"
    file.write_text(LEAST.replace("target: y", targets) + "features: {wind: angle}\n")
    load(file)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "found the target 'wind' among the features as an angle: a target is forecast as a plain number" in said[0]


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        ("{}", None),
        ("{y: level}", None),
        ('{y: {unit: " kW "}}', "kW"),
        ('{y: {unit: ""}}', None),
        ("{y: {scale: 2}}", None),
    ],
)
def test_the_target_has_the_unit_of_its_column(columns: str, unit: str | None):
    assert parse(f"{LEAST}columns: {columns}\n", "a.yaml").unit == unit


@pytest.mark.parametrize(
    ("text", "written"),
    [("[0, 3000]", [0.0, 3000.0]), ("[0, null]", [0.0, None]), ("{y: [null, 5]}", {"y": [None, 5.0]})],
)
def test_a_range_is_written_as_it_was_read_and_without_a_warning(text: str, written: object):
    """Warnings are errors here. A training names its definition so."""
    stream = parse(f"{LEAST}range: {text}\n", "a.yaml")
    assert json.loads(stream.model_dump_json())["possible"] == written


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LEAST + "lags: twelve\n", "a.yaml: line 4: lags: found 'twelve', expected: Input should be a valid integer"),
        (LEAST + "lags: 1\n", "a.yaml: line 4: lags: found 1, expected: Input should be greater than or equal to 2"),
        (LEAST + "lagz: 12\n", "a.yaml: line 4: lagz: found a key that no stream definition has"),
        ("name: a\ntarget: y\n", "a.yaml: line 1: time: found nothing, expected this key"),
        (LEAST.replace("10min", "10"), "line 2: time.period: found 10, expected a length of time such as 30s"),
        (LEAST.replace("period", "zone: Mars, period"), "found 'Mars', expected `required` or the name of a time zone"),
        (
            LEAST.replace("period", "zone: Europe, period"),
            "found 'Europe', expected `required` or the name of a time zone",
        ),
        (LEAST + "calendar: {zone: Mars}\n", "line 4: calendar.zone: found 'Mars', expected the name of a time zone"),
        (LEAST + "calendar: {zone: paris}\n", "such as Europe/Paris; near it: Europe/Paris"),
        (LEAST + "calendar: {zone: Europe/Pariss}\n", "near it: Europe/Paris"),
        (LEAST + "calendar: {zone: required}\n", "found 'required', expected the name of a time zone"),
        (LEAST + "calendar: {holidays: XX}\n", "line 4: calendar.holidays: found 'XX', expected a code of ISO 3166"),
        (LEAST + "calendar: {holidays: DE-XX}\n", "found 'DE-XX', expected DE, or one of DE-BB, DE-BE"),
        (LEAST + "calendar: {holidays: NO}\n", "found False, expected a country's code; YAML reads NO as false"),
        (
            LEAST + "calendar: {holidays: 33}\n",
            "line 4: calendar.holidays: found 33, expected: Input should be a valid",
        ),
        (LEAST + "season: [1d, 30d]\n", "line 4: season.1: found '30d', expected 1d or 7d"),
        (LEAST + "season: [daily]\n", "line 4: season.0: found 'daily', expected 1d or 7d"),
        (
            LEAST.replace("10min", "1d") + "season: [1d, 7d]\n",
            "season: found 1d, expected 7d: a whole number of periods",
        ),
        (LEAST.replace("10min", "1s") + "season: 1d\n", "season: found 1d, expected an empty list: a whole"),
        (LEAST.replace("10min", "10min, ahead: 0min"), "line 2: time.ahead: found '0min', expected a length of time"),
        (LEAST + "horizon: [6, 1]\n", "horizon: found [6, 1], expected ascending steps, each once"),
        (LEAST + "horizon: 0\n", "line 4: horizon.0: found 0, expected: Input should be greater"),
        (LEAST + "key: y\n", "found 'y' as more than one of time, key, group, target, features and futures"),
        (LEAST + "weighting: {active: best}\n", "line 4: weighting.active: found 'best', expected"),
        (LEAST + "drift:\n  delta: 2\n", "line 5: drift.delta: found 2, expected"),
        (LEAST + "columns: {z: a.b}\n", "columns: found 'z', expected one of when, y"),
        (
            LEAST + "columns: {y: {constant: k}}\n",
            "columns.y: found a constant, expected it for the columns of key and",
        ),
        (LEAST + "columns: {when: {scale: 2}}\n", "columns.when: found how numbers are written, expected a path"),
        (LEAST + "columns: {y: {scale: 0}}\n", "line 4: columns.y.scale: found 0, expected another number than 0"),
        (LEAST + "columns: {y: {offset: .nan}}\n", "columns.y.offset: found nan, expected a finite number"),
        (LEAST + "columns: {y: {path: a, constant: b}}\n", "found path 'a' and constant 'b', expected one of them"),
        (
            LEAST + "csv: {encoding: klingon}\n",
            "found 'klingon', expected an encoding such as utf-8, latin-1 or cp1252",
        ),
        (LEAST + "csv: {decimal: ;}\n", "line 4: csv.decimal: found ';', expected"),
        (LEAST + "unknown: warn\n", "line 4: unknown: found 'warn', expected"),
        (
            LEAST.replace("period", "format: unix, period"),
            "time.format: found 'unix', expected one of iso, s, ms, us, ns",
        ),
        (LEAST.replace("period", "arrival: always, period"), "time.arrival: found 'always', expected"),
        (LEAST.replace("target: y", "target: &a [*a]"), "line 3: target: found a list of 1 value, expected"),
        (LEAST + "features: [a, {b: level}]\n", "line 4: features: found a list of 2 values, expected"),
        (LEAST + "key: {a: [1], b: 2}\n", "line 4: key: found a section of 2 keys, expected"),
        (LEAST + "key: 2026-01-01\n", "line 4: key: found 2026-01-01, expected"),
        (LEAST + f"key: 0x{'f' * 9000}\n", "line 4: key: found a number of more than 120 digits, expected"),
        (LEAST + "key: 2026-13-01\n", "a.yaml: not YAML: month must be in 1..12"),
        (LEAST + f"key: {'[' * 500}\n", "a.yaml: found lists or keys in each other without end"),
        (LEAST + "key: " + "[" * 50_000 + "\n", "a.yaml: found lists or keys in each other without end"),
        (LEAST + "key: " + "[" * 50_000 + "]" * 50_000, "a.yaml: found lists or keys in each other without end"),
        ("- a\n", "found list, expected keys and values"),
        ("a: [\n", "a.yaml: not YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str):
    with pytest.raises(InvalidDefinition) as error:
        parse(text, "a.yaml")
    assert message in str(error.value)


BILLIONS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]\n" for n in range(12))
"""Lists of lists: as text they would fill any memory."""


@pytest.mark.parametrize(
    "text",
    [
        BILLIONS + LEAST.replace("y", "*a11"),
        LEAST.replace("y", "x" * 9000),
        LEAST + f"{'x' * 9000}: 1\n",
        LEAST + f"key: !{'x' * 9000} a\n",
        LEAST + "".join(f"k{n}: 1\n" for n in range(9000)),
        f"long: &long {'x' * 30_000}\n" + LEAST + f"lags: [{', '.join(['*long'] * 5000)}]\n",
    ],
    ids=["aliases", "a text", "a key", "a tag", "many keys", "a text many times"],
)
def test_what_is_wrong_is_said_in_bounded_length(text: str):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDefinition) as error:
            parse(text + "weighting: 1\n", "a.yaml")
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    lines = str(error.value).splitlines()
    assert len(lines) <= 21
    assert max(map(len, lines)) < 600


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidDefinition, match=r"none\.yaml: can't be read"):
        load(tmp_path / "none.yaml")


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(LEAST)
    (tmp_path / "b.yaml").write_text(LEAST)
    with pytest.raises(InvalidDefinition, match=r"b\.yaml: name: found 'a', which another file has already"):
        load_folder(tmp_path)


def test_the_fingerprint_changes_with_what_a_model_sees_and_with_nothing_else(temperature: StreamDefinition):
    same = temperature.model_copy(update={"description": "other", "window": 99})
    other = temperature.model_copy(update={"lags": 13})
    assert same.fingerprint == temperature.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    ("period", "season", "week"),
    [
        ("1min", 1440, 10_080),
        ("1h", 24, 168),
        ("7min", 0, 1440),
        ("11min", 0, 0),
        ("1s", 0, 0),
        ("12h", 2, 14),
        ("1d", 0, 7),
        ("84h", 0, 2),
        ("7d", 0, 0),
    ],
)
def test_day_and_week_are_looked_back_on_where_they_are_a_whole_and_bearable_number_of_records(
    period: str, season: int, week: int
):
    stream = parse(LEAST.replace("10min", period), "a.yaml")
    assert (stream.season, stream.week) == (season, week)
    assert stream.seasons == tuple(records for records in (season, week) if records)


@pytest.mark.parametrize(
    ("season", "records"),
    [("[1d]", (144, 0)), ("7d", (0, 1008)), ("[7d, 1d]", (144, 1008)), ("[24h]", (144, 0)), ("[]", (0, 0))],
)
def test_a_stream_may_say_which_seasons_it_has(season: str, records: tuple[int, int]):
    stream = parse(f"{LEAST}season: {season}\n", "a.yaml")
    assert (stream.season, stream.week) == records


def test_a_day_is_looked_back_on_from_horizons_beyond_it():
    assert parse(LEAST + "horizon: [1, 144, 1000]\n", "a.yaml").season == 144


@pytest.mark.parametrize(
    ("time", "calendar", "zone"),
    [
        ("required", "", "UTC"),
        ("Europe/Paris", "", "Europe/Paris"),
        ("Europe/Paris", "calendar: {holidays: FR}\n", "Europe/Paris"),
        ("required", "calendar: {zone: Asia/Kolkata}\n", "Asia/Kolkata"),
        ("UTC", "calendar: {zone: Asia/Kolkata, holidays: IN}\n", "Asia/Kolkata"),
    ],
)
def test_the_calendar_is_in_its_zone_or_else_in_that_of_the_times(time: str, calendar: str, zone: str):
    assert parse(LEAST.replace("period", f"zone: {time}, period") + calendar, "a.yaml").zone == zone


def test_calendar_and_seasons_change_the_fingerprint_where_they_are_not_the_default():
    plain = parse(LEAST, "a.yaml").fingerprint
    same = ["calendar: {zone: UTC}", "season: [1d, 7d]"]
    other = ["calendar: {zone: Europe/Paris}", "calendar: {holidays: FR}", "calendar: {holidays: DE}", "season: [1d]"]
    assert {parse(f"{LEAST}{line}\n", "a.yaml").fingerprint for line in same} == {plain}
    assert len({plain, *(parse(f"{LEAST}{line}\n", "a.yaml").fingerprint for line in other)}) == len(other) + 1


def test_a_stream_may_say_how_many_keys_it_has_and_when_they_are_forgotten():
    text = "name: a\ntime: {column: when, period: 1d}\nkey: id\ntarget: y\n"
    plain, own = parse(text, "a.yaml"), parse(f"{text}keys: 3\nforget: 90d\n", "a.yaml")
    assert (plain.keys, plain.forget, own.keys, own.forget) == (10_000, 30 * 86_400, 3, 90 * 86_400)
    assert own.longest_silence == 90 * 86_400_000
    assert own.fingerprint == plain.fingerprint


def test_a_key_is_not_forgotten_while_its_forecast_awaits_the_truth():
    slow = parse("name: a\ntime: {column: when, period: 30d}\nkey: id\ntarget: y\nforget: 30d\n", "a.yaml")
    assert slow.longest_silence == (slow.lags + slow.horizon[-1] + slow.patience) * 30 * 86_400_000


@pytest.mark.parametrize(("time", "seconds"), [("1s", 300), ("1h", 3600), ("10min, ahead: 30s", 30)])
def test_a_record_may_be_ahead_by_a_period_or_five_minutes_or_as_it_says(time: str, seconds: int):
    assert parse(LEAST.replace("10min", time), "a.yaml").time.tolerance == seconds


def test_columns_are_paths_or_more_and_words_that_yaml_reads_as_booleans_are_words():
    stream = parse(
        LEAST + "features: {x: level}\ncolumns: {y: a.b, x: {missing: off, values: {on: 1, Closed: 0}}}\n", "a.yaml"
    )
    assert stream.sources["y"].path == "a.b"
    assert not stream.sources["y"].converts
    assert stream.sources["x"].missing == ("false", "off", "no")
    assert stream.sources["x"].values == {"true": 1.0, "on": 1.0, "yes": 1.0, "closed": 0.0}


def test_a_model_fits_whatever_the_device_calls_its_columns():
    plain, mapped = (parse(text, "a.yaml") for text in (LEAST, LEAST + "columns: {y: {path: a.b, scale: 0.1}}\n"))
    assert mapped.fingerprint == plain.fingerprint
    assert mapped.mapped.sources == {}


def test_the_time_may_stay_unnamed():
    assert parse("name: a\ntime: {period: 1h}\ntarget: y\n", "a.yaml").time.column == "time"
