"""Weights page by page, and scores over all series: answers of bounded size, whatever the number of keys."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from driftline.messages import Forecast
from driftline.streams.definition_files import parse
from driftline_combiner.rest import LARGEST_PAGE, PAGE, routes
from driftline_combiner.step import BlendStep

COUNTS = {"b": 130, "a": 3, "empty": 0}
KEYS = {"a": ["k 0/x", "k0", "k1"], "b": [f"k{n:03}" for n in range(130)], "empty": []}
EVERY = [(stream, key) for stream, keys in sorted(KEYS.items()) for key in keys]


def stream_step(name: str, keys: list[str]) -> BlendStep:
    text = f"name: {name}\ntime: {{column: when, period: 1h}}\ntarget: y\nhorizon: [1, 3]\n"
    made = BlendStep(parse(text, name), lambda _stream, _kind: None)
    for t in range(3):
        made.work(
            [Forecast(name, key, t * 3_600_000, 1.0 * t, [1, 3], {"persistence": [1.0, 1.0]}, {}, 0.0) for key in keys]
        )
    return made


@pytest.fixture(scope="module")
def app() -> FastAPI:
    made = FastAPI()
    made.include_router(routes({name: stream_step(name, keys[::-1]) for name, keys in reversed(KEYS.items())}))
    return made


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://combiner") as opened:
        yield opened


async def pages(client: httpx.AsyncClient, **asked: str | int) -> list[list[tuple[str, str]]]:
    """Stream and key of what each page holds, followed by its link."""
    found = []
    answer = await client.get("/v1/weights", params=asked)
    while True:
        found.append([(each["stream"], each["key"]) for each in answer.raise_for_status().json()])
        if "next" not in answer.links:
            return found
        answer = await client.get(answer.url.join(answer.links["next"]["url"]))


@pytest.mark.parametrize("limit", [1, 2, 3, 100, 133, LARGEST_PAGE])
async def test_the_pages_hold_every_series_once_and_in_order(client: httpx.AsyncClient, limit: int):
    found = await pages(client, limit=limit)
    assert [series for page in found for series in page] == EVERY
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


async def test_a_page_is_bounded_where_nobody_says_how_long_it_is(client: httpx.AsyncClient):
    assert [len(page) for page in await pages(client)] == [PAGE, len(EVERY) - PAGE]
    assert (await client.get("/v1/weights", params={"limit": LARGEST_PAGE + 1})).status_code == 422


async def test_pages_of_one_stream_or_key_stay_with_it(client: httpx.AsyncClient):
    assert await pages(client, stream="b", limit=70) == [EVERY[3:73], EVERY[73:]]
    assert await pages(client, stream="b", key="k007") == [[("b", "k007")]]
    assert await pages(client, key="k1") == [[("a", "k1")]]
    assert await pages(client, key="nobody") == [[]]
    assert await pages(client, stream="empty") == [[]]


async def test_a_page_may_begin_behind_what_is_gone(client: httpx.AsyncClient):
    assert await pages(client, after="a/k0x") == [[("a", "k1"), *EVERY[3:102]], EVERY[102:]]
    assert await pages(client, after="b/k128") == [[("b", "k129")]]
    assert await pages(client, after="z") == [[]]


async def test_every_series_says_who_weighs_what(client: httpx.AsyncClient):
    (found,) = (await client.get("/v1/weights", params={"stream": "b", "key": "k007"})).json()
    assert [horizon["horizon"] for horizon in found["horizons"]] == [1, 3]
    assert found["horizons"][0]["weights"]["blend"]["persistence"] == 1.0
    assert found["horizons"][0]["scores"]["rls"]["rmse"] is None


async def test_scores_are_over_all_series(client: httpx.AsyncClient):
    found = {each["stream"]: each for each in (await client.get("/v1/scores")).json()}
    assert {name: each["series"] for name, each in found.items()} == COUNTS
    assert found["b"]["horizons"][0]["scores"]["persistence"]["n"] == 2 * COUNTS["b"]
    assert found["empty"]["horizons"][0]["scores"]["persistence"]["n"] == 0
