"""`driftline tail` where the combiner tells it: what is remembered, what comes, and that somebody must be there."""

from contextlib import aclosing

import pytest

from driftline.messages import Blend
from driftline_cli.live import follow
from driftline_cli.tailing import Selection, as_json
from driftline_client import NoAnswer
from tests.client import test_clients
from tests.client.test_clients import BEGIN, PERIOD, RECORDS_KNOWN, Site, forecast

client, site = test_clients.client, test_clients.site
WANTED = Selection("blends", "sun", "k0")


@pytest.mark.usefixtures("client")
async def test_what_is_remembered_comes_first_and_then_what_is_new(site: Site):
    async with aclosing(follow(site.addresses["combiner"], WANTED, earliest=True)) as messages:
        remembered = [await anext(messages) for _ in range(RECORDS_KNOWN)]
        assert [message.t for message in remembered] == [BEGIN + n * PERIOD for n in range(RECORDS_KNOWN)]
        site.publish(forecast("k0", RECORDS_KNOWN))
        newest = await anext(messages)
    assert isinstance(newest, Blend)
    assert (newest.t, newest.key, newest.observed) == (BEGIN + RECORDS_KNOWN * PERIOD, "k0", 101)
    assert '"quantiles":{"0.05":' in as_json(newest)


async def test_an_address_where_nobody_is_is_said():
    with pytest.raises(NoAnswer):
        await anext(follow("http://127.0.0.1:9", WANTED, earliest=False))
