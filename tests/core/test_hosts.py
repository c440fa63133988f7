"""Requests by a name that is not the service's own: a stranger's page whose name points here."""

from pathlib import Path

import httpx
import pytest

from driftline.service.hosts import is_own
from tests.started import Started


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8003", "app.localhost", "127.0.0.1:8003", "10.1.2.3", "[::1]:8003", "[fe80::1]", ""),
        *("ingest:8001", "raspberrypi.local:8003", "ingest.driftline.svc", "ingest.driftline.svc.cluster.local:8001"),
        *("ip-10-0-0-1.eu-central-1.compute.internal", "localhost.", "router.home.arpa"),
    ],
)
def test_names_that_nobody_can_register_are_the_services_own(host: str):
    assert is_own(host, ())


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:8003", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example."),
        *("ai.", "local.evil.example", "notlocal.com", "[::1].evil.example.com"[5:], "1.2.3.4.5", "evil.example:x"),
    ],
)
def test_a_name_of_the_public_dns_is_a_strangers(host: str):
    assert not is_own(host, ())


def test_names_of_the_public_dns_are_answered_where_they_are_listed():
    hosts = ("cloud.example.org", "*.edge.example.org")
    assert is_own("Cloud.Example.org:8443", hosts)
    assert is_own("one.edge.example.org", hosts)
    for other in ("edge.example.org", "notedge.example.org", "example.org", "x.cloud.example.org"):
        assert not is_own(other, hosts)
    assert is_own("anything.example", ("*",))


@pytest.mark.process
@pytest.mark.parametrize("service", ["ingest", "inference", "combiner", "trainer"])
async def test_a_service_answers_to_its_own_names_alone(service: str, tmp_path: Path):
    async with Started(service, tmp_path, {"DRIFTLINE_HOSTS": "cloud.example.org, *.example.net"}) as started:
        await started.readiness()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{started.port}", timeout=60) as client:
            for path in ("/livez", "/metrics", "/v1/streams", "/v1/records", "/nowhere"):
                answer = await client.get(path, headers={"Host": "evil.example:80"})
                assert answer.status_code == 421
                assert answer.json()["detail"].startswith("found Host 'evil.example:80', expected an address, a name")
            for own in ("cloud.example.org:8443", "a.example.net", f"localhost:{started.port}", "10.0.0.7"):
                assert (await client.get("/livez", headers={"Host": own})).status_code == 200
