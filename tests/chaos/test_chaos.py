"""A minute of chaos, half of it with each delivery: nothing is lost, and nothing needs a hand."""

from pathlib import Path

import pytest
from rich.console import Console

from tests.chaos.outcome import table
from tests.chaos.run import LEAST_SWAPS, chaos
from tests.chaos.settings import ChaosSettings

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.e2e]
SEED = 15
SECONDS = 60.0


@pytest.mark.usefixtures("kafka_here")
async def test_a_minute_of_chaos_loses_nothing(tmp_path: Path):
    outcome = await chaos(ChaosSettings(SECONDS, SEED), tmp_path)
    Console().print(table(outcome))
    assert list(outcome.complaints()) == []
    assert outcome.swaps >= LEAST_SWAPS
    assert outcome.windows.files > 0
    assert sum(outcome.acts.values()) >= 4
