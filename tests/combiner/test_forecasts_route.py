"""The next values by REST: now, before, of one series and of many, and for scripts of other pages."""

from collections.abc import AsyncIterator

import httpx
import pytest
import stamina

from driftline.bus.memory import MemoryBus
from driftline.errors import InvalidInput
from driftline.messages import FORECASTS, Forecast
from driftline.service.settings import read_settings
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.serving import served

BEGIN = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
HOUR = 3_600_000
RECORDS = 30
KEYS = ["k 0/x", "k1", "k2"]
STREAM: StreamDefinition = parse(
    "name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: level\nhorizon: [1, 6]\n"
    "columns: {level: {unit: cm}}\n",
    "tank.yaml",
)


def forecasts(key: str, records: int = RECORDS) -> list[Forecast]:
    return [
        Forecast("tank", key, BEGIN + n * HOUR, float(n % 5), [1, 6], {"persistence": [float(n % 5)] * 2}, {}, 0.0)
        for n in range(records)
    ]


async def serving(settings: CombinerSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A combiner that has had RECORDS records of each key."""
    bus = MemoryBus()
    async with (
        served(create_app(settings, bus, streams={"tank": STREAM}, on_death=lambda *_: None)) as address,
        httpx.AsyncClient(base_url=f"http://{address}", timeout=60) as client,
    ):
        for key in KEYS:
            await bus.publish(FORECASTS, forecasts(key))
        await until_remembered(client, settings)
        yield client


@stamina.retry(on=AssertionError, attempts=None, timeout=30, wait_max=0.2)
async def until_remembered(client: httpx.AsyncClient, settings: CombinerSettings) -> None:
    answer = (await client.get("/v1/forecasts/tank")).json()
    assert [series["issued"] for series in answer] == [BEGIN + (RECORDS - 1) * HOUR] * len(KEYS)
    if settings.page_points:
        assert (await client.get("/v1/series")).json()[0]["keys"] == KEYS
        for key in KEYS:
            answer = await client.get("/v1/forecasts/tank", params={"key": key, "at": BEGIN})
            assert len(answer.json()) == 1


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async for opened in serving(CombinerSettings(cors=("https://home.example.org",))):
        yield opened


async def test_the_next_values_have_times_units_and_intervals(client: httpx.AsyncClient):
    answer = (await client.get("/v1/forecasts/tank/k1")).raise_for_status().json()
    assert (answer["stream"], answer["key"], answer["target"], answer["unit"]) == ("tank", "k1", "level", "cm")
    assert answer["issued_time"] == "2026-01-02T05:00:00+00:00"
    near, far = answer["forecasts"]
    assert (near["ahead"], far["ahead"]) == (3600, 6 * 3600)
    assert (near["horizon"], near["t"], near["time"]) == (1, BEGIN + 30 * HOUR, "2026-01-02T06:00:00+00:00")
    assert (far["horizon"], far["t"], far["time"]) == (6, BEGIN + 35 * HOUR, "2026-01-02T11:00:00+00:00")
    assert near["value"] == answer["observed"] == 4.0
    assert list(near["quantiles"]) == ["0.05", "0.1", "0.5", "0.9", "0.95"]
    assert near["interval"] == {"level": 0.9, "lower": near["quantiles"]["0.05"], "upper": near["quantiles"]["0.95"]}
    assert near["interval"]["lower"] < near["median"] < near["interval"]["upper"]


async def test_it_is_what_the_blend_says(client: httpx.AsyncClient):
    blend = (await client.get("/v1/blends/tank/k1")).json()
    answer = (await client.get("/v1/forecasts/tank/k1")).json()
    assert [value["value"] for value in answer["forecasts"]] == blend["value"]
    assert [value["interval"]["upper"] for value in answer["forecasts"]] == blend["upper"]
    assert (answer["issued"], answer["versions"]) == (blend["t"], blend["versions"])


@pytest.mark.parametrize("n", range(0, RECORDS, 3))
async def test_a_former_forecast_is_as_it_was_issued(client: httpx.AsyncClient, n: int):
    for at in (BEGIN + n * HOUR, BEGIN + (n + 1) * HOUR - 1):
        answer = (await client.get("/v1/forecasts/tank/k1", params={"at": at})).raise_for_status().json()
        assert (answer["issued"], answer["observed"]) == (BEGIN + n * HOUR, float(n % 5))


async def test_a_time_may_be_written_with_a_zone(client: httpx.AsyncClient):
    answer = (await client.get("/v1/forecasts/tank/k1", params={"at": "2026-01-01T08:30:00+01:00"})).json()
    assert answer["issued_time"] == "2026-01-01T07:00:00+00:00"
    assert (await client.get("/v1/forecasts/tank/k1", params={"at": "2026-01-01T08:30:00"})).status_code == 422
    assert (await client.get("/v1/forecasts/tank/k1", params={"at": 10**18})).status_code == 422


async def test_beyond_memory_a_sentence_says_how_far_it_goes(client: httpx.AsyncClient):
    answer = await client.get("/v1/forecasts/tank/k1", params={"at": BEGIN - 1})
    assert answer.status_code == 404
    assert answer.json()["detail"] == (
        "no forecast of tank/k1 from 2025-12-31T23:59:59.999+00:00 or before: memory goes back to "
        "2026-01-01T00:00:00+00:00"
    )


async def test_without_memory_the_newest_is_known_alone():
    async for client in serving(CombinerSettings(page_points=0)):
        now = BEGIN + (RECORDS - 1) * HOUR
        answer = await client.get("/v1/forecasts/tank/k1", params={"at": now})
        assert answer.json()["issued"] == now
        answer = await client.get("/v1/forecasts/tank/k1", params={"at": now - 1})
        assert answer.status_code == 404
        assert "nothing but the newest is remembered, since DRIFTLINE_PAGE_POINTS is 0" in answer.json()["detail"]


async def test_a_horizon_may_be_asked_for_alone(client: httpx.AsyncClient):
    answer = (await client.get("/v1/forecasts/tank/k1", params={"horizon": 6})).json()
    assert [value["horizon"] for value in answer["forecasts"]] == [6]
    answer = await client.get("/v1/forecasts/tank/k1", params={"horizon": 5})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "horizon: found 5, expected one of [1, 6] steps of tank",
    )


async def test_what_is_not_there_is_said(client: httpx.AsyncClient):
    answer = await client.get("/v1/forecasts/attic/k1")
    assert (answer.status_code, answer.json()["detail"]) == (404, "found no stream 'attic', expected one of ['tank']")
    answer = await client.get("/v1/forecasts/tank/k9", params={"at": BEGIN})
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "no forecast of tank/k9 yet, or another replica has it",
    )


async def test_a_key_with_a_slash_is_a_key(client: httpx.AsyncClient):
    assert (await client.get("/v1/forecasts/tank/k%200%2Fx")).json()["key"] == "k 0/x"


async def test_many_series_come_by_their_keys(client: httpx.AsyncClient):
    answer = await client.get("/v1/forecasts/tank", params={"key": ["k2", "k 0/x", "nobody", "k2"]})
    assert [series["key"] for series in answer.json()] == ["k 0/x", "k2"]


async def test_many_keys_come_page_by_page_and_only_the_rest_is_asked_for_again(client: httpx.AsyncClient):
    answer = await client.get("/v1/forecasts/tank", params={"key": KEYS, "limit": 2})
    following = answer.url.join(answer.links["next"]["url"])
    assert following.params.get_list("key") == KEYS[2:]
    last = await client.get(following)
    assert [series["key"] for part in (answer, last) for series in part.json()] == KEYS
    assert "next" not in last.links


async def test_all_series_come_page_by_page_and_keep_what_was_asked(client: httpx.AsyncClient):
    answer = await client.get("/v1/forecasts/tank", params={"limit": 1, "horizon": 6, "at": BEGIN + HOUR})
    keys = []
    while True:
        (series,) = answer.raise_for_status().json()
        keys.append(series["key"])
        assert (series["issued"], len(series["forecasts"])) == (BEGIN + HOUR, 1)
        if "next" not in answer.links:
            break
        answer = await client.get(answer.url.join(answer.links["next"]["url"]))
    assert keys == KEYS


@pytest.mark.parametrize("path", ["/v1/forecasts/tank/k1", "/v1/forecasts/tank"])
async def test_what_a_client_has_is_not_sent_again(client: httpx.AsyncClient, path: str):
    etag = (await client.get(path)).headers["ETag"]
    for header in (etag, f'"other", W/{etag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": header})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    assert (await client.get(path, headers={"If-None-Match": '"other"'})).status_code == 200
    assert (await client.get(path, params={"horizon": 6})).headers["ETag"] != etag


async def test_scripts_of_listed_pages_alone_may_read(client: httpx.AsyncClient):
    allowed = await client.get("/v1/forecasts/tank/k1", headers={"Origin": "https://home.example.org"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://home.example.org"
    assert "ETag" in allowed.headers["Access-Control-Expose-Headers"]
    other = await client.get("/v1/forecasts/tank/k1", headers={"Origin": "https://elsewhere.example.org"})
    assert "Access-Control-Allow-Origin" not in other.headers
    asked = {"Origin": "https://home.example.org", "Access-Control-Request-Method": "GET"}
    before = await client.options(
        "/v1/forecasts/tank/k1", headers={**asked, "Access-Control-Request-Headers": "If-None-Match"}
    )
    assert before.status_code == 200
    post = await client.options("/v1/forecasts/tank", headers={**asked, "Access-Control-Request-Method": "POST"})
    assert post.status_code == 400


async def test_no_other_page_may_read_unless_a_setting_says_so():
    app = create_app(CombinerSettings(), MemoryBus(), streams={"tank": STREAM})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://combiner") as client:
        answer = await client.get("/v1/forecasts/tank", headers={"Origin": "https://home.example.org"})
    assert answer.json() == []
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["home.example.org", "https://home.example.org/", "ftp://x", "https://A.example"])
def test_what_no_browser_sends_as_an_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str):
    monkeypatch.setenv("DRIFTLINE_CORS", f"https://fine.example:8443, {origin}")
    with pytest.raises(InvalidInput, match=r"DRIFTLINE_CORS: found .*, expected an origin such as"):
        read_settings(CombinerSettings)


def test_origins_are_listed_with_commas(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIFTLINE_CORS", "https://a.example, http://localhost:5173,*")
    assert read_settings(CombinerSettings).cors == ("https://a.example", "http://localhost:5173", "*")
