"""Roll-outs over a real store: moved by what heartbeats say, or by hand, and of two trainers by one."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.errors import Conflict
from driftline.fleet.names import HEARTBEATS, heartbeat_key
from driftline.fleet.quarantine import quarantine, quarantine_of
from driftline.fleet.reading import StoreHeartbeats
from driftline.fleet.rollout import is_in
from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.models.manifest import Quarantine
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.model_sections import Rollout
from driftline.versions.releases import current
from driftline_trainer.app import create_app
from driftline_trainer.prune import prune
from driftline_trainer.rollouts.rollouts import Hand, Rollouts
from driftline_trainer.rollouts.trials import Trials
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trust import own_trust
from tests.trainer.fleets import FINE, WORSE, Fleet

PEM = new_key()
SIGNER = Signer(PEM)
TRUST = Trust([SIGNER.public])
EDGES = [f"edge{number:08d}" for number in range(10)]
HOUR = 3600.0


class Meanwhile(FolderStore):
    """Before `key` is put for the first time, something else happens."""

    def __init__(self, root: Path, key: str, act: Callable[[], Awaitable[None]]) -> None:
        super().__init__(root)
        self._acts = {key: act}

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if (act := self._acts.pop(key, None)) is not None:
            await act()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


class Running(Fleet):
    """... with a trainer that rolls out, and versions 1 and 2."""

    def __init__(self, store: FolderStore, stream: StreamDefinition, member: str) -> None:
        super().__init__(store, stream, SIGNER, member)
        self.metrics = Metrics()
        self.rollouts = self.trainer(self.metrics)
        view = StoreHeartbeats(store, clock=self.clock)
        self.trials = Trials(store, view, own_trust(SIGNER), self.clock)

    def trainer(self, metrics: Metrics | None = None, store: FolderStore | None = None) -> Rollouts:
        return Rollouts(
            store or self.store,
            {self.stream.name: self.stream},
            StoreHeartbeats(self.store, clock=self.clock),
            metrics or Metrics(),
            signer=SIGNER,
            poll=3600,
            clock=self.clock,
        )

    async def begin(self, edges: list[str] = EDGES) -> tuple[str, str]:
        """All edges run version 1, and version 2 is published."""
        stable = await self.publish(1)
        for edge in edges:
            await self.say(edge, stable)
        return stable, await self.publish(2, self.trials)

    async def inside(self) -> list[str]:
        """Edges in the trial."""
        trial = await self.trial()
        return [edge for edge in EDGES if is_in(trial, edge, {})]

    async def find(self, evidence: tuple[float, float], truths: int = 600) -> None:
        """What all edges in the trial say from now on."""
        pointer = await self.pointer()
        assert pointer.trial is not None
        for edge in await self.inside():
            pair = (pointer.trial.version, pointer.version, truths, evidence)
            await self.say(edge, pointer.trial.version, compared=[pair])

    async def look(self, after: float = 2 * HOUR) -> None:
        self.now += after
        await self.rollouts.look()

    async def story(self, version: str) -> list[tuple[str, str]]:
        """What happened to it, and by whom."""
        stories = await self.rollouts.stories.of(self.stream.name, self.member)
        return [(event.act, event.by) for story in stories if story.version == version for event in story.events]

    async def mark(self, version: str) -> str | None:
        """Why it is kept from all edges."""
        mark = await quarantine_of(self.store, self.stream.name, self.member, version, TRUST)
        return mark.reason if mark else None

    def ended(self, outcome: str, metrics: Metrics | None = None) -> float | None:
        labels = {"stream": self.stream.name, "member": self.member, "outcome": outcome}
        registry = (metrics or self.metrics).registry
        return registry.get_sample_value("driftline_rollouts_ended_total", labels)

    def undecided(self) -> float | None:
        labels = {"stream": self.stream.name, "member": self.member}
        return self.metrics.registry.get_sample_value("driftline_rollout_undecided", labels)


@pytest.fixture
def running(tmp_path: Path, temperature: StreamDefinition) -> Running:
    return Running(FolderStore(tmp_path / "store"), temperature, "batch")


@pytest.fixture
def running_speed(tmp_path: Path, temperature: StreamDefinition) -> Running:
    return Running(FolderStore(tmp_path / "store"), temperature, "speed")


async def test_a_new_version_is_tried_by_one_edge_first(running: Running):
    stable, new = await running.begin()
    pointer = await running.pointer()
    assert (pointer.version, pointer.trial.version, pointer.trial.stage) == (stable, new, 0)
    assert len(await running.inside()) == 1


@pytest.mark.parametrize("edges", [[], EDGES[:1]])
async def test_a_single_edge_and_a_fleet_that_says_nothing_get_it_at_once(running: Running, edges: list[str], caplog):
    caplog.set_level(logging.INFO)
    stable, new = await running.begin(edges)
    pointer = await running.pointer()
    assert (pointer.version, pointer.trial, pointer.former) == (new, None, stable)
    assert ("none has left a heartbeat" in caplog.text) == (not edges)


async def test_edges_that_are_silent_for_a_day_are_not_counted_on(running: Running):
    await running.publish(1)
    for edge in EDGES:
        await running.say(edge, at=running.now - 2 * 86400 * (edge != EDGES[0]))
    await running.publish(2, running.trials)
    assert (await running.pointer()).trial is None


async def test_a_version_for_another_definition_goes_to_all_at_once(running: Running):
    await running.begin()
    running.stream = running.stream.model_copy(update={"lags": 6})
    newest = await running.publish(3, running.trials)
    assert ((await running.pointer()).version, (await running.pointer()).trial) == (newest, None)


async def test_a_speed_model_goes_to_all_at_once_by_default(running_speed: Running):
    _, new = await running_speed.begin()
    assert ((await running_speed.pointer()).version, (await running_speed.pointer()).trial) == (new, None)


async def test_edges_with_the_labels_come_first(running: Running):
    rollout = Rollout(first={"canary": "yes"})
    running.stream = running.stream.model_copy(update={"rollout": rollout})
    await running.publish(1)
    for edge in EDGES:
        await running.say(edge, labels={"canary": "yes"} if edge == EDGES[7] else {})
    await running.publish(2, running.trials)
    trial = await running.trial()
    assert trial.first == {"canary": "yes"}
    assert is_in(trial, EDGES[7], {"canary": "yes"})
    assert not any(is_in(trial, edge, {}) for edge in EDGES)


async def test_it_reaches_all_edges_stage_by_stage_where_they_find_it_not_worse(running: Running):
    stable, new = await running.begin()
    sizes = []
    while (await running.pointer()).trial is not None:
        sizes.append(len(await running.inside()))
        await running.find(FINE)
        await running.look()
    pointer = await running.pointer()
    assert sizes == [1, 5]
    assert (pointer.version, pointer.former, pointer.since) == (new, stable, running.now)
    assert await running.story(new) == [("began", "evidence"), ("advanced", "evidence"), ("done", "evidence")]
    assert running.ended("done") == 1


async def test_a_stage_waits_for_its_own_truths_and_says_for_how_many(running: Running):
    await running.begin()
    await running.find(FINE, 20)
    await running.look()
    assert (await running.trial()).stage == 0
    standing = running.rollouts.standing(running.rollouts.models()[0])
    assert standing.waits == "waits for 480 of 500 truths of 1 edge; it can be advanced by hand"
    await running.find(FINE)
    await running.look()
    trial = await running.trial()
    assert trial.entered > 0
    await running.look()
    assert await running.trial() == trial, "what the first edge has found does not pass for those that came in"
    standing = running.rollouts.standing(running.rollouts.models()[0])
    assert standing.waits.startswith("waits for 500 of 500 truths of 4 edges")


async def test_a_stage_lasts_as_long_as_it_should(running: Running):
    await running.begin()
    await running.find(FINE)
    await running.look(HOUR - 1)
    assert (await running.trial()).stage == 0
    await running.look(1)
    assert (await running.trial()).stage > 0


@pytest.mark.parametrize("evidence", [(3.0, -3.0), (0.1, 0.1), (4.5, -9.0)])
async def test_neither_worse_nor_not_it_waits(running: Running, evidence: tuple[float, float]):
    await running.begin()
    for truths in (600, 2000):
        await running.find(evidence, truths)
        await running.look()
        assert (await running.trial()).stage == 0
    standing = running.rollouts.standing(running.rollouts.models()[0])
    assert "advance or abort it by hand" in standing.waits
    assert running.undecided() == 1


async def test_it_passes_where_bets_ended_and_nobody_won_on_worse(running: Running):
    await running.begin()
    await running.find((-0.5, 1.0), 2000)
    await running.look()
    assert (await running.trial()).stage > 0


async def test_a_worse_version_is_stopped_in_the_first_stage_and_kept_from_all(running: Running):
    stable, new = await running.begin()
    await running.find(WORSE, 50)
    await running.look(60)
    pointer = await running.pointer()
    assert (pointer.version, pointer.trial) == (stable, None)
    assert (await running.mark(new)).startswith("worse: evidence 1000 of 100, of 1 of 1 edge, 50 truths")
    assert await running.story(new) == [("began", "evidence"), ("stopped", "evidence")]
    assert running.ended("stopped") == 1
    newest = await running.publish(3, running.trials)
    assert (await running.trial()).version == newest


async def test_an_edge_that_goes_back_is_evidence_and_holds_no_others_back(running: Running):
    """By hand it speaks for itself: 1 of the 5 edges of a later stage does not decide for them."""
    stable, new = await running.begin()
    await running.find(FINE)
    await running.look()
    inside = await running.inside()
    assert len(inside) == 5
    await running.find(FINE)
    await running.say(inside[0], stable, went_back={new: "too noisy here"})
    await running.look(60)
    assert (await running.trial()).version == new
    assert running.rollouts.standing(running.rollouts.models()[0]).went_back == {inside[0]: "too noisy here"}
    for edge in inside:
        await running.say(edge, stable, went_back={new: "too noisy here"})
    await running.look(60)
    assert (await running.pointer()).trial is None
    assert "went back: too noisy here" in await running.mark(new)


async def test_a_single_edge_decides_for_itself(running_speed: Running):
    stable, new = await running_speed.begin(EDGES[:1])
    await running_speed.say(EDGES[0], new, compared=[(new, stable, 90, (6.0, -5.0))])
    await running_speed.look()
    assert (await running_speed.pointer()).version == new


async def test_a_single_edge_that_goes_back_has_the_version_taken_back(running_speed: Running):
    stable, new = await running_speed.begin(EDGES[:1])
    await running_speed.say(EDGES[0], stable, went_back={new: "worse since noon"})
    await running_speed.look()
    pointer = await running_speed.pointer()
    assert (pointer.version, pointer.former, pointer.since) == (stable, None, running_speed.now)
    assert "worse since noon" in await running_speed.mark(new)
    await running_speed.look()
    assert await running_speed.pointer() == pointer


async def test_what_all_edges_run_is_taken_back_when_it_turns_out_to_be_worse(running_speed: Running):
    stable, new = await running_speed.begin()
    for edge in EDGES:
        await running_speed.say(edge, new, compared=[(new, stable, 80, (4.0, -2.0))])
    await running_speed.look()
    assert (await running_speed.pointer()).version == new, "a mean evidence of 55 is not enough"
    for edge in EDGES[:5]:
        await running_speed.say(edge, new, compared=[(new, stable, 90, (6.0, -2.0))])
    await running_speed.look()
    assert (await running_speed.pointer()).version == stable
    assert (await running_speed.mark(new)).startswith("worse: ")


async def test_a_worse_version_without_a_former_one_is_kept_from_new_edges_alone(running: Running):
    stable = await running.publish(1)
    await running.say(EDGES[0], None, went_back={stable: "worse than the built-in ones"})
    await running.look()
    assert (await running.pointer()).version == stable
    assert await running.mark(stable) is not None
    newest = await running.publish(2, running.trials)
    assert ((await running.pointer()).version, (await running.pointer()).trial) == (newest, None)


async def test_a_newer_version_supersedes_the_one_on_trial_which_never_reaches_all(running: Running):
    stable, tried = await running.begin()
    await running.look()
    newest = await running.publish(3, running.trials)
    pointer = await running.pointer()
    assert (pointer.version, pointer.trial.version, pointer.trial.stage) == (stable, newest, 0)
    await running.look()
    assert await running.story(tried) == [("began", "evidence"), ("superseded", "evidence")]
    assert await running.mark(tried) is None
    assert running.ended("superseded") == 1


async def test_edges_that_never_report_are_waited_for_and_a_person_may_go_on(running: Running):
    _, new = await running.begin()
    await running.look(20 * HOUR)
    assert (await running.trial()).stage == 0
    standing = running.rollouts.standing(running.rollouts.models()[0])
    assert standing.waits == "waits for 500 of 500 truths of 1 edge; it can be advanced by hand"
    assert standing.newcomers.reporting == 0
    await running.look(20 * HOUR)
    standing = running.rollouts.standing(running.rollouts.models()[0])
    assert standing.waits.startswith("waits for an edge of this stage: none was heard for a day")
    assert (await running.trial()).version == new


async def test_where_the_edge_that_tries_it_dies_another_one_tries_it(running: Running):
    stable, _ = await running.begin()
    await running.look()
    before = await running.inside()
    running.now += 3 * 86400
    for edge in EDGES:
        if edge not in before:
            await running.say(edge, stable)
    renewed = running.trainer()
    await renewed.look()
    after = await running.inside()
    assert (set(after) > set(before), len(after)) == (True, 2)


LIES = [
    {"truths": -5, "log_not_worse": 1e308},
    {"truths": 10**12, "log_not_worse": -1e308},
    {"truths": 10**12, "log_not_worse": 1e308},
]


@pytest.mark.parametrize("lie", LIES)
async def test_one_edge_that_lies_pushes_no_version_on_among_many(running: Running, lie: dict[str, float]):
    """In a stage of 9 newcomers 20 % must be convinced."""
    rollout = Rollout(stages=("9", "100%"), evidence=5000)
    running.stream = running.stream.model_copy(update={"rollout": rollout})
    running.rollouts = running.trainer()
    await running.begin()
    await running.find((0.0, 0.0), 100)
    liar, *_ = await running.inside()
    await running.lie(liar, **lie)
    trial = await running.trial()
    await running.look()
    assert await running.trial() == trial


async def test_who_is_not_in_the_stage_does_not_say_that_it_has_passed(running: Running):
    stable, new = await running.begin()
    await running.find((0.0, 0.0), 100)
    inside = await running.inside()
    outside = next(edge for edge in EDGES if edge not in inside)
    await running.say(outside, stable, compared=[(new, stable, 2000, (-20.0, 600.0))])
    trial = await running.trial()
    await running.look()
    assert await running.trial() == trial


async def test_a_stage_that_began_by_a_clock_years_ahead_lasts_as_long_as_others(running: Running):
    running.now += 10 * 365 * 86400
    await running.begin()
    running.now -= 10 * 365 * 86400
    for edge in EDGES:
        await running.say(edge)
    await running.find(FINE)
    await running.look()
    assert (await running.trial()).stage == 0
    await running.look()
    assert (await running.trial()).stage > 0


async def test_one_edge_that_lies_stops_no_version_among_many(tmp_path: Path, temperature: StreamDefinition):
    rollout = Rollout(stages=("11", "100%"))
    stream = temperature.model_copy(update={"rollout": rollout})
    running = Running(FolderStore(tmp_path / "store"), stream, "batch")
    edges = [f"edge{number:08d}" for number in range(12)]
    stable, new = await running.begin(edges)
    trial = await running.trial()
    inside = [edge for edge in edges if is_in(trial, edge, {})]
    for edge in inside:
        await running.say(edge, new, compared=[(new, stable, 100, (-1.0, 1.0))])
    await running.lie(inside[0], log_worse=1e308)
    await running.look()
    assert await running.trial() == trial
    await running.lie(inside[1], log_worse=6.0)
    await running.look()
    assert (await running.pointer()).trial is None


@pytest.mark.parametrize("body", [b"", b"{", b'{"note": {}}', b"x" * 300_000])
async def test_a_heartbeat_that_is_none_stops_nothing(running: Running, body: bytes):
    await running.begin()
    await running.store.put(heartbeat_key("broken"), body)
    await running.store.put(f"{HEARTBEATS}strange/name.json", body)
    await running.find(FINE)
    await running.look()
    assert (await running.trial()).stage > 0


async def test_of_two_trainers_one_moves_it_and_nothing_is_told_twice(running: Running):
    _, new = await running.begin()
    other = running.trainer()
    await asyncio.gather(running.rollouts.look(), other.look())
    for _ in range(2):
        await running.find(FINE)
        running.now += 2 * HOUR
        await asyncio.gather(running.rollouts.look(), other.look())
    assert (await running.pointer()).version == new
    acts = [act for act, _ in await running.story(new)]
    assert acts == ["began", "advanced", "done"]


class WatchedFolder(FolderStore):
    """A folder as store, in which somebody else looks as soon as a model's pointer was moved."""

    after_move: Callable[[], Awaitable[None]] | None = None

    async def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        etag = await super().put(key, body, if_match=if_match, if_absent=if_absent)
        if key.endswith("/current.json") and (look := self.after_move) is not None:
            self.after_move = None
            await look()
        return etag


@pytest.mark.parametrize(("evidence", "acts"), [(FINE, ["began", "advanced", "done"]), (WORSE, ["began", "stopped"])])
async def test_an_end_that_another_trainer_sees_before_it_is_noted_is_noted_once(
    tmp_path: Path, temperature: StreamDefinition, evidence: tuple[float, float], acts: list[str]
):
    store, metrics = WatchedFolder(tmp_path / "store"), Metrics()
    running = Running(store, temperature, "batch")
    other = running.trainer(metrics)
    _, new = await running.begin()
    await running.look()
    for _ in acts[1:]:
        await running.find(evidence)
        running.now += 2 * HOUR
        store.after_move = other.look
        await running.rollouts.look()
    assert [act for act, _ in await running.story(new)] == acts
    assert (running.ended(acts[-1]), running.ended(acts[-1], metrics)) in {(1, 0), (0, 1)}


async def test_what_a_hand_takes_back_is_said_to_be_by_that_hand(running: Running):
    other = running.trainer()
    _, new = await running.begin()
    await running.look()
    await running.rollouts.abort(running.stream.name, "batch", Hand("Ada", "it smells"))
    await other.look()
    assert await running.story(new) == [("began", "evidence"), ("aborted", "Ada")]


async def test_after_a_crash_between_the_word_and_the_pointer_the_next_look_goes_on(running: Running):
    stable, new = await running.begin()
    await running.rollouts.look()
    await running.find(WORSE)
    before = await running.store.get(manifests.pointer_key(running.stream.name, "batch"))
    await running.look()
    await running.store.put(manifests.pointer_key(running.stream.name, "batch"), before.body)
    restarted = running.trainer()
    await restarted.look()
    assert ((await running.pointer()).version, (await running.pointer()).trial) == (stable, None)
    assert await running.mark(new) is not None


async def test_a_version_that_was_kept_out_before_a_crash_goes_no_further_whatever_its_edges_say(running: Running):
    """A hand took it back, and the trainer died before the pointer moved."""
    stable, new = await running.begin()
    await running.rollouts.look()
    await running.find(FINE)
    await quarantine(running.store, Quarantine(new, "it smells", running.now, running.stream.name, "batch"), SIGNER)
    await running.look()
    assert ((await running.pointer()).version, (await running.pointer()).trial) == (stable, None)
    assert await running.story(new) == [("began", "evidence"), ("stopped", "evidence")]


async def test_a_hand_takes_back_what_another_trainer_gives_to_all_at_the_same_moment(running: Running, tmp_path: Path):
    stable, new = await running.begin()
    await running.find(FINE)
    await running.look()
    await running.find(FINE)
    store = Meanwhile(tmp_path / "store", manifests.pointer_key(running.stream.name, "batch"), running.look)
    with pytest.raises(Conflict):
        await running.trainer(store=store).abort(running.stream.name, "batch", Hand("Ada", "it smells"))
    assert await running.mark(new) == "it smells"
    await running.trainer().look()
    assert (await running.pointer()).version == stable


async def test_what_is_on_trial_and_what_ran_before_are_not_pruned(running: Running):
    stable, tried = await running.begin()
    for number in range(3, 6):
        await running.publish(number)
    newest = await running.publish(6, running.trials)
    at = await current(running.store, running.stream.name, "batch")
    await prune(running.store, running.stream.name, "batch", at, keep=1)
    prefix = f"{manifests.folder(running.stream.name, 'batch')}/v"
    left = {listed.key.split("/")[3] async for listed in running.store.list(prefix)}
    assert {newest, at.version, at.pointer.former} <= left
    assert not {stable, tried} & left


class Door:
    """The trainer's REST door, with its token."""

    def __init__(self, running: Running, client: httpx.AsyncClient, app: FastAPI) -> None:
        self.name = f"{running.stream.name}.{running.member}"
        self.client = client
        self.app = app

    async def look(self) -> None:
        """At all heartbeats, and then at the roll-outs, as the trainer's jobs do."""
        await self.app.state.heartbeats.reconcile(None)
        await self.app.state.rollouts.look()

    async def show(self) -> Any:
        return (await self.client.get(f"/v1/rollouts/{self.name}")).json()

    async def post(self, act: str, token: str = "hush", **asked: str) -> httpx.Response:  # noqa: S107 - a test's
        headers = {"Authorization": f"Bearer {token}"}
        return await self.client.post(f"/v1/rollouts/{self.name}/{act}", json=asked, headers=headers)


@pytest.fixture
async def door(running: Running) -> AsyncIterator[Door]:
    # By the real clock, since the app has no other.
    running.now = time.time()
    settings = TrainerSettings(store="x", token=SecretStr("hush"), signing_key=SecretStr(PEM))
    app = create_app(settings, running.store, streams={running.stream.name: running.stream})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer") as client:
        yield Door(running, client, app)


async def test_by_hand_it_goes_through_all_stages(running: Running, door: Door):
    stable, new = await running.begin()
    await door.look()
    shown = await door.show()
    assert (shown["state"], shown["on_trial"], shown["for_all"], shown["stage"]) == ("running", new, stable, 1)
    assert shown["stages"] == ["1", "10%", "50%", "100%"]
    assert shown["newcomers"]["edges"] == 1
    answer = await door.post("advance", by="ada", reason="the canary is fine", version=new)
    assert (answer.status_code, answer.json()["stage"]) == (200, 3)
    answer = await door.post("advance", by="ada")
    assert (answer.json()["state"], answer.json()["for_all"], answer.json()["former"]) == ("none", new, stable)
    (story,) = (await door.show())["stories"]
    assert [(event["act"], event["by"], event["stage"]) for event in story["events"]] == [
        ("began", "evidence", "1"),
        ("advanced", "ada", "50%"),
        ("done", "ada", "100%"),
    ]
    assert story["events"][1]["why"] == "the canary is fine"
    assert (await door.post("advance")).status_code == 409
    assert [listed["state"] for listed in (await door.client.get("/v1/rollouts")).json()] == ["none"]


async def test_paused_it_stays_until_it_is_resumed_but_is_still_stopped_when_worse(running: Running, door: Door):
    _, new = await running.begin()
    assert (await door.post("pause", by="ada")).json()["state"] == "paused"
    assert (await door.post("pause", by="ada")).status_code == 200
    running.now -= 2 * HOUR
    await running.find(FINE)
    await door.look()
    shown = await door.show()
    assert (shown["stage"], shown["state"], shown["waits"].startswith("paused")) == (1, "paused", True)
    assert (await door.post("resume", by="ada")).json()["state"] == "running"
    await door.post("pause", by="ada")
    await running.find(WORSE)
    await door.look()
    shown = await door.show()
    assert (shown["state"], shown["on_trial"], shown["stories"][0]["state"]) == ("none", None, "stopped")
    acts = [event["act"] for event in shown["stories"][0]["events"]]
    assert acts == ["began", "paused", "resumed", "paused", "stopped"]
    assert await running.mark(new) is not None


async def test_advanced_while_it_is_paused_it_goes_one_stage_further_and_stays_paused(running: Running, door: Door):
    _, new = await running.begin()
    await door.post("pause", by="ada")
    shown = (await door.post("advance", by="ada")).json()
    assert (shown["stage"], shown["state"], shown["stories"][0]["state"]) == (3, "paused", "paused")
    running.now -= 2 * HOUR
    await running.find(FINE)
    await door.look()
    assert (await door.show())["waits"].startswith("paused")
    shown = (await door.post("advance", by="ada")).json()
    assert (shown["state"], shown["for_all"], shown["stories"][0]["state"]) == ("none", new, "done")


async def test_undecided_it_goes_on_by_hand_or_gives_way_to_a_newer_version(running: Running, door: Door):
    _, new = await running.begin()
    running.now -= 2 * HOUR
    await running.find((3.0, -3.0), 2000)
    await door.look()
    assert (await door.show())["undecided"] is True
    shown = (await door.post("advance", by="ada")).json()
    assert (shown["stage"], shown["on_trial"]) == (3, new)
    await door.look()
    assert (await door.show())["undecided"] is False, "those who came in compare anew"
    await running.publish(3, running.trials)
    await door.look()
    assert (await door.show())["stories"][1]["state"] == "superseded"


async def test_aborted_it_is_kept_from_all_edges(running: Running, door: Door):
    stable, new = await running.begin()
    shown = (await door.post("abort", by="ada", reason="wrong data")).json()
    assert (shown["state"], shown["for_all"], shown["stories"][0]["state"]) == ("none", stable, "aborted")
    assert await running.mark(new) == "wrong data"


async def test_what_all_edges_run_is_taken_back_by_hand_too(running_speed: Running):
    stable, new = await running_speed.begin()
    settings = TrainerSettings(store="x", token=SecretStr("hush"), signing_key=SecretStr(PEM))
    app = create_app(settings, running_speed.store, streams={running_speed.stream.name: running_speed.stream})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer") as client:
        door = Door(running_speed, client, app.state.rollouts)
        assert (await door.post("abort", by="ada", reason="noisy")).json()["for_all"] == stable
        assert await running_speed.mark(new) == "noisy"
        again = await door.post("abort", by="ada")
        assert (again.status_code, "expected one to go back to" in again.json()["detail"]) == (409, True)


async def test_who_means_another_version_or_has_no_token_moves_nothing(running: Running, door: Door):
    await running.begin()
    before = await running.pointer()
    for act in ("advance", "pause", "resume", "abort"):
        assert (await door.post(act, token="wrong")).status_code == 401  # noqa: S106 - a test's
        assert (await door.post(act, version="v000099-0123456789ab")).status_code == 409
        assert (await door.post(act, other="x")).status_code == 422
    assert await running.pointer() == before
    unknown = await door.client.get("/v1/rollouts/none.batch")
    assert unknown.status_code == 404


async def test_metrics_say_where_it_is(running: Running):
    await running.begin()
    await running.look()
    labels = {"stream": running.stream.name, "member": "batch"}
    stage = running.metrics.registry.get_sample_value
    assert stage("driftline_rollout_stage", labels) == 1
    await running.find(FINE)
    await running.look()
    assert stage("driftline_rollout_stage", labels) == 3
    await running.find(WORSE)
    await running.look()
    assert (stage("driftline_rollout_stage", labels), running.ended("stopped")) == (0, 1)
