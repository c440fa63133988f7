"""One source, many streams: which definitions fit together, and what a record is to each of them."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.bus.port import Envelope
from driftline.errors import InvalidDefinition
from driftline.messages import ALERTS, FORECASTS, RECORDS, Forecast, Record
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load_folder, parse
from driftline.streams.message_validation import refusal
from driftline.streams.sources import joined, records_of
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop_settings import LoopSettings
from driftline_inference.step import ForecastStep
from tests.core.crashing import Crash, Scenario
from tests.core.test_recovery import CRASHES, GROUPS, compare, loops
from tests.watching import WatchingModel

pytestmark = pytest.mark.unit

HOUR_MS = 3_600_000
BASE = "time: {column: when, period: 1h}\nkey: k\nlags: 3\nhorizon: [1, 2]\nforget: 10h\n"
WEATHER = f"name: weather\ntargets: [temp, Rel_hum]\nfeatures: {{wind: level, temp: level}}\n{BASE}"
TEMPERATURE = f"name: temperature\nsource: station\ntarget: temp\nfeatures: {{wind: level}}\n{BASE}"
HUMIDITY = f"name: humidity\nsource: station\ntarget: hum\nfeatures: {{temp: level}}\n{BASE}"


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_targets_are_a_stream_each_of_one_source():
    temperature, humidity = parse(WEATHER, "weather.yaml").streams
    assert (temperature.name, temperature.source, temperature.columns) == ("weather-temp", "weather", ("temp", "wind"))
    assert humidity.name == "weather-rel-hum"
    # The other target is learned from, since `features` names it.
    assert humidity.columns == ("Rel_hum", "wind", "temp")
    source = joined([temperature, humidity])
    assert (source.name, source.awaited_columns) == ("weather", ("temp", "Rel_hum"))
    assert source.columns == ("temp", "wind", "Rel_hum")


def test_each_stream_keeps_of_the_mapping_what_it_reads():
    mapped = parse(f"{WEATHER}columns: {{when: time, temp: a.b, Rel_hum: {{scale: 0.1}}}}\n", "weather.yaml")
    temperature, humidity = mapped.streams
    assert set(temperature.sources) == {"when", "temp"}
    assert joined([temperature, humidity]).sources == mapped.sources


def test_a_stream_that_shares_with_nobody_is_its_own_source_as_it_was():
    alone = parse(f"name: a\ntarget: y\n{BASE}", "a.yaml")
    assert alone.streams == (alone,)
    assert joined([alone]) is alone
    record = Record("a", "k", 0, {"y": 1.0}, 0.0)
    (same,) = records_of(record, [alone])
    assert same is record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name: a\ntarget: y\ntargets: [y]\n{BASE}", "found both `target` and `targets`, expected one of them"),
        (f"name: a\n{BASE}", "a.yaml: line 1: target: found nothing, expected this key"),
        ("name: a\ntime: {period: soon}\n", "a.yaml: line 2: time.period: found 'soon', expected a length of time"),
        (f"name: a\ntargets: []\n{BASE}", "line 2: targets: found []"),
        (f"name: a\ntargets: [x y, x-y]\n{BASE}", "targets: found two whose stream would be 'a-x-y'"),
        (f"name: a\ntargets: [{'y' * 70}]\n{BASE}", "expected a name of at most 63 characters"),
        (f"name: a\nsource: A\ntarget: y\n{BASE}", "line 2: source: found 'A'"),
    ],
)
def test_what_is_wrong_with_targets_is_named(text: str, message: str):
    with pytest.raises(InvalidDefinition) as error:
        parse(text, "a.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (HUMIDITY.replace("period: 1h", "period: 2h"), "time: found {'column': 'when', 'period': 7200}"),
        (HUMIDITY.replace("key: k", "key: id"), "key: found 'id', expected 'k'"),
        (f"{HUMIDITY}keys: 7\n", "keys: found 7, expected 10000"),
        (f"{HUMIDITY}window: 7\n", "window: found 7, expected 250"),
        (f"{HUMIDITY}csv: {{decimal: ','}}\n", "csv: found {'decimal': ','}, expected {}"),
        (f"{HUMIDITY}group: all\n", "group: found 'all', expected None"),
        (f"{HUMIDITY}columns: {{temp: {{scale: 0.1}}}}\n", "columns.temp: found {'scale': 0.1}, expected {}"),
        (f"{HUMIDITY}columns: {{when: stamp}}\n", "columns.when: found {'path': 'stamp'}, expected {}"),
    ],
)
def test_streams_of_a_source_that_say_different_things_are_refused_with_both_files(
    tmp_path: Path, other: str, message: str
):
    folder = files(tmp_path, a=TEMPERATURE, b=other)
    with pytest.raises(InvalidDefinition) as error:
        load_folder(folder)
    assert f"{folder / 'b.yaml'}: {message}" in str(error.value)
    assert "as in a.yaml: both are of the source 'station'" in str(error.value)
    streams = Streams.open(folder)
    assert list(streams) == ["temperature"]
    assert streams.refused == {"b.yaml": str(error.value)}


GRID = "grid: {grace: 1, take: {temp: last}}\n"


@pytest.mark.parametrize(
    ("grid", "features", "message"),
    [
        ("", "temp: level", "grid: found None, expected {'grace': 1.0}"),
        ("grid: {take: {temp: last}}\n", "temp: level", "grid: found {}, expected {'grace': 1.0}"),
        ("grid: {grace: 1, take: {temp: last}, fill: last}\n", "temp: level", "grid: found {'grace': 1.0, 'fill':"),
        ("grid: {grace: 1}\n", "temp: level", "grid.take.temp: found 'mean', expected 'last'"),
        (GRID, "temp: level, wind: angle", "features.wind: found 'angle', expected 'level'"),
    ],
)
@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_grids_that_disagree_are_refused_with_both_files(
    tmp_path: Path, names: tuple[str, str], grid: str, features: str, message: str
):
    other = f"{HUMIDITY.replace('temp: level', features)}{grid}"
    folder = files(tmp_path, **dict(zip(names, (f"{TEMPERATURE}{GRID}", other), strict=True)))
    with pytest.raises(InvalidDefinition) as error:
        load_folder(folder)
    key, found = message.split(": found ", maxsplit=1)[0], message.split(": found ")[1].split(",", maxsplit=1)[0]
    assert f"b.yaml: {key}: found" in str(error.value)
    assert found in str(error.value)
    assert "as in a.yaml: both are of the source 'station'" in str(error.value)


@pytest.mark.parametrize("grid", ["every: 1h, hold: 1d", "hold: 24h", "every: 60min"])
def test_a_grid_that_says_what_it_need_not_is_the_same(tmp_path: Path, grid: str):
    humidity = f"{HUMIDITY}grid: {{grace: 1, take: {{temp: last, hum: max}}, {grid}}}\n"
    streams = Streams.open(files(tmp_path, a=f"{TEMPERATURE}{GRID}", b=humidity))
    assert streams.refused == {}
    source = streams.sources["station"]
    assert source.grid is not None
    assert {name: source.grid.take_of(name) for name in source.columns} == {
        "temp": "last",
        "wind": "mean",
        "hum": "max",
    }


def test_a_direction_that_is_a_target_too_has_the_mean_of_directions(tmp_path: Path):
    text = f"name: w\ntargets: [temp, wind]\nfeatures: {{wind: angle}}\n{BASE}grid: {{}}\n"
    streams = Streams.open(files(tmp_path, a=text))
    assert dict(zip(streams.sources["w"].columns, streams.sources["w"].angles, strict=True)) == {
        "temp": False,
        "wind": True,
    }


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_name_is_a_source_or_a_stream_of_it(tmp_path: Path, names: tuple[str, str]):
    station = f"name: station\ntarget: wind\nsource: elsewhere\n{BASE}"
    files(tmp_path, **dict(zip(names, (TEMPERATURE, station), strict=True)))
    with pytest.raises(InvalidDefinition, match="expected `source: station` as 'temperature' has it"):
        load_folder(tmp_path)


async def test_a_stream_that_is_added_gives_its_source_more_columns_behind_the_others(tmp_path: Path):
    streams = Streams.open(files(tmp_path, b=TEMPERATURE))
    heard: list[StreamDefinition] = []
    streams.sources.on_every(heard.append)
    files(tmp_path, a=HUMIDITY)
    await streams.look()
    assert list(streams) == ["temperature", "humidity"]
    assert [source.columns for source in heard] == [("temp", "wind"), ("temp", "wind", "hum")]
    assert streams.sources["station"] is heard[-1]
    assert streams.sources.of_stream("humidity") == "station"


async def test_a_stream_that_does_not_fit_those_that_run_waits_for_a_restart(tmp_path: Path):
    streams = Streams.open(files(tmp_path, b=TEMPERATURE))
    files(tmp_path, a=f"{HUMIDITY}keys: 7\n", b=f"{TEMPERATURE}keys: 7\n")
    await streams.look()
    assert list(streams) == ["temperature"]
    assert "keys: found 7, expected 10000 as in the definition with which" in streams.refused["humidity"]
    assert {state.state for state in streams.standings()} == {"changed"}


def test_a_record_from_before_a_stream_was_there_is_nothing_to_it():
    streams = [parse(TEMPERATURE, "a"), parse(HUMIDITY, "b")]
    before = Record("station", "k", 0, {"temp": 1.0, "wind": None}, 0.0)
    assert [part.stream for part in records_of(before, streams)] == ["temperature"]
    after = structs.replace(before, values={"temp": 1.0, "wind": None, "hum": None})
    assert [part.values for part in records_of(after, streams)] == [
        {"temp": 1.0, "wind": None},
        {"hum": None, "temp": 1.0},
    ]
    sources = {"station": joined(streams)}
    assert refusal(sources, "station", before.values) is None
    assert "found no value for 'temp'" in str(refusal(sources, "station", {"other": 1.0}))


def course(seed: int) -> list[Record]:
    """Records of a source: missing, repeated, late, some without one of the targets or with it later, and futures."""
    random = np.random.default_rng(seed)
    sent: list[tuple[float, Record]] = []
    for hour in range(40):
        for key, group in GROUPS.items():
            values: dict[str, float | None] = {name: round(float(random.normal()), 3) for name in ("a", "b", "x")}
            record = Record("s", key, hour * HOUR_MS, values, 0.0, group)
            lacking = [name for name in ("a", "b") if random.random() < 0.15]
            sent.append((hour, structs.replace(record, values=values | dict.fromkeys(lacking))))
            if lacking:
                some = dict.fromkeys(lacking[1:])
                sent.append((hour + 3 * random.random(), structs.replace(record, values=values | some)))
            if random.random() < 0.2:
                future = structs.replace(record, t=(hour + 2) * HOUR_MS, values={"f": 1.0}, issued=hour * HOUR_MS)
                sent.append((hour + random.random(), future))
    return [record for _, record in sorted(sent, key=lambda pair: pair[0])]


def of_source(target: str, more: str = "") -> StreamDefinition:
    return parse(f"name: of-{target}\nsource: s\ntarget: {target}\nfeatures: {{x: level}}\n{BASE}{more}", target)


SHAPES = {
    "alone": (of_source("a"), of_source("b", "patience: 3\n")),
    "foreseeing": (of_source("a", "futures: {f: level}\n"), of_source("b")),
    "together": (of_source("a", "group: g\ntogether: true\n"), of_source("b", "group: g\n")),
}


def inference(streams: tuple[StreamDefinition, ...], model: WatchingModel | None = None) -> KeyedStep[Record]:
    serving = {(stream.name, "batch"): model for stream in streams if model is not None}
    steps = {stream.name: ForecastStep(stream, lambda: serving) for stream in streams}
    sources = Streams(dict(zip(steps, streams, strict=True))).sources
    return KeyedStep(steps, lambda *_: None, parts=lambda record: records_of(record, sources.streams_of(record.stream)))


def forecasts(step: KeyedStep[Record], sent: list[Record], cuts: int) -> list[Forecast]:
    found: list[Forecast] = []
    for start in range(0, len(sent), cuts):
        part = [Envelope(0, n, record.t / 1000, record) for n, record in enumerate(sent)][start : start + cuts]
        found += [output.message for output in step.step(part) if isinstance(output.message, Forecast)]
    return found


def comparable(forecast: Forecast) -> str:
    """As it travels: NaN and missing are the same there."""
    return FORECASTS.encode(forecast).decode()


@pytest.mark.parametrize("shape", SHAPES)
@given(st.integers(0, 2**32 - 1), st.integers(1, 50))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_streams_of_a_source_forecast_what_they_would_alone(shape: str, seed: int, cuts: int):
    streams, sent = SHAPES[shape], course(seed)
    shared = forecasts(inference(streams), sent, cuts)
    assert any(math.isfinite(forecast.members["rls"][0]) for forecast in shared if "rls" in forecast.members)
    for stream in streams:
        columns = stream.model_copy(update={"source_name": None})
        own = [part for record in sent for part in records_of(record, [stream])]
        alone = forecasts(inference((columns,)), own, cuts)
        assert [comparable(f) for f in shared if f.stream == stream.name] == [comparable(f) for f in alone]


@pytest.mark.parametrize("shape", SHAPES)
@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_killed_anywhere_they_go_on_as_if_nothing_had_been(
    shape: str, seed: int, loop: LoopSettings, crashes: list[Crash]
):
    scenario = Scenario(RECORDS, course(seed), lambda: inference(SHAPES[shape], WatchingModel(2)), [FORECASTS, ALERTS])
    compare(scenario, loop, crashes)
