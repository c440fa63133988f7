"""All series in short: found, sorted, paged and judged; and what small pictures are drawn from."""

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
import stamina

from driftline.bus.memory import MemoryBus
from driftline.errors import InvalidInput
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast
from driftline.service.settings import read_settings
from driftline.streams.definition_files import parse
from driftline_combiner.app import create_app
from driftline_combiner.recent_truths import TRUTHS, RecentTruths
from driftline_combiner.series_index import LOOK_EVERY
from driftline_combiner.settings import CombinerSettings
from tests.serving import served

HOUR = 3_600_000
BEGIN = 1_767_225_600_000
RECORDS = 120
TANK = parse(
    "name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: level\nhorizon: [1, 6]\n"
    "columns: {level: {unit: cm}}\n",
    "tank.yaml",
)
SUN = parse("name: sun\ntime: {column: when, period: 1h}\nkey: id\ntarget: power\nhorizon: [2]\n", "sun.yaml")
together = pytest.mark.asyncio(loop_scope="module")
"""One combiner for all that only read it."""
LEVEL = 5 + np.sin(np.arange(RECORDS + 6) / 3)


def forecasts(stream: str, key: str, error: float, last: int = RECORDS) -> list[Forecast]:
    """A model whose errors have that size."""
    horizon = [1, 6] if stream == "tank" else [2]
    return [
        Forecast(
            stream,
            key,
            BEGIN + n * HOUR,
            float(LEVEL[n]),
            horizon,
            {
                "persistence": [float(LEVEL[n])] * len(horizon),
                "batch": [float(LEVEL[n + h]) + error * (-1) ** n for h in horizon],
            },
            {"batch": "v000001-aaaaaaaaaaaa"},
            0.0,
        )
        for n in range(last)
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    bus = MemoryBus()
    settings = CombinerSettings(embed=("https://home.example.org",))
    app = create_app(settings, bus, streams={"tank": TANK, "sun": SUN}, on_death=lambda *_: None)
    async with served(app) as address, httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
        await bus.publish(FORECASTS, forecasts("tank", "good", 0.01))
        await bus.publish(FORECASTS, forecasts("tank", "poor", 4.0))
        await bus.publish(FORECASTS, forecasts("tank", "früh/1", 0.05, RECORDS - 20))
        await bus.publish(FORECASTS, forecasts("sun", "roof", 0.1, 20))
        await bus.publish(ALERTS, [Alert("tank", "good", BEGIN + 100 * HOUR, "drift", "level", "level has moved by 5")])
        await _until_all_is_there(client)
        yield client


@stamina.retry(on=AssertionError, attempts=None, timeout=60, wait_initial=0.1, wait_max=LOOK_EVERY / 2)
async def _until_all_is_there(client: httpx.AsyncClient) -> None:
    page = (await client.get("/v1/overview/series")).json()
    ends = {row["key"]: (row["t"] - BEGIN) // HOUR for row in page["series"]}
    assert ends == {"roof": 19, "früh/1": RECORDS - 21, "good": RECORDS - 1, "poor": RECORDS - 1}
    assert page["counts"]["alerts"] >= 1


async def rows(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return (await client.get("/v1/overview/series", params=query)).raise_for_status().json()["series"]


async def keys(client: httpx.AsyncClient, **query: Any) -> list[str]:
    return [row["key"] for row in await rows(client, **query)]


@together
async def test_a_row_has_truths_next_values_trust_and_alert(client: httpx.AsyncClient) -> None:
    [row] = await rows(client, stream="tank", key="good")
    assert (row["unit"], row["period"], row["horizon"]) == ("cm", 3600, 1)
    assert len(row["truth"]) == TRUTHS
    assert row["truth"][-1] == pytest.approx(LEVEL[RECORDS - 1], rel=1e-4)
    assert [one["t"] for one in row["ahead"]] == [BEGIN + (RECORDS - 1 + h) * HOUR for h in (1, 6)]
    assert row["ahead"][0]["lower"] < row["ahead"][0]["value"] < row["ahead"][0]["upper"]
    assert row["alert"] == {"t": BEGIN + 100 * HOUR, "kind": "drift", "detail": "level has moved by 5"}
    assert row["skill"] > 0.5
    [far] = await rows(client, key="good", horizon=6)
    assert (far["horizon"], far["skill"] == row["skill"]) == (6, False)


@together
async def test_series_are_sorted_by_who_needs_a_look_first(client: httpx.AsyncClient) -> None:
    assert await keys(client) == ["roof", "früh/1", "good", "poor"]
    assert await keys(client, order="reverse") == ["poor", "good", "früh/1", "roof"]
    assert (await keys(client, sort="alert"))[0] == "good"
    assert (await keys(client, sort="age"))[0] == "roof"
    skilled = [row["skill"] for row in await rows(client, stream="tank", sort="skill")]
    assert skilled == sorted(skilled)
    backwards = [row["skill"] for row in await rows(client, stream="tank", sort="skill", order="reverse")]
    assert backwards == skilled[::-1]
    order = [row["trust"]["verdict"] for row in await rows(client, sort="trust")]
    assert order == sorted(order, key=["bad", "care", "unknown", "good"].index)


@together
async def test_they_are_found_by_a_part_of_their_name(client: httpx.AsyncClient) -> None:
    assert await keys(client, search="FRÜH") == ["früh/1"]
    assert await keys(client, search="tank/g") == ["good"]
    assert await keys(client, search="nothing") == []
    assert (await client.get("/v1/overview/series", params={"stream": "none"})).status_code == 404


@together
async def test_pages_are_counted_and_known_ones_not_sent_again(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/overview/series", params={"limit": 2, "offset": 1})
    assert (answer.json()["total"], [row["key"] for row in answer.json()["series"]]) == (4, ["früh/1", "good"])
    again = await client.get(
        "/v1/overview/series", params={"limit": 2, "offset": 1}, headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert await keys(client, offset=100) == []
    refused: list[Any] = [
        {"limit": 201},
        {"limit": 0},
        {"offset": -1},
        {"sort": "size"},
        {"search": "x" * 201},
    ]
    for wrong in refused:
        assert (await client.get("/v1/overview/series", params=wrong)).status_code == 422


@together
async def test_a_series_says_how_far_it_is_behind_its_stream(client: httpx.AsyncClient) -> None:
    behind = {row["key"]: row["behind"] for row in await rows(client)}
    assert behind == {"good": 0, "poor": 0, "früh/1": 20 * 3600, "roof": 0}


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@together
async def test_past_forecasts_come_as_csv_beside_their_truths(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/csv/past/tank/good")).raise_for_status()
    assert answer.headers["Content-Type"].startswith("text/csv")
    lines = table(answer.text)
    assert len(lines) == 2 * RECORDS
    first = lines[0]
    assert (first["time"], first["horizon"], first["unit"]) == ("2026-01-01T01:00:00+00:00", "1", "cm")
    assert first["issued"] == "2026-01-01T00:00:00+00:00"
    assert float(first["truth"]) == pytest.approx(LEVEL[1])
    assert lines[-1]["truth"] == ""
    bounded: dict[str, str | int] = {"horizon": 6, "from": "2026-01-02T00:00:00Z", "to": BEGIN + 26 * HOUR}
    some = table((await client.get("/v1/csv/past/tank/good", params=bounded)).text)
    assert [(line["horizon"], line["time"]) for line in some] == [
        ("6", "2026-01-02T00:00:00+00:00"),
        ("6", "2026-01-02T01:00:00+00:00"),
    ]


@together
async def test_next_values_come_as_csv_with_a_name_of_their_own(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/v1/csv/next/tank/früh/1")).raise_for_status()
    assert [line["horizon"] for line in table(answer.text)] == ["1", "6"]
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"tank-fr_h_1-next.csv\"; filename*=UTF-8''tank-fr%C3%BCh%2F1-next.csv"
    )
    for path in ("past/tank/none", "next/tank/none", "past/none/x", "next/none/x"):
        assert (await client.get(f"/v1/csv/{path}")).status_code == 404
    assert (await client.get("/v1/csv/past/tank/good", params={"horizon": 7})).status_code == 422


@pytest.mark.parametrize(
    ("path", "base"),
    [("tank/good", "../../"), ("tank/fr%C3%BCh%2F1", "../../"), ("tank/fr%C3%BCh/1", "../../../")],
)
@together
async def test_an_embedded_picture_finds_its_parts_and_says_who_may_frame_it(
    client: httpx.AsyncClient, path: str, base: str
) -> None:
    answer = (await client.get(f"/embed/{path}")).raise_for_status()
    assert f'<base href="{base}">' in answer.text
    assert "frame-ancestors 'self' https://home.example.org" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in (await client.get("/")).headers["Content-Security-Policy"]


def test_an_origin_that_no_page_has_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_EMBED", "https://home.example.org/path")
    with pytest.raises(InvalidInput, match=r"DRIFTLINE_EMBED: found .*, expected an origin such as"):
        read_settings(CombinerSettings)


def test_truths_lie_on_the_grid_with_gaps_and_nothing_older() -> None:
    truths = RecentTruths()
    assert truths.on_grid(10) == []
    for t, value in ((0, 1.0), (10, None), (31, 4.000004), (40, 5.0)):
        truths.add(t, value)
    assert truths.on_grid(10) == [1.0, None, None, 4.0, 5.0]
    assert truths.on_grid(10, 2) == [4.0, 5.0]
    for t in range(50, 50 + 10 * TRUTHS, 10):
        truths.add(t, 1.0)
    assert truths.on_grid(10) == [1.0] * TRUTHS


@together
async def test_the_known_series_are_sent_once(client: httpx.AsyncClient):
    first = await client.get("/v1/series")
    assert [known["keys"] for known in first.json()] == [["früh/1", "good", "poor"], ["roof"]]
    again = await client.get("/v1/series", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
