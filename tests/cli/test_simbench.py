"""Load profiles: read from the package's table, whose times are local, and downloaded only where they are missing."""

from pathlib import Path

import numpy as np
import pytest

from driftline.errors import InvalidInput, Unavailable
from driftline_cli import simbench

T = simbench.FIRST_T + simbench.PERIOD_MS * np.arange(simbench.RECORDS)


def table(path: Path, times: list[str]) -> Path:
    """As the package has it, with a profile per column, of which one counts the records."""
    names = list(simbench.PROFILES.values())
    lines = [";".join(["time", "BL-H_qload", *names])]
    lines += [";".join([time, "0", *[f"{i}"] * len(names)]) for i, time in enumerate(times)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_times_are_local_through_both_changes_of_the_clock():
    times = simbench.local_times(T)
    assert (times[0], times[-1]) == ("01.01.2016 00:00", "31.12.2016 23:45")
    assert "27.03.2016 02:00" not in times
    assert times.count("30.10.2016 02:15") == 2


def test_chosen_profiles_are_streams_of_their_own(tmp_path: Path):
    streams = simbench.definitions(["heat-pump", "household-a"])
    assert [stream.name for stream in streams] == ["household-a", "heat-pump"]
    first, _ = simbench.read(table(tmp_path / "rows.csv", simbench.local_times(T)), streams)
    assert (first.t.tolist(), first.values[:3, 0].tolist()) == (T.tolist(), [0, 1, 2])
    train, test = simbench.split(first)
    assert len(train) / len(first) == pytest.approx(0.6, abs=1e-4)
    assert (train.t[-1] + simbench.PERIOD_MS, len(train) + len(test)) == (test.t[0], len(first))


def test_a_table_of_other_times_is_refused(tmp_path: Path):
    path = table(tmp_path / "rows.csv", ["01.01.2016 00:00"] * 10)
    with pytest.raises(InvalidInput, match=r"found other times .* downloaded again"):
        simbench.read(path, simbench.definitions(["heat-pump"]))


def test_a_table_without_the_profile_is_refused(tmp_path: Path):
    path = tmp_path / "rows.csv"
    path.write_text("time;H0\n01.01.2016 00:00;1\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match="downloaded again"):
        simbench.read(path, simbench.definitions(["heat-pump"]))


def test_a_file_that_is_there_is_not_downloaded(tmp_path: Path):
    kept = tmp_path / simbench.CACHED
    kept.write_text("time")
    assert simbench.table(tmp_path) == kept


@pytest.mark.process
def test_where_nothing_can_be_downloaded_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(Unavailable, match=r"can't download simbench .*; try again, or name streams .* --only"):
        simbench.table(tmp_path / "cache")
    # Nothing half-done is left that would be taken for the file.
    assert list((tmp_path / "cache").iterdir()) == []
