"""Inference alone is killed under load, and not one acknowledged record goes without its forecast and its blend."""

from pathlib import Path

import pytest

from tests.chaos.kills import killed

pytestmark = [pytest.mark.kafka, pytest.mark.s3]
KILLS = 5
"""Each costs a restore of many megabytes beside a busy loop, and is a race of its own."""


@pytest.mark.usefixtures("kafka_here")
async def test_inference_killed_five_times_under_load_forecasts_every_acknowledged_record(tmp_path: Path):
    found = await killed(tmp_path, kills=KILLS)
    print(found)  # noqa: T201 - the figures, for whoever looks on
    assert found.acknowledged.sum() > KILLS * 1000
    assert found.forecasts.lacks(found.acknowledged) == 0, str(found)
    assert found.blends.lacks(found.acknowledged) == 0, str(found)
    assert not found.forecasts.examples
    assert not found.blends.examples
    assert found.restarts == []
