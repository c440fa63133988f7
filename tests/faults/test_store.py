"""What a link, a store and a trainer may do to an edge: its forecasts go on, and it says what is wrong.

The table in docs/models.md names these tests.
"""

import asyncio
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import msgspec
import pytest

from driftline.errors import Conflict
from driftline.models import manifest as manifests
from driftline.models.manifest import Pointer
from driftline.models.signing import seal, unseal
from driftline.versions.releases import current
from driftline_trainer.publish import publish
from tests.faults.conftest import SIGNER, Edge
from tests.s3_server import S3Server

pytestmark = pytest.mark.s3


def event(key: str) -> bytes:
    return json.dumps({"Records": [{"s3": {"object": {"key": key}}}]}).encode()


async def test_link_cut_in_mid_download(edge: Edge):
    good = (await edge.status())["version"]
    edge.link.cut_after(4000)  # more than a pointer takes, less than a model
    newer = await edge.publish(1)
    status = await edge.until(candidate=newer)
    before = edge.link.cuts
    async with asyncio.timeout(120):
        while edge.link.cuts < before + 3:
            await edge.more_records(1)
    status = await edge.status()
    assert (status["version"], status["candidate"], status["refused"]) == (good, newer, {})
    assert status["lag"]["versions"] == 1
    edge.link.mend()
    await edge.until(version=newer, candidate=None, refused={})


async def test_truncated_object(edge: Edge):
    good = (await edge.status())["version"]
    bad = await edge.publish_aside(1)
    body = edge.versions[1].model
    await edge.store.put(edge.model_key(bad), body[:-10])
    await edge.point(bad)
    refused = {bad: f"size: found size {len(body) - 10}, expected {len(body)}"}
    await edge.until(version=good, refused=refused, candidate=bad)
    await edge.more_records()


async def test_every_one_of_200_single_bit_flips(edge: Edge):
    """Of models, manifests and pointers. Each is refused, and the version that serves goes on."""
    good = (await edge.status())["version"]
    random, refused = Random(0), 0
    bad = await edge.publish_aside(1)
    whole = {key: (await edge.store.get(key)).body for key in (edge.model_key(bad), edge.manifest_key(bad))}
    standing = edge.models.registry.state(edge.stream.name, "batch")
    for key, flips in zip(whole, (140, 40), strict=True):
        for _ in range(flips):
            await edge.store.put(key, flipped(whole[key], random))
            await edge.point(bad)
            await edge.models.reconcile()
            assert standing.version == good
            assert standing.refused.pop(bad).split(":")[0] in {"sha256", "manifest", "signature", "stream"}
            await edge.point(good)
            await edge.models.reconcile()
            refused += 1
        await edge.store.put(key, whole[key])
    for _ in range(20):
        key = manifests.pointer_key(edge.stream.name, "batch")
        await edge.store.put(key, flipped(manifests.encode(Pointer(bad)), random))
        await edge.models.reconcile()
        assert standing.version == good
        refused += 1
    assert refused == 200
    await edge.point(bad)
    await edge.until(version=bad)


def flipped(body: bytes, random: Random) -> bytes:
    place = random.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1 << random.randrange(8)]) + body[place + 1 :]


async def test_event_before_the_object_is_readable(edge: Edge):
    swaps = (await edge.status())["swaps"]
    key = manifests.pointer_key(edge.stream.name, "batch")
    assert (await edge.client.post("/v1/events/s3", content=event(key))).status_code == 202
    await edge.more_records()
    assert (await edge.status())["swaps"] == swaps
    await edge.until(version=await edge.publish(1), refused={})


async def test_event_twice(edge: Edge):
    newer = await edge.publish(1)
    key = manifests.pointer_key(edge.stream.name, "batch")
    for _ in range(20):
        await edge.client.post("/v1/events/s3", content=event(key))
    status = await edge.until(version=newer)
    await edge.more_records()
    assert (await edge.status())["swaps"] == status["swaps"] == 2


async def test_older_event_after_newer(edge: Edge):
    older, newer = await edge.publish(1), await edge.publish(0)
    await edge.until(version=newer)
    await edge.client.post("/v1/events/s3", content=event(edge.model_key(older)))
    await edge.client.post("/v1/events/s3", content=event(edge.manifest_key(older)))
    await edge.more_records()
    await edge.until(version=newer, candidate=None)


async def test_pointer_to_a_missing_version(edge: Edge):
    good = (await edge.status())["version"]
    await edge.point("v000099-0123456789ab")
    await edge.until(version=good, candidate="v000099-0123456789ab", refused={})
    await edge.more_records()
    await edge.until(version=await edge.publish_after_a_hole(1), candidate=None)


async def test_manifest_of_another_stream(edge: Edge):
    good = (await edge.status())["version"]
    bad = await edge.publish_aside(1)
    manifest = unseal((await edge.store.get(edge.manifest_key(bad))).body)
    foreign = seal(msgspec.structs.replace(manifest, stream="another"), SIGNER)
    await edge.store.put(edge.manifest_key(bad), foreign)
    await edge.point(bad)
    refused = {bad: "stream: found stream 'another', expected 'outdoor-temperature'"}
    await edge.until(version=good, refused=refused)


async def test_store_away(edge: Edge, s3_server: S3Server):
    """For as many polls as some minutes hold at the default of one in 30 seconds."""
    good = (await edge.status())["version"]
    edge.link.cut()
    newer = await edge.publish(1)
    await edge.more_records(150)
    await edge.until(version=good, refused={})
    edge.link.mend()
    await edge.until(version=newer)


async def test_disk_full_while_caching(edge: Edge):
    """The swap goes on; a restart serves what was cached last, or what the store has. With room it is caught up."""
    good = (await edge.status())["version"]
    with no_file_larger_than(1000):
        newer = await edge.publish(1)
        await edge.until(version=newer, refused={})
        cached = {path.parent.name for path in edge.cache.rglob("model.tflite")}
        assert cached == {good}
    async with asyncio.timeout(120):
        while not (edge.cache / edge.model_key(newer)).exists():
            await edge.more_records(1)
    newest = await edge.publish(0)
    await edge.until(version=newest)
    async with asyncio.timeout(120):
        while not (edge.cache / edge.model_key(newest)).exists():
            await edge.more_records(1)


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A file system that is full, as a process sees it: writing on fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_two_trainers_publishing_at_once(edge: Edge):
    before = await current(edge.store, edge.stream.name, "batch")

    async def try_it(number: int) -> str | None:
        try:
            made = await publish(
                edge.store,
                edge.stream,
                "batch",
                edge.versions[number],
                signer=SIGNER,
                before=before,
                parent=None,
                windows={},
                now=0.0,
            )
        except Conflict:
            return None
        return made.version

    found = await asyncio.gather(*(try_it(number) for number in (0, 1)))
    (winner,) = filter(None, found)
    await edge.until(version=winner)
