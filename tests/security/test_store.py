"""The object store by HTTPS, on a real server with an authority of its own; the whole contract is in tests/store."""

import uuid
from pathlib import Path

import pytest

from driftline.errors import StoreUnavailable
from driftline.service.ports import open_store
from driftline.service.settings import Settings, read_settings
from driftline.store.port import Store
from driftline_cli import objects
from tests.s3_server import S3Server
from tests.security.authority import Authority

pytestmark = pytest.mark.s3


async def bucket(server: S3Server) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    await objects.prepare(server.folder, server.port, name, server.scheme)
    return name


def store_of(monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str) -> Store:
    monkeypatch.setenv("DRIFTLINE_STORE", f"s3://{name}")
    monkeypatch.setenv("DRIFTLINE_STORE_ENDPOINT", endpoint)
    return open_store(read_settings(Settings))


async def test_who_knows_the_authority_puts_and_gets(monkeypatch: pytest.MonkeyPatch, secure_s3_server: S3Server):
    store = store_of(monkeypatch, await bucket(secure_s3_server), secure_s3_server.endpoint)
    await store.check()
    await store.put("a/b", b"one")
    assert (await store.get("a/b")).body == b"one"
    await store.close()


async def refused(store: Store) -> str:
    with pytest.raises(StoreUnavailable) as checking:
        await store.check()
    with pytest.raises(StoreUnavailable) as putting:
        await store.put("a/b", b"one")
    await store.close()
    assert "\n" not in str(checking.value)
    assert str(putting.value).removeprefix("a/b") == str(checking.value).removeprefix("the bucket")
    return str(checking.value)


async def test_a_store_of_an_unknown_authority_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, secure_s3_server: S3Server, tmp_path: Path
):
    name, other = await bucket(secure_s3_server), Authority(tmp_path, "another").file
    monkeypatch.setenv("AWS_CA_BUNDLE", str(other))
    said = await refused(store_of(monkeypatch, name, secure_s3_server.endpoint))
    assert said.startswith("the bucket: the store is not trusted: ")
    assert secure_s3_server.endpoint in said
    assert f"{other} (AWS_CA_BUNDLE)" in said


async def test_without_an_authority_of_its_own_the_public_ones_decide(
    monkeypatch: pytest.MonkeyPatch, secure_s3_server: S3Server
):
    name = await bucket(secure_s3_server)
    monkeypatch.delenv("AWS_CA_BUNDLE")
    assert "the store is not trusted" in await refused(store_of(monkeypatch, name, secure_s3_server.endpoint))


async def test_a_store_without_tls_is_not_talked_to(monkeypatch: pytest.MonkeyPatch, s3_server: S3Server):
    endpoint = s3_server.endpoint.replace("http:", "https:")
    assert "does not speak TLS" in await refused(store_of(monkeypatch, await bucket(s3_server), endpoint))
