"""A source and its streams by their names: what is sent is the source's, all else is one stream's."""

from pathlib import Path

import pytest

from driftline.errors import InvalidInput
from driftline_cli import chosen

STATION = "name: station\ntargets: [temp, hum]\ntime: {column: when, period: 1h}\n"
FROST = "name: frost\nsource: station\ntarget: soil\ntime: {column: when, period: 1h}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "station.yaml").write_text(STATION)
    (tmp_path / "frost.yaml").write_text(FROST)
    monkeypatch.setenv(chosen.FOLDER, str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["station", "frost", "station-hum"])
@pytest.mark.usefixtures("folder")
def test_what_is_sent_has_the_columns_of_all_streams_of_the_source(name: str):
    source = chosen.sent(name)
    assert (source.source, set(source.columns)) == ("station", {"temp", "hum", "soil"})


@pytest.mark.usefixtures("folder")
def test_one_stream_is_meant_by_its_name():
    assert chosen.defined("station-hum").columns == ("hum",)
    with pytest.raises(InvalidInput, match="found 3 streams in station, expected the name of one: frost, station-temp"):
        chosen.defined("station")


def test_a_file_of_several_targets_is_sent_as_a_whole(folder: Path):
    file = str(folder / "station.yaml")
    assert chosen.sent(file).columns == ("temp", "hum")
    with pytest.raises(
        InvalidInput, match=r"found 2 streams in .*, expected the name of one: station-temp, station-hum"
    ):
        chosen.named(file)
    assert chosen.named(str(folder / "frost.yaml")) == "frost"
