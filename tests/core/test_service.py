"""The shell of a service: probes, errors without stack traces, and no healthy page before a dead worker."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from importlib.metadata import version
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from driftline.errors import InvalidInput, NotFound, StoreUnavailable, Unavailable
from driftline.metrics import Metrics
from driftline.service import app as service
from driftline.service.app import ReadinessCheck, create_service
from driftline.service.problems import problem

PATIENCE_S = 10


class Working:
    """A job that runs until it is stopped, or fails when it is told to."""

    name = "working"

    def __init__(self) -> None:
        self.ending = asyncio.Event()
        self.error: BaseException | None = None
        self.finished = False

    async def run(self) -> None:
        await self.ending.wait()
        if self.error is not None:
            raise self.error
        self.finished = True

    async def stop(self) -> None:
        self.ending.set()


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://service")


async def test_a_job_that_dies_ends_the_process():
    job, died = Working(), asyncio.get_running_loop().create_future()
    app = create_service(
        "x", "x", metrics=Metrics(), jobs=[job], on_death=lambda name, error: died.set_result((name, str(error)))
    )
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        job.error = ValueError("poisoned")
        job.ending.set()
        assert await died == ("working", "poisoned")


@pytest.mark.parametrize(("error", "told"), [(asyncio.CancelledError(), asyncio.CancelledError), (None, RuntimeError)])
async def test_a_job_that_was_cancelled_from_within_or_returned_early_ends_the_process(error, told):
    job, died = Working(), asyncio.get_running_loop().create_future()
    app = create_service("x", "x", metrics=Metrics(), jobs=[job], on_death=lambda *said: died.set_result(said))
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        job.error = error
        job.ending.set()
        name, why = await died
    assert name == "working"
    assert isinstance(why, told)


async def test_jobs_finish_before_the_service_does_and_what_it_holds_is_closed_last():
    job, closed = Working(), []

    async def close() -> None:
        closed.append(job.finished)

    app = create_service("x", "x", metrics=Metrics(), jobs=[job], close=[close])
    async with app.router.lifespan_context(app):
        assert not job.finished
    assert closed == [True]


async def test_readiness_says_what_is_missing():
    away = [StoreUnavailable("the store does not answer")]

    async def probe() -> None:
        if away:
            raise away[0]

    async with client(create_service("x", "x", metrics=Metrics(), checks=[ReadinessCheck("store", probe)])) as asking:
        answer = await asking.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]) == (503, {"store": "the store does not answer"})
        away.clear()
        assert (await asking.get("/readyz")).json() == {"ready": True, "checks": {"store": "ok"}}
        assert (await asking.get("/livez")).json() == {"status": "ok"}


async def test_readiness_does_not_wait_for_what_does_not_answer(monkeypatch):
    monkeypatch.setattr(service, "ANSWER_S", 0.05)

    async def probe() -> None:
        await asyncio.Event().wait()

    async with client(create_service("x", "x", metrics=Metrics(), checks=[ReadinessCheck("store", probe)])) as asking:
        answer = await asking.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"store": "store gave no answer within 0.05 s"})


async def test_a_service_has_the_version_of_its_package():
    described = await client(create_service("x", "x", metrics=Metrics())).get("/openapi.json")
    assert described.json()["info"]["version"] == version("driftline")


async def test_errors_have_one_shape_and_no_stack_trace():
    app = create_service("x", "x", metrics=Metrics())
    raised: dict[str, Exception] = {
        "/invalid": InvalidInput("found 1, expected 2"),
        "/missing": NotFound("no object a"),
        "/away": Unavailable("come back"),
        "/bug": RuntimeError("secret detail"),
    }

    def failing(error: Exception) -> Callable[[], Awaitable[None]]:
        async def fail() -> None:
            raise error

        return fail

    for path, error in raised.items():
        app.get(path)(failing(error))
    async with client(app) as asking:
        answers = {path: await asking.get(path) for path in [*raised, "/nowhere"]}
    assert [answer.status_code for answer in answers.values()] == [422, 404, 503, 500, 404]
    assert {answer.headers["Content-Type"] for answer in answers.values()} == {"application/problem+json"}
    assert answers["/invalid"].json() == {
        "type": "about:blank",
        "title": HTTPStatus(422).phrase,
        "status": 422,
        "detail": "found 1, expected 2",
        "instance": "/invalid",
    }
    assert answers["/away"].headers["Retry-After"] == "2"
    assert "secret" not in answers["/bug"].text


async def test_an_unexpected_error_has_a_name_that_the_log_has_too(caplog: pytest.LogCaptureFixture):
    app = create_service("x", "x", metrics=Metrics())

    @app.get("/bug")
    async def fail() -> None:
        raise RuntimeError("secret detail")

    async with client(app) as asking:
        instance = (await asking.get("/bug")).json()["instance"]
    assert instance.startswith("urn:uuid:")
    logged = [vars(record)["instance"] for record in caplog.records if record.name == "driftline.service.app"]
    assert logged == [UUID(instance)]


async def test_a_malformed_request_is_a_problem_of_a_type_that_the_service_explains():
    app = create_service("x", "x", metrics=Metrics())

    @app.get("/half/{n}")
    async def half(n: int) -> float:
        return n / 2

    async with client(app) as asking:
        answer = (await asking.get("/half/a b?p=hush")).json()
        page = (await asking.get(answer["type"])).text
        wrong_method, tokenless = await asking.post("/half/1"), problem(401, "expected a token")
    assert (answer["status"], answer["instance"], answer["errors"][0]["where"]) == (422, "/half/a%20b", "path.n")
    assert f'id="{answer["type"].partition("#")[2]}"' in page
    assert (wrong_method.json()["title"], wrong_method.headers["Allow"]) == ("Method Not Allowed", "GET")
    assert tokenless.headers["WWW-Authenticate"] == "Bearer"


async def test_two_services_in_one_process_have_metrics_of_their_own():
    one, two = Metrics(), Metrics()
    one.records.labels("a").inc()
    async with (
        client(create_service("one", "x", metrics=one)) as first,
        client(create_service("two", "x", metrics=two)) as second,
    ):
        assert 'driftline_records_total{stream="a"} 1.0' in (await first.get("/metrics")).text
        assert 'stream="a"' not in (await second.get("/metrics")).text


class Looked(list[Sample]):
    """Samples that remember by which threads they were looked at."""

    def __init__(self, samples: list[Sample]) -> None:
        super().__init__(samples)
        self.threads: set[int] = set()

    def __iter__(self) -> Iterator[Sample]:
        self.threads.add(threading.get_ident())
        return super().__iter__()


class Probe(Collector):
    """One gauge; remembers by which threads it was collected."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.family = GaugeMetricFamily("probe", "x", value=7)
        self.family.samples = self.samples = Looked(self.family.samples)

    def collect(self) -> Iterator[Metric]:
        self.threads.add(threading.get_ident())
        yield self.family


async def test_metrics_are_collected_between_two_steps_and_written_while_the_loop_goes_on():
    metrics, probe = Metrics(), Probe()
    metrics.registry.register(probe)
    probe.samples.threads.clear()
    async with client(create_service("x", "x", metrics=metrics)) as asking:
        assert "probe 7.0" in (await asking.get("/metrics")).text
    here = threading.get_ident()
    assert probe.threads == {here}
    assert probe.samples.threads
    assert here not in probe.samples.threads
