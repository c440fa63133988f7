"""One run: everything is started, loaded and disturbed; then it comes to rest and is judged."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import stamina

from driftline.members import MODELS
from driftline_cli import objects
from tests.chaos import outcome as outcomes
from tests.chaos import rest
from tests.chaos.fleet import DISTURBED, KAFKA, SECOND, STORE, Fleet, NotReady
from tests.chaos.loader import Loader
from tests.chaos.outcome import Outcome
from tests.chaos.plan import Act, draw
from tests.chaos.sampler import Sampler
from tests.chaos.scene import HISTORY, Scene, set_up
from tests.chaos.settings import ChaosSettings

HORIZON = (1, 6)
WINDOW = 12
RETRAIN_EVERY = 480
LEAST_TICKS = 3 * WINDOW
LEAST_SWAPS = 6
"""Two replicas begin with two models each: a later model of either member came to both."""
LEAST_S = 180.0
"""So much is sent and swapped in at least, and so long is it tried once nothing is disturbed any more."""
SERVICES = tuple(name for name in DISTURBED if name not in {KAFKA, STORE})
MODELS_S = 240.0
QUICK_S = 12.0
"""Where the services need longer to begin, there is more time between the acts: else nothing is ever at work."""
WARM_UP_S = 3.0
"""Records flow before the first act."""


async def chaos(settings: ChaosSettings, folder: Path) -> Outcome:
    """Logs and data lie in `folder`."""
    scene = set_up(
        folder,
        seed=settings.seed,
        keys=settings.keys,
        horizon=HORIZON,
        window=WINDOW,
        retrain_every=RETRAIN_EVERY,
        base=int(time.time()) * 1000,
    )
    fleet = Fleet(folder, SERVICES, _environment(folder))
    try:
        with rest.environment(objects.credentials(folder)):
            return await _run(settings, scene, fleet)
    finally:
        await fleet.down()


def _environment(folder: Path) -> dict[str, str]:
    return {
        "DRIFTLINE_DATA_DIR": str(folder.absolute() / "data"),
        "DRIFTLINE_STORE_POLL": "5",
        "DRIFTLINE_RETRAIN_INTERVAL": "5",
        "DRIFTLINE_TRAINER_LEASE": "10",
    }


async def _run(settings: ChaosSettings, scene: Scene, fleet: Fleet) -> Outcome:
    phases = settings.phases
    loader, sampler, exactly_once_from = Loader(scene, fleet.url("ingest")), Sampler(fleet), None
    await fleet.up(DRIFTLINE_DELIVERY=phases[0][0])
    await first_models(fleet, scene)
    pace = max(1.0, fleet.began_in / QUICK_S)
    plans = [draw(f"{settings.seed} {delivery}", seconds, DISTURBED, pace) for delivery, seconds in phases]
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(job) for job in (fleet.supervise(), sampler.run())]
        loading = group.create_task(loader.run())
        for number, ((delivery, seconds), plan) in enumerate(zip(phases, plans, strict=True)):
            if number:
                await fleet.turn(DRIFTLINE_DELIVERY=delivery)
            if delivery == "exactly_once":
                exactly_once_from = int(loader.acknowledged.max()) + 1
            await _disturb(fleet, scene, plan, seconds)
        # Where a machine was too busy to take much in meanwhile, there is something to judge all the same.
        await loader.reach(LEAST_TICKS, LEAST_S)
        await _reach(fleet, LEAST_SWAPS, LEAST_S)
        loader.stop()
        await loading
        found = await _judge(scene, fleet, loader, sampler, settings, exactly_once_from, pace)
        for task in background:
            task.cancel()
    return found


async def first_models(fleet: Fleet, scene: Scene) -> None:
    """Returns when every replica of inference serves a batch and a speed model. Raises NotReady."""
    replicas = [name for name in fleet.services if name.startswith("inference")]
    async with httpx.AsyncClient(timeout=30) as client:
        await _ask(client, fleet, scene)
        async for attempt in stamina.retry_context(
            on=(httpx.HTTPError, NotReady), attempts=None, timeout=MODELS_S, wait_initial=0.3, wait_max=1.0
        ):
            with attempt:
                for name in replicas:
                    models = (await client.get(f"{fleet.url(name)}/v1/models")).raise_for_status().json()["models"]
                    serving = {model["member"] for model in models if model["state"] == "serving"}
                    if serving < set(MODELS):
                        raise NotReady(f"{name}: found {sorted(serving)} serving, expected {sorted(MODELS)}")


async def _ask(client: httpx.AsyncClient, fleet: Fleet, scene: Scene) -> None:
    asked = {"stream": scene.stream.name, "member": "batch", "history": HISTORY}
    (await client.post(f"{fleet.url('trainer')}/v1/jobs", json=asked)).raise_for_status()


async def _disturb(fleet: Fleet, scene: Scene, plan: Sequence[Act], seconds: float) -> None:
    """Does what is planned, each at its time, and returns when the phase is over and all of it is undone."""
    await asyncio.sleep(WARM_UP_S)
    async with asyncio.TaskGroup() as group:
        for act in plan:
            group.create_task(_perform(fleet, scene, act))
        group.create_task(asyncio.sleep(seconds))


async def _perform(fleet: Fleet, scene: Scene, act: Act) -> None:
    await asyncio.sleep(act.at)
    if act.kind == "kill":
        await fleet.kill(act.target, act.seconds)
    elif act.kind == "pause":
        await fleet.pause(act.target, act.seconds)
    else:
        # A trainer that is away is not waited for: the next one is asked for soon enough.
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=5) as client:
                await _ask(client, fleet, scene)
                fleet.done["trainer", "train"] += 1


async def _judge(
    scene: Scene,
    fleet: Fleet,
    loader: Loader,
    sampler: Sampler,
    settings: ChaosSettings,
    exactly_once_from: int | None,
    pace: float,
) -> Outcome:
    acknowledged, unready = loader.acknowledged, await fleet.unready()
    forecasts, blends = await rest.published(fleet.brokers, scene, acknowledged)
    missing = outcomes.first_missing((forecasts, blends), acknowledged)
    # A result of what is missing is not waited for.
    patience = rest.QUIET_S if missing else rest.REST_S
    windows, results = await rest.archived(fleet.endpoint, scene, acknowledged, patience)
    return Outcome(
        seed=settings.seed,
        phases=settings.phases,
        pace=pace,
        acknowledged=acknowledged,
        forecasts=forecasts,
        blends=blends,
        windows=windows,
        results=results,
        watches=sampler.watches,
        restarts=fleet.restarts,
        acts=fleet.done,
        swaps=_swaps(fleet),
        sent_again=loader.repeats,
        exactly_once_from=exactly_once_from,
        unready=unready,
        places=await rest.places(fleet.brokers, scene, missing) if missing else {},
    )


class TooFewSwaps(Exception):
    """Models are still being trained."""


async def _reach(fleet: Fleet, swaps: int, within: float) -> None:
    """Returns when so many models were swapped in, or after so many seconds."""
    with suppress(TooFewSwaps):
        async for attempt in stamina.retry_context(
            on=TooFewSwaps, attempts=None, timeout=within, wait_initial=0.5, wait_max=0.5
        ):
            with attempt:
                if await asyncio.to_thread(_swaps, fleet) < swaps:
                    raise TooFewSwaps


def _swaps(fleet: Fleet) -> int:
    """Models that were swapped in while a replica ran, at both of them together."""
    found = 0
    for replica in ("", SECOND):
        with fleet.log(f"inference{replica}").open(encoding="utf-8", errors="replace") as lines:
            found += sum('"model swapped in"' in line and "restored from" not in line for line in lines)
    return found
