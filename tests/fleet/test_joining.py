"""A device joins by a token that is good once, shows a credential that is its own, and can be cut off."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from driftline.errors import Conflict, NotAdmitted, NotFound, StoreUnavailable, Unavailable
from driftline.fleet.names import REGISTRATIONS, join_token_key, registration_key
from driftline.fleet.notes import SignedNote, opened, sealed
from driftline.fleet.registration import JoinRequest, Registration, bearer_of, digest_of
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.door import DoorSettings, DoorStore
from driftline.store.port import clock_offset
from driftline.streams.definition import StreamDefinition
from driftline_trainer.fleet_door import edges as edges_module
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.fleet_door.tokens import JoinTokens
from tests.fleet.cloud import TOKEN, Cloud, Device, bearer
from tests.hearing import hearing

YEAR_S = 365 * 86_400.0


@pytest.fixture
async def cloud(temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with Cloud.opened(tmp_path, temperature) as opened_cloud:
        yield opened_cloud


async def status(cloud: Cloud, device: Device, key: str = "models/none") -> int:
    """Of a look at an object that is not there: 404 for a device of the fleet."""
    async with cloud.client(device.shown) as client:
        return (await client.get("/v1/store/object", params={"key": key})).status_code


async def registration(cloud: Cloud, edge: str) -> Registration:
    stored = await cloud.store.get(registration_key(edge))
    return opened(stored.body, Registration, Trust([cloud.settings.signer().public]))


async def registered(cloud: Cloud) -> int:
    return len([listed async for listed in cloud.store.list(REGISTRATIONS)])


async def test_a_device_joins_with_the_names_of_its_token_and_the_trainer_signs_for_it(cloud: Cloud):
    token = await cloud.token(name="attic-2", labels={"site": "north"})
    device = Device()
    answer = await cloud.ask(token, device.request(token, labels={"site": "south", "kind": "pi5"}))
    assert answer.json() == {
        "edge": answer.json()["edge"],
        "name": "attic-2",
        "labels": {"site": "north", "kind": "pi5"},
    }
    device.edge = answer.json()["edge"]
    assert (await registration(cloud, device.edge)).public_key == device.key.public
    async with cloud.client(device.shown) as client:
        provision = (await client.get("/v1/fleet/provision")).json()
    assert provision["trusted_keys"] == [cloud.settings.signer().public]
    assert provision["fleet_key"] == cloud.settings.fleet_key_file.read_text().strip()
    assert await status(cloud, device) == 404


async def test_the_store_holds_neither_token_nor_credential(cloud: Cloud):
    token = await cloud.token()
    device = Device()
    device.edge = (await cloud.ask(token, device.request(token))).json()["edge"]
    await status(cloud, device)
    kept = b"".join([(await cloud.store.get(listed.key)).body async for listed in cloud.store.list("")])
    assert token.encode() not in kept
    assert device.secret.encode() not in kept
    assert digest_of(token).encode() in kept


async def test_a_token_admits_one_device_once(cloud: Cloud):
    token = await cloud.token()
    first, second = Device(), Device()
    assert (await cloud.ask(token, first.request(token))).status_code == 200
    answer = await cloud.ask(token, second.request(token))
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "found a join token that another device has used already; each admits one device",
    )


async def test_of_many_that_use_a_token_at_once_one_is_admitted(cloud: Cloud):
    token = await cloud.token()
    devices = [Device() for _ in range(12)]
    answers = await asyncio.gather(*(cloud.ask(token, device.request(token)) for device in devices))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    assert await registered(cloud) == 1


async def test_who_asks_again_because_the_answer_was_lost_gets_the_same(cloud: Cloud):
    token, device = await cloud.token(), Device()
    answers = [await cloud.ask(token, device.request(token)) for _ in range(3)]
    answers += await asyncio.gather(*(cloud.ask(token, device.request(token)) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert len({answer.json()["edge"] for answer in answers}) == 1
    assert await registered(cloud) == 1


async def test_who_asks_many_times_at_once_is_one_device(cloud: Cloud):
    for number in range(1, 9):
        token, device = await cloud.token(), Device()
        answers = await asyncio.gather(*(cloud.ask(token, device.request(token)) for _ in range(number)))
        assert [answer.status_code for answer in answers] == [200] * number
        assert len({answer.json()["edge"] for answer in answers}) == 1
        assert await registered(cloud) == number


async def test_a_token_whose_claim_was_written_before_a_crash_still_admits_its_device(cloud: Cloud):
    token, device = await cloud.token(), Device()
    signer = cloud.settings.signer()
    tokens = JoinTokens(cloud.store, signer, Trust([signer.public]))
    known = await tokens.look(digest_of(token))
    await tokens.note(known, used_by="attic1", public_key=device.key.public)
    for _ in range(2):
        answer = await cloud.ask(token, device.request(token))
        assert (answer.status_code, answer.json()["edge"]) == (200, "attic1")


@pytest.fixture
async def other(cloud: Cloud, temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[Cloud]:
    """A second trainer on the same store, with the same key."""
    key = cloud.settings.signing_key
    async with Cloud.opened(tmp_path, temperature, signing_key=key) as opened_cloud:
        yield opened_cloud


async def test_of_many_that_use_a_token_at_once_at_two_trainers_one_is_admitted(cloud: Cloud, other: Cloud):
    token = await cloud.token()
    devices = [Device() for _ in range(12)]
    asked = [(cloud, other)[n % 2].ask(token, device.request(token)) for n, device in enumerate(devices)]
    answers = await asyncio.gather(*asked)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 11
    assert await registered(cloud) == 1


async def test_a_recorded_request_gives_no_former_credential_back(cloud: Cloud, other: Cloud):
    token, device, new = await cloud.token(), Device(), secrets.token_urlsafe(32)
    recorded = device.request(token)
    device.edge = (await cloud.ask(token, recorded)).json()["edge"]
    former = device.shown
    async with cloud.client(former) as client:
        assert (await client.post("/v1/fleet/rotate", content=device.rotation(new))).status_code == 204
    device.secret = new
    assert await status(cloud, device) == 404
    for trainer in (cloud, other):
        answer = await trainer.ask(token, recorded)
        assert (answer.status_code, "found a join token that was used already" in answer.text) == (409, True)
        assert await status(trainer, device) == 404
        async with trainer.client(former) as client:
            assert (await client.get("/v1/fleet/provision")).status_code == 401


async def test_a_recorded_request_takes_no_place_back_from_who_came_after(cloud: Cloud, other: Cloud):
    first = await cloud.joined()
    token, second = await cloud.token(edge=first.edge, replaces=True), Device(edge=first.edge)
    recorded = second.request(token)
    assert (await cloud.ask(token, recorded)).status_code == 200
    third = await cloud.joined(edge=first.edge, replaces=True)
    for trainer in (cloud, other):
        assert (await trainer.ask(token, recorded)).status_code == 409
        assert [await status(trainer, second), await status(trainer, third)] == [401, 404]


async def test_a_recorded_request_brings_no_removed_device_back(cloud: Cloud, other: Cloud):
    token, device = await cloud.token(), Device()
    recorded = device.request(token)
    edge = (await cloud.ask(token, recorded)).json()["edge"]
    await cloud.store.delete(registration_key(edge))
    for trainer in (cloud, other):
        assert (await trainer.ask(token, recorded)).status_code == 409
    assert await registered(cloud) == 0


@pytest.mark.parametrize("token", ["", "nobody's", "x" * 5000, TOKEN])
async def test_nobody_joins_without_a_token_that_was_made(cloud: Cloud, token: str):
    async with cloud.client() as client:
        headers = bearer(token) if token else {}
        answer = await client.post("/v1/fleet/join", content=Device().request(token), headers=headers)
    assert answer.status_code == 401
    assert await registered(cloud) == 0


async def test_a_token_that_is_over_or_was_taken_back_admits_nobody(cloud: Cloud):
    short, deleted, device = await cloud.token(seconds=1e-6), await cloud.token(), Device()
    async with cloud.client(TOKEN) as client:
        listed = (await client.get("/v1/fleet/tokens")).json()
        token_id = next(one["id"] for one in listed if digest_of(deleted).startswith(one["id"]))
        assert (await client.delete(f"/v1/fleet/tokens/{token_id}")).status_code == 204
        assert (await client.delete(f"/v1/fleet/tokens/{token_id}")).status_code == 404
        assert (await client.delete("/v1/fleet/tokens/0")).status_code == 404
    for token in (short, deleted):
        assert (await cloud.ask(token, device.request(token))).status_code == 401


async def test_a_device_must_have_the_key_that_it_shows(cloud: Cloud):
    token, device, thief = await cloud.token(), Device(), Device()
    for body in (
        sealed(
            JoinRequest(token=digest_of(token), public_key=device.key.public, credential="0" * 64, name="a"), thief.key
        ),
        sealed(JoinRequest(token=digest_of(token), public_key=device.key.public, credential="0" * 64, name="a"), None),
        sealed(
            JoinRequest(token=digest_of("x"), public_key=device.key.public, credential="0" * 64, name="a"), device.key
        ),
        device.request(token, public_key="AAAA"),
        device.request(token, credential="0" * 64, name="../up"),
        device.rotation("x"),
        b"{}",
        b"\xff" * 100,
    ):
        assert (await cloud.ask(token, body)).status_code == 422, body
    assert (await cloud.ask(token, b"x" * 20_000)).status_code == 413
    assert (await cloud.ask(token, device.request(token))).status_code == 200, "the token was not used up"


async def test_an_id_of_another_device_is_refused_and_the_token_stays_good(cloud: Cloud):
    first = await cloud.joined()
    token, second = await cloud.token(), Device()
    answer = await cloud.ask(token, second.request(token, edge=first.edge))
    assert (answer.status_code, "with another key" in answer.json()["detail"]) == (403, True)
    assert await status(cloud, first) == 404
    assert (await cloud.ask(token, second.request(token, edge="free1"))).json()["edge"] == "free1"


async def test_a_token_for_one_id_is_good_for_that_one_alone(cloud: Cloud):
    token, device = await cloud.token(edge="attic1"), Device()
    assert (await cloud.ask(token, device.request(token, edge="cellar1"))).status_code == 403
    assert (await cloud.ask(token, device.request(token))).json()["edge"] == "attic1"


async def test_a_device_that_replaces_another_has_its_id_and_the_other_is_cut_off(cloud: Cloud):
    old = await cloud.joined()
    new = await cloud.joined(edge=old.edge, replaces=True)
    assert new.edge == old.edge
    assert [await status(cloud, old), await status(cloud, new)] == [401, 404]


async def test_a_revoked_device_is_cut_off_at_once_and_does_not_come_back(cloud: Cloud):
    token, device = await cloud.token(), Device()
    device.edge = (await cloud.ask(token, device.request(token))).json()["edge"]
    store = DoorStore(DoorSettings(cloud.url, token=device.shown))
    await store.check()
    async with cloud.client(TOKEN) as client:
        assert (await client.post(f"/v1/fleet/edges/{device.edge}/revoke")).json()["revoked"] > 0
        assert (await client.post("/v1/fleet/edges/nobody/revoke")).status_code == 404
    with pytest.raises(StoreUnavailable, match="this device was revoked; it needs a new join token"):
        await store.check()
    await store.close()
    assert (await cloud.ask(token, device.request(token))).status_code == 403
    again = await cloud.token()
    assert (await cloud.ask(again, device.request(again, edge=device.edge))).status_code == 403


async def test_another_trainer_cuts_it_off_within_seconds(cloud: Cloud):
    device, now = await cloud.joined(), [0.0]
    signer = cloud.settings.signer()
    other = Edges(cloud.store, signer, Trust([signer.public]), ticks=lambda: now[0])
    await other.admitted(device.shown)
    async with cloud.client(TOKEN) as client:
        await client.post(f"/v1/fleet/edges/{device.edge}/revoke")
    now[0] = edges_module.FRESH_S
    with pytest.raises(NotAdmitted, match="revoked"):
        await other.admitted(device.shown)


async def test_a_watch_that_waits_tells_a_revoked_device_nothing(cloud: Cloud):
    device = await cloud.joined()
    async with cloud.client(device.shown) as client:
        cursor = (await client.get("/v1/store/watch", params={"prefix": "models/"})).json()["cursor"]
        query = {"prefix": "models/", "cursor": cursor, "wait": 60}
        waiting = asyncio.create_task(client.get("/v1/store/watch", params=query))
        async with cloud.client(TOKEN) as operator:
            await operator.post(f"/v1/fleet/edges/{device.edge}/revoke")
        while not waiting.done():
            await cloud.store.put("models/a/batch/current.json", secrets.token_bytes(8))
            await asyncio.wait([waiting], timeout=0.2)
        assert waiting.result().status_code == 401


async def test_a_new_credential_takes_the_place_of_the_former_once_it_was_used(cloud: Cloud):
    device, new = await cloud.joined(), secrets.token_urlsafe(32)
    former = device.shown
    async with cloud.client() as client:
        for _ in range(2):  # the first answer may have been lost
            answer = await client.post("/v1/fleet/rotate", content=device.rotation(new), headers=bearer(former))
            assert answer.status_code == 204
        replayed = device.rotation(new)
        assert await status(cloud, device) == 404, "the former one is good until the new one was used"
        device.secret = new
        assert await status(cloud, device) == 404
        assert (await client.get("/v1/fleet/provision", headers=bearer(former))).status_code == 401
        third = secrets.token_urlsafe(32)
        assert (
            await client.post("/v1/fleet/rotate", content=device.rotation(third), headers=bearer(device.shown))
        ).status_code == 204
        device.secret = third
        assert await status(cloud, device) == 404
        # Who has recorded the first request has no use of it: its former credential is none any more.
        answer = await client.post("/v1/fleet/rotate", content=replayed, headers=bearer(device.shown))
        assert answer.status_code == 409


async def test_who_has_stolen_a_credential_alone_can_not_prolong_it(cloud: Cloud):
    device, thief = await cloud.joined(), Device()
    stolen = Device(thief.key, device.secret, device.edge)
    async with cloud.client(device.shown) as client:
        answer = await client.post("/v1/fleet/rotate", content=stolen.rotation("x"))
    assert answer.status_code == 422


@pytest.mark.parametrize("shown", ["x", ".", "a.", ".b", "a.b.c", "../x.y", "A.b", "é.b", "nobody.secret"])
async def test_what_is_no_credential_is_answered_like_a_wrong_one(cloud: Cloud, shown: str):
    device = await cloud.joined()
    async with cloud.client() as client:
        answers = [
            await client.get("/v1/store/object", params={"key": "models/a"}, headers=headers)
            for headers in (
                [(b"Authorization", b"Bearer " + shown.encode())],
                bearer(bearer_of(device.edge, "wrong")),
            )
        ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert len({answer.json()["detail"] for answer in answers}) == 1


async def test_a_registration_that_no_trainer_signed_admits_nobody(cloud: Cloud):
    forged, key = Device(edge="forged1"), Signer(new_key())
    stored = await cloud.store.get(registration_key((await cloud.joined()).edge))
    real = msgspec.json.decode(msgspec.json.decode(stored.body, type=SignedNote).note, type=Registration)
    credentials = [msgspec.structs.replace(real.credentials[0], digest=digest_of(forged.secret))]
    note = msgspec.structs.replace(real, edge=forged.edge, credentials=credentials)
    for signer in (key, None):
        await cloud.store.put(registration_key(forged.edge), sealed(note, signer))
        assert await status(cloud, forged) == 401
    # Nor does one that lies under another id than it says.
    await cloud.store.put(registration_key("other1"), stored.body)
    assert await status(cloud, Device(edge="other1")) == 401


async def test_nobody_but_the_operator_makes_tokens_or_revokes(cloud: Cloud):
    device = await cloud.joined()
    for shown in (None, device.shown, "wrong"):
        async with cloud.client(shown) as client:
            answers = [
                await client.post("/v1/fleet/tokens", json={}),
                await client.get("/v1/fleet/tokens"),
                await client.delete("/v1/fleet/tokens/0123456789"),
                await client.get("/v1/fleet/registrations"),
                await client.post(f"/v1/fleet/edges/{device.edge}/revoke"),
                await client.post("/v1/jobs", json={"stream": "a", "member": "batch"}),
            ]
        of_job = 403 if shown == device.shown else 401
        assert [answer.status_code for answer in answers] == [*[401] * 5, of_job]


async def test_the_audit_names_the_device_that_joins(cloud: Cloud, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "driftline.audit")
    device = await cloud.joined()
    joining = [record for record in caplog.records if getattr(record, "path", None) == "/v1/fleet/join"]
    assert [tuple(getattr(record, name) for name in ("who", "role", "status")) for record in joining] == [
        (device.edge, "device", 200)
    ]
    assert device.secret not in caplog.text


async def test_no_secret_is_logged(cloud: Cloud):
    with hearing() as heard:
        token, device = await cloud.token(), Device()
        device.edge = (await cloud.ask(token, device.request(token))).json()["edge"]
        await cloud.ask(token, Device().request(token))
        await status(cloud, device)
        await status(cloud, Device(device.key, "wrong-secret", device.edge))
    said = "".join(heard.lines)
    assert not [secret for secret in (token, device.secret, "wrong-secret", TOKEN) if secret in said]


async def test_an_edge_that_nobody_knows_costs_the_store_few_looks(cloud: Cloud):
    signer, now = cloud.settings.signer(), [0.0]
    edges = Edges(cloud.store, signer, Trust([signer.public]), ticks=lambda: now[0])
    for number in range(int(edges_module.STRANGERS)):
        with pytest.raises(NotAdmitted):
            await edges.admitted(f"nobody{number}.secret")
    with pytest.raises(Unavailable):
        await edges.admitted("nobody.secret")
    now[0] += 1.0
    with pytest.raises(NotAdmitted):
        await edges.admitted("nobody.secret")


async def test_a_clock_that_is_years_off_is_in_nobodys_way(cloud: Cloud):
    """Nothing that a device sends has a time in it; how old a token is the trainer's clock says."""
    device = await cloud.joined()
    store = DoorStore(DoorSettings(cloud.url, token=device.shown), clock=lambda: time.time() - YEAR_S)
    assert clock_offset(store) is None
    await store.put(f"states/{device.edge}/a", b"one")
    assert (await store.get(f"states/{device.edge}/a")).body == b"one"
    assert clock_offset(store) == pytest.approx(-YEAR_S, abs=3)
    await store.close()


async def test_labels_are_those_of_kubernetes_and_not_too_many(cloud: Cloud):
    device, token = Device(), await cloud.token(labels={f"t{n}": "x" for n in range(15)})
    for labels in ({"site/a": "x"}, {"site": "north pole"}, {"site": ""}, {f"d{n}": "x" for n in range(6)}):
        assert (await cloud.ask(token, device.request(token, labels=labels))).status_code == 422
    answer = await cloud.ask(token, device.request(token, labels={f"d{n}": "x" for n in range(5)}))
    assert len(answer.json()["labels"]) == 20
    async with cloud.client(TOKEN) as client:
        assert (await client.post("/v1/fleet/tokens", json={"labels": {"a": "b c"}})).status_code == 422


async def test_a_stolen_card_reaches_its_own_part_alone(cloud: Cloud):
    victim, thief = await cloud.joined(), await cloud.joined()
    await cloud.store.put(f"states/{victim.edge}/filters", b"learned")
    await cloud.store.put("models/a/batch/current.json", b"{}")
    store = DoorStore(DoorSettings(cloud.url, token=thief.shown))
    for key in (f"states/{victim.edge}/filters", join_token_key("0" * 64), registration_key(victim.edge)):
        with pytest.raises(StoreUnavailable, match=f"403: edge {thief.edge} may not get"):
            await store.get(key)
    with pytest.raises(StoreUnavailable, match="may not put"):
        await store.put("models/a/batch/current.json", b"mine")
    with pytest.raises(StoreUnavailable, match="may not delete"):
        await store.delete(f"states/{victim.edge}/filters")
    with pytest.raises(StoreUnavailable, match="may not list"):
        assert [listed async for listed in store.list("states/")]
    assert [listed.key async for listed in store.list("models/")] == ["models/a/batch/current.json"]
    own = f"windows/a/k/001420070400000-001420219800000-{thief.edge}.parquet"
    await store.put(own, b"rows", if_absent=True)
    with pytest.raises(Conflict):
        await store.put(own, b"other", if_absent=True)
    with pytest.raises(StoreUnavailable, match="what is archived stays as it is"):
        await store.put(own, b"other")
    with pytest.raises(NotFound):
        await store.get(f"states/{thief.edge}/none")
    await store.close()
