"""Heartbeats in a store become the fleet's book, whatever lies there."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import heartbeat_key, registration_key
from driftline.fleet.notes import NOTE_LIMIT, packed, sealed
from driftline.fleet.registration import Registration
from driftline.metrics import Metrics
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.folder import FolderStore
from driftline.store.port import Stored
from driftline_trainer.fleet.believed import BelievedFleet
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.lies import LIES
from driftline_trainer.fleet.watch import AT_ONCE, FleetWatch
from tests.fleet.simulated import NOW, beat, simulated

TRAINER, EDGE = Signer(new_key()), Signer(new_key())


class CountingStore(FolderStore):
    """Counts what is asked for, and how much of it at once."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gets, self.bodies, self.most, self._now = 0, 0, 0, 0

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        self.gets += 1
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            stored = await super().get(key, unless=unless, limit=limit)
        finally:
            self._now -= 1
        self.bodies += stored is not None
        return stored


class Cloud:
    """A store, and who watches it by a clock that is set by hand."""

    def __init__(self, root: Path, limit: int = 1000) -> None:
        self.store = CountingStore(root)
        self.now = NOW
        self.metrics = Metrics()
        self.book = FleetBook(limit, NOW)
        self.watch = FleetWatch(self.store, self.book, self.metrics, Trust([TRAINER.public]), lambda: self.now)

    async def leave(self, heartbeat: Heartbeat, signer: Signer | None = None) -> None:
        await self.store.put(heartbeat_key(heartbeat.edge), sealed(heartbeat, signer))

    async def join(
        self, edge: str = "a1", key: str = EDGE.public, by: Signer | None = TRAINER, revoked: float | None = None
    ) -> None:
        note = Registration(edge=edge, name="joined", public_key=key, labels={"site": "x"}, joined=NOW, revoked=revoked)
        await self.store.put(registration_key(edge), sealed(note, by))

    async def look(self, after: float = 60.0) -> None:
        self.now += after
        await self.watch.reconcile(None)

    @property
    def refused(self) -> dict[str, float]:
        counter = self.metrics.fleet_heartbeats_refused
        return {lie: count for lie in LIES if (count := counter.labels(lie)._value.get())}

    def problem(self, edge: str = "a1") -> str:
        refusal = self.book[edge].refusal
        return refusal.kind if refusal else ""


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


async def test_a_fleet_of_none_is_none(cloud: Cloud):
    await cloud.look()
    assert len(cloud.book) == 0
    assert cloud.book.look(cloud.now) == {}


async def test_only_what_has_changed_is_read_and_little_at_once(cloud: Cloud):
    for n in range(100):
        await cloud.leave(simulated(n))
    await cloud.look()
    assert len(cloud.book) == 100
    await cloud.leave(simulated(5, 2, NOW + 100))
    cloud.store.bodies = 0
    await cloud.look()
    assert cloud.store.bodies == 1
    assert cloud.store.most <= AT_ONCE
    assert cloud.book["edge-0005"].heartbeat.number == 2


async def test_an_event_has_one_edge_looked_at(cloud: Cloud):
    for n in range(20):
        await cloud.leave(simulated(n))
    await cloud.look()
    await cloud.leave(simulated(5, 2, NOW + 100))
    cloud.store.gets = 0
    await cloud.watch.reconcile(frozenset({heartbeat_key("edge-0005"), "edges/x/y.json", "edges/.json"}))
    assert cloud.store.gets == 1
    assert cloud.book["edge-0005"].heartbeat.number == 2


async def test_a_reader_hears_of_what_has_changed_alone(cloud: Cloud):
    for n in range(20):
        await cloud.leave(simulated(n))
    await cloud.look(0)
    cloud.book.look(cloud.now)
    revision = cloud.book.revision
    assert list(cloud.book.since(revision)) == []
    await cloud.leave(simulated(5, 2, NOW + 10))
    await cloud.look(10)
    cloud.book.look(cloud.now)
    assert [record.edge for record in cloud.book.since(revision)] == ["edge-0005"]
    cloud.book.look(cloud.now + 1000)
    assert len(list(cloud.book.since(revision))) == 20


async def test_lies_are_counted_once_and_shown_and_the_truth_before_stays(cloud: Cloud):
    await cloud.leave(beat())
    await cloud.look()
    lies = [b"{", sealed(beat("a2"), None), sealed(beat(every=-1.0), None), sealed(beat(), None) + b" ", bytes(300_000)]
    for body in lies:
        await cloud.store.put(heartbeat_key("a1"), body)
        await cloud.look()
        assert cloud.problem()
        await cloud.look()
    assert cloud.refused == {"form": 1, "edge": 1, "numbers": 1, "order": 1, "size": 1}
    assert cloud.book["a1"].heartbeat == beat()
    assert cloud.book["a1"].state(cloud.now) == "silent"
    await cloud.leave(beat(number=2, at=cloud.now))
    await cloud.look()
    assert (cloud.problem(), cloud.book["a1"].state(cloud.now)) == ("", "live")


async def test_an_edge_that_only_lies_is_shown(cloud: Cloud):
    await cloud.store.put(heartbeat_key("a1"), b"x" * (NOTE_LIMIT + 1))
    await cloud.look()
    assert (cloud.problem(), cloud.book["a1"].state(cloud.now)) == ("size", "silent")


async def test_who_has_joined_must_sign(cloud: Cloud):
    await cloud.join()
    for signer, problem in ((EDGE, ""), (None, "signature"), (Signer(new_key()), "signature")):
        await cloud.leave(beat(number=int(cloud.now), at=cloud.now), signer)
        await cloud.look()
        assert cloud.problem() == problem
    assert cloud.refused == {"signature": 2}


async def test_who_has_not_joined_may_sign_or_not(cloud: Cloud):
    await cloud.leave(beat(), EDGE)
    await cloud.leave(beat("a2"))
    await cloud.look()
    assert cloud.problem("a1") == cloud.problem("a2") == ""


async def test_a_changed_key_is_believed_at_once(cloud: Cloud):
    await cloud.join()
    await cloud.leave(beat(), EDGE)
    await cloud.look()
    other = Signer(new_key())
    await cloud.join(key=other.public)
    await cloud.leave(beat(number=2, at=cloud.now), other)
    await cloud.look()
    assert (cloud.problem(), cloud.book["a1"].heartbeat.number) == ("", 2)


@pytest.mark.parametrize("pack", [bytes, packed])
async def test_a_heartbeat_by_the_known_key_costs_one_request(cloud: Cloud, pack: Callable[[bytes], bytes]):
    await cloud.join()
    for number in (1, 2, 3):
        await cloud.store.put(heartbeat_key("a1"), pack(sealed(beat(number=number, at=cloud.now), EDGE)))
        before = cloud.store.gets
        await cloud.look()
        assert cloud.problem() == ""
    assert cloud.store.gets - before == 1


async def test_who_was_shut_out_is_refused(cloud: Cloud):
    await cloud.join(revoked=NOW)
    await cloud.leave(beat(), EDGE)
    await cloud.look()
    assert cloud.refused == {"revoked": 1}


@pytest.mark.parametrize(
    ("by", "key"), [(EDGE, EDGE.public), (None, EDGE.public), (TRAINER, "no key")], ids=["the edge", "nobody", "no key"]
)
async def test_a_registration_that_nobody_signed_or_without_a_key_opens_no_door(
    cloud: Cloud, by: Signer | None, key: str
):
    await cloud.join(by=by, key=key)
    await cloud.leave(beat(), EDGE)
    await cloud.look()
    assert cloud.refused == {"registration": 1}
    assert cloud.book["a1"].heartbeat is None


async def test_a_registration_of_another_edge_opens_no_door(cloud: Cloud):
    await cloud.join("a2")
    stolen = await cloud.store.get(registration_key("a2"))
    await cloud.store.put(registration_key("a1"), stolen.body)
    await cloud.leave(beat(), EDGE)
    await cloud.look()
    assert cloud.problem("a1") == "registration"


async def test_a_device_in_the_place_of_a_revoked_one_is_believed_at_once_and_is_no_clone(cloud: Cloud):
    other = Signer(new_key())
    await cloud.join()
    await cloud.leave(beat(boot="old"), EDGE)
    await cloud.look()
    await cloud.join(revoked=cloud.now)
    await cloud.watch.reconcile_registrations(None)
    await cloud.leave(beat(boot="old", number=2, at=cloud.now), EDGE)
    await cloud.look()
    assert cloud.problem("a1") == "revoked"
    await cloud.join(key=other.public)
    await cloud.leave(beat(boot="new", at=cloud.now), other)
    await cloud.look()
    assert cloud.book["a1"].heartbeat.boot == "new"
    assert cloud.book["a1"].refusal is None
    assert not cloud.book["a1"].is_cloned(cloud.now)


async def test_a_packed_heartbeat_by_the_known_key_costs_no_look_at_the_registration(cloud: Cloud):
    await cloud.join()
    await cloud.leave(beat(), EDGE)
    await cloud.look()
    before = cloud.store.gets
    await cloud.store.put(heartbeat_key("a1"), packed(sealed(beat(number=2, at=cloud.now), EDGE)))
    await cloud.look()
    assert cloud.book["a1"].heartbeat.number == 2
    assert cloud.store.gets == before + 1


async def test_what_was_taken_out_is_forgotten(cloud: Cloud):
    await cloud.join()
    await cloud.leave(beat(), EDGE)
    await cloud.leave(beat("a2"))
    await cloud.look()
    for edge in ("a1", "a2"):
        await cloud.store.delete(heartbeat_key(edge))
    await cloud.look()
    assert "a2" not in cloud.book
    assert cloud.book["a1"].heartbeat is None
    await cloud.store.delete(registration_key("a1"))
    await cloud.watch.reconcile_registrations(None)
    assert len(cloud.book) == 0


async def test_two_devices_under_one_id_are_seen(cloud: Cloud):
    for number, boot in enumerate("ababa"):
        await cloud.leave(beat(boot=boot, number=number + 1, at=cloud.now))
        await cloud.look()
    assert cloud.book["a1"].is_cloned(cloud.now)


async def test_more_edges_than_there_is_room_for_are_left_out_and_counted(tmp_path: Path):
    cloud = Cloud(tmp_path, limit=10)
    for n in range(15):
        await cloud.leave(simulated(n))
    await cloud.look()
    await cloud.look()
    assert len(cloud.book) == 10
    assert cloud.refused == {"many": 1}


async def test_a_heartbeat_is_about_a_kilobyte():
    """Of an edge with one stream and two models: five hundred of them fit into what a minute may cost."""
    assert len(msgspec.json.encode(simulated(1))) < 1500


async def test_two_looks_at_once_read_each_heartbeat_once(cloud: Cloud):
    await cloud.leave(beat())
    await asyncio.gather(cloud.watch.reconcile(None), cloud.watch.reconcile(None))
    assert (cloud.refused, cloud.book["a1"].heartbeat) == ({}, beat())


async def test_a_device_that_was_shut_out_has_no_say_in_roll_outs(cloud: Cloud):
    """Also the heartbeat that came before."""
    fleet = BelievedFleet(cloud.book, cloud.watch, lambda: cloud.now)
    await cloud.join()
    await cloud.leave(beat("a1"), EDGE)
    await cloud.leave(beat("b2"))
    assert set(await fleet.look()) == {"a1", "b2"}
    await cloud.join(revoked=cloud.now)
    await cloud.watch.reconcile_registrations(None)
    assert set(await fleet.look()) == {"b2"}
