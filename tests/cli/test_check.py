"""`driftline check`: what would become of a file's rows."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline_cli import file_check
from driftline_cli.__main__ import app

DEFINITION = """name: a
time: {column: time, period: 30min, zone: Europe/Berlin}
key: id
target: y
features: {x: level}
columns: {y: {path: temp, missing: [-127]}}
"""
SPRING = """time;id;temp;battery
2026-03-29T01:30:00;k;1,5;9
2026-03-29T02:00:00;k;2,5;9

2026-03-29T02:30:00;k;3,5;9
2026-03-29T03:00:00;k;-127;9
2026-03-29T03:30:00;k;warm;9
2099-03-29T03:30:00;k;4,5;9
"""


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(DEFINITION)
    return tmp_path / "a.yaml"


def check(file: Path, definition: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", str(file), "--stream", str(definition), *words])
    return result.exit_code, result.output


def test_it_says_what_is_taken_refused_and_missing_with_lines(definition: Path, tmp_path: Path):
    (tmp_path / "spring.csv").write_text(SPRING)
    code, out = check(tmp_path / "spring.csv", definition)
    assert code == 1
    assert "2 rows would be taken, 4 refused" in out
    assert "1 series, from 2026-03-29T00:30:00.000Z to 2026-03-29T01:00:00.000Z" in out
    assert "refused: lines 3, 5 (2): column 'time': found '2026-03-29T02:00:00', expected a time that exists in" in out
    assert "refused: line 7 (1): column 'temp': found 'warm', expected a number between" in out
    assert "refused: line 8 (1): column 'time': found '2099-03-29T" in out
    assert "- columns are separated by semicolons" in out
    assert "- numbers have a decimal comma" in out
    assert "- columns that the file lacks, so that they are missing in every row: x" in out
    assert "- columns that the definition does not name are ignored: battery" in out


def test_a_key_that_comes_twice_in_the_definition_is_said(
    definition: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "spring.csv").write_text(SPRING)
    definition.write_text(f"{DEFINITION}target: y\n")
    caplog.set_level(logging.CRITICAL)  # as the command has it
    caplog.handler.setLevel(logging.NOTSET)
    check(tmp_path / "spring.csv", definition)
    assert "line 7: found 'target' for the second time, which alone counts" in caplog.text


def test_programs_read_the_same(definition: Path, tmp_path: Path):
    (tmp_path / "spring.csv").write_text(SPRING)
    code, out = check(tmp_path / "spring.csv", definition, "--json")
    result = json.loads(out)
    assert (code, result["taken"], result["refused"], result["series"]) == (1, 2, 4, 1)
    assert result["columns"][0] == {"column": "y", "values": 1, "missing": 1, "least": 1.5, "most": 1.5}
    assert [reason["lines"] for reason in result["reasons"]] == [[3, 5], [7], [8]]


def test_a_file_of_good_rows_is_fine(definition: Path, tmp_path: Path):
    (tmp_path / "good.ndjson").write_text('{"time": "2026-03-01T00:00:00", "id": 7, "temp": 1.5, "x": NaN}\n')
    code, out = check(tmp_path / "good.ndjson", definition)
    assert (code, "1 rows would be taken, 0 refused" in out) == (0, True)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("time;id\n1;k\n", "found no column 'temp' among ['time', 'id'], expected ['time', 'id', 'temp', 'x']"),
        ("time,id,temp\n1,k\n", "broken CSV in line 2: found 2 fields, expected 3 as in the header"),
        ('{"time": 1,\n', "broken JSON in line 1"),
    ],
)
def test_a_file_that_can_not_be_read_is_refused_with_where_it_is_broken(
    definition: Path, tmp_path: Path, body: str, message: str
):
    (tmp_path / "broken").write_text(body)
    code, out = check(tmp_path / "broken", definition)
    assert code == 1
    assert message in " ".join(out.split())


def test_repeated_times_and_steps_that_are_no_period_are_pointed_out():
    stream = parse(DEFINITION.replace("Europe/Berlin", "UTC"), "a.yaml")
    hands = ["00:00", "00:07", "00:13", "00:13", "01:13"]
    body = "time,id,temp\n" + "".join(f"2026-03-01 {time},k,1\n" for time in hands)
    result = file_check.check(tables.examine(body.encode(), stream, "a.csv"), stream)
    assert (result.repeated, round(result.uneven, 2)) == (1, 0.67)
    assert any("67% of the steps between records" in note for note in file_check.notes(result))


def test_of_many_refusals_the_first_lines_are_shown_and_all_are_counted():
    stream = parse(DEFINITION, "a.yaml")
    body = "time,id,temp\n" + "".join(f"2026-03-01 {n // 60:02}:{n % 60:02},k,{'x' if n else 1}\n" for n in range(1200))
    content = tables.examine(body.encode(), stream, "a.csv")
    assert (content.refused, len(content.refusals), len(content.rows)) == (1199, 1000, 1)
    (reason,) = file_check.check(content, stream).reasons
    assert file_check.sentence(reason, "line").startswith("refused: lines 3, 4, 5, 6, 7, … (1,000)")
    assert np.isfinite(content.rows.values[0, 0])


def test_a_target_that_looks_like_a_direction_is_pointed_out():
    stream = parse("name: wind\ntime: {column: t, zone: UTC, period: 1min}\nkey: id\ntarget: w\n", "a.yaml")
    steps = {"a": 7, "b": -11}
    turning = [
        f"2026-03-01T{n // 60:02}:{n % 60:02}:00,{key},{n * step % 360}"
        for key, step in steps.items()
        for n in range(200)
    ]
    level = [f"2026-03-01T{n // 60:02}:{n % 60:02}:00,k,{n % 90}" for n in range(200)]
    for rows, said in ((turning, True), (level, False), ([], False)):
        content = tables.examine("\n".join(["t,id,w", *rows, ""]).encode(), stream, "a.csv")
        notes = list(file_check.notes(file_check.check(content, stream)))
        assert any("'w' looks like a direction: a target is forecast as" in note for note in notes) is said
        assert any("looks like a direction" in warning for warning in file_check.warnings(content, stream)) is said
