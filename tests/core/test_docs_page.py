"""The page of a service's REST needs nothing from elsewhere."""

import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from driftline.docs_page import FOLDER, KINDS
from driftline.metrics import Metrics
from driftline.service import create_service


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = create_service("tank", "Holds water.", metrics=Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tank") as found:
        yield found


async def test_the_page_loads_what_the_service_has(client: httpx.AsyncClient):
    page = (await client.get("/docs")).text
    loaded = re.findall(r"(?:src|href|url)[=:] ?[\"']([^\"']+)", page)
    assert {*(f"docs/{name}" for name in KINDS), "openapi.json"} <= set(loaded)
    for place in loaded:
        if not place.startswith("data:"):
            assert (await client.get(f"/{place}")).status_code == 200


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("encoding", ["gzip, br", "identity"])
async def test_what_it_loads_comes_whole(client: httpx.AsyncClient, name: str, encoding: str):
    answer = await client.get(f"/docs/{name}", headers={"Accept-Encoding": encoding})
    assert answer.content == gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
    assert answer.headers["content-type"].startswith(KINDS[name])
    assert ("content-encoding" in answer.headers) == ("gzip" in encoding)


async def test_it_is_no_part_of_the_description(client: httpx.AsyncClient):
    assert not {path for path in (await client.get("/openapi.json")).json()["paths"] if path.startswith("/docs")}
