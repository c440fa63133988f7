"""Whole edges in one process, with real records and links that fail at random: a bad version ends in the first stage, a
good one reaches all edges, and a device whose disk was wiped goes on as if nothing had been."""

from pathlib import Path

import pytest

from tests.fleet.linked_fleet import LinkedFleet
from tests.fleet.linked_models import fleet_stream, tasks
from tests.shared import Shared
from tests.trained import trained_once

pytestmark = pytest.mark.training
EDGES = 8
SAME = 1e-6


async def test_a_bad_version_is_stopped_a_good_one_goes_everywhere_and_new_devices_go_on(
    shared: Shared, tmp_path: Path
):
    stream = fleet_stream()
    given = tasks(stream)
    serving, good, bad = (trained_once(shared, task) for task in (given.serving, given.good, given.bad))
    async with LinkedFleet.opened(tmp_path, stream, given.later, edges=EDGES, seed=4) as fleet:
        await fleet.begin(serving)
        stopped = await fleet.roll_out(bad)
        assert (stopped.state, stopped.stage, stopped.ran) == ("stopped", 1, 1)
        done = await fleet.roll_out(good)
        assert (done.state, done.stage) == ("done", 3)
        assert fleet.cuts > EDGES
        devices = [await fleet.reimage(name) for name in list(fleet.edges)[:2]]
        assert max(device.difference for device in devices) <= SAME
        assert min(device.forecasts for device in devices) > 0
        await fleet.turn()
        archived = await fleet.archived()
        assert (archived.lost, archived.doubled) == (0, 0)
        assert archived.rows >= EDGES * 2 * stream.window
        assert sum(edge.doubled for edge in fleet.edges.values()) == 0
