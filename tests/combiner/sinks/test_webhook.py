"""The webhook at a real server: what is sent, how it is signed, and which answers end in what."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import stamina
from fastapi import FastAPI, Request, Response

from driftline.bus.memory import MemoryBus
from driftline.messages import ALERTS, DEAD_LETTERS
from driftline.metrics import Metrics
from driftline.streams.catalog import Streams
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.sinks.job import SinkJob
from driftline_combiner.sinks.opening import open_sinks
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable
from driftline_combiner.sinks.settings import WebhookSection
from driftline_combiner.sinks.webhook import GIVEN_UP_AFTER_S, WebhookSink
from tests.combiner.sinks.blends import alert
from tests.serving import served

PATIENCE_S = 60
NOW = 1_767_225_600.0
KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"


class Receiver:
    """Takes what comes, and answers as `answer` says."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answer: Callable[[str], Response] = lambda _: Response()
        self.url = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, _, body in self.requests]

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/livez")
        async def livez() -> dict[str, str]:
            return {}

        @app.post("/{path:path}")
        async def take(path: str, request: Request) -> Response:
            body = await request.body()
            self.requests.append((path, dict(request.headers), body))
            return self.answer(body.decode())

        return app


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    one = Receiver()
    async with served(one.app()) as address:
        one.url = f"http://{address}"
        yield one


@asynccontextmanager
async def sink(receiver: Receiver, path: str = "/hook", **section: Any) -> AsyncIterator[WebhookSink]:
    whole = WebhookSection(type="webhook", url=receiver.url + path, **section)
    async with WebhookSink(whole, clock=lambda: NOW) as opened:
        yield opened


def status(code: int, text: str = "", **headers: str) -> Callable[[str], Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Response(text, status_code=code, headers=named)


async def test_an_alert_is_json_with_all_that_it_says(receiver):
    async with sink(receiver) as opened:
        assert await opened.send([alert(3)]) == []
    ((path, headers, _),), (body,) = receiver.requests, receiver.bodies
    assert (path, headers["content-type"]) == ("hook", "application/json")
    assert body == {
        "type": "driftline.alert",
        "id": headers["webhook-id"],
        "time": "2026-01-01T03:00:00+00:00",
        "stream": "tank",
        "key": "k3",
        "t": alert(3).t,
        "kind": "drift",
        "subject": "blend",
        "detail": "the 3th finding",
    }


async def test_the_same_alert_has_the_same_name_and_another_has_another(receiver):
    async with sink(receiver) as opened:
        for one in (alert(1), alert(1), alert(2), alert(1, "anomaly")):
            await opened.send([one])
    names = [headers["idempotency-key"] for _, headers, _ in receiver.requests]
    assert names[0] == names[1]
    assert len(set(names)) == 3


async def test_a_body_is_signed_as_standard_webhooks_has_it(receiver, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    async with sink(receiver, secret_file=secret) as opened:
        await opened.send([alert(1)])
    ((_, headers, body),) = receiver.requests
    assert headers["webhook-timestamp"] == str(int(NOW))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


async def test_slack_gets_text_in_which_nothing_is_a_link(receiver):
    async with sink(receiver, preset="slack") as opened:
        odd = alert(1).__class__("tank", "<!channel>&", 0, "drift", "", "a > b")
        await opened.send([odd])
    assert receiver.bodies == [
        {"text": "*drift: tank/&lt;!channel&gt;&amp;*\na &gt; b\n1970-01-01T00:00:00+00:00"},
    ]


async def test_ntfy_gets_its_json_at_the_server_itself(receiver):
    async with sink(receiver, "/under/attic", preset="ntfy") as opened:
        await opened.send([alert(1), alert(2, "lost")])
    assert [path for path, _, _ in receiver.requests] == ["under/", "under/"]
    first, second = receiver.bodies
    assert (first["topic"], first["title"]) == ("attic", "drift: tank/k1 (blend)")
    assert first["message"] == "the 1th finding\n2026-01-01T01:00:00+00:00"
    assert (first["priority"], second["priority"]) == (3, 4)


@pytest.mark.parametrize("code", [301, 401, 403, 404, 405, 410])
async def test_what_a_person_can_correct_is_sent_again_until_then(receiver, code):
    receiver.answer = status(code, "no")
    async with sink(receiver) as opened:
        with pytest.raises(SinkRefused, match=f"it answered {code}") as raised:
            await opened.send([alert(1)])
        assert raised.value.remedy.startswith("correct ")


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
async def test_what_passes_is_waited_for(receiver, code):
    receiver.answer = status(code)
    async with sink(receiver) as opened:
        with pytest.raises(SinkUnavailable, match=f"it answered {code}"):
            await opened.send([alert(1)])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (formatdate(NOW + 9, usegmt=True), 9.0),
        (formatdate(0, usegmt=True), 0.0),
        ("soon", None),
        ("", None),
    ],
    ids=["seconds", "date", "past", "garbage", "none"],
)
async def test_the_other_side_says_when_to_come_again(receiver, text, seconds):
    receiver.answer = status(429, **({"Retry_After": text} if text else {}))
    async with sink(receiver) as opened:
        with pytest.raises(SinkUnavailable) as raised:
            await opened.send([alert(1)])
    assert raised.value.wait == seconds


async def test_a_server_that_is_not_there_is_waited_for():
    section = WebhookSection(type="webhook", url="http://127.0.0.1:1/hook")
    async with WebhookSink(section) as opened:
        with pytest.raises(SinkUnavailable, match="no answer: ConnectError"):
            await opened.send([alert(1)])


async def test_one_that_it_can_not_read_is_set_aside_where_it_has_taken_others(receiver):
    async with sink(receiver) as opened:
        assert await opened.send([alert(1)]) == []
        receiver.answer = status(400, "what is this")
        (aside,) = await opened.send([alert(2)])
        assert (aside.index, aside.reason) == (0, "it answered 400: what is this")


async def test_an_endpoint_that_reads_none_is_configured_wrongly_and_holds_what_there_is_for_a_day(receiver):
    receiver.answer, now = status(400, "invalid_payload"), [0.0]
    section = WebhookSection(type="webhook", url=receiver.url)
    async with WebhookSink(section, monotonic=lambda: now[0]) as opened:
        for now[0] in (0.0, GIVEN_UP_AFTER_S - 1):
            with pytest.raises(SinkRefused, match="invalid_payload") as raised:
                await opened.send([alert(1)])
            assert "preset" in raised.value.remedy
        now[0] = GIVEN_UP_AFTER_S
        assert len(await opened.send([alert(1)])) == 1


async def test_secrets_are_read_again_when_they_were_corrected(receiver, tmp_path: Path):
    url, token, secret = tmp_path / "url", tmp_path / "token", tmp_path / "secret"
    section = WebhookSection(type="webhook", url_file=url, token_file=token, secret_file=secret)
    async with WebhookSink(section) as opened:
        with pytest.raises(SinkRefused, match=r"url can't be read: No such file"):
            await opened.send([alert(1)])
        url.write_text("https://user:hush@example.org")
        with pytest.raises(SinkRefused, match="expected a URL without a user") as raised:
            await opened.send([alert(1)])
        assert "hush" not in f"{raised.value}{raised.value.remedy}"
        url.write_text(receiver.url)
        token.write_text("\n")
        secret.write_text("short")
        with pytest.raises(SinkRefused, match="expected whsec_ and 24 to 64 bytes in base64"):
            await opened.send([alert(1)])
        secret.write_text(SECRET)
        with pytest.raises(SinkRefused, match="token is empty"):
            await opened.send([alert(1)])
        token.write_text("sesame\n")
        assert await opened.send([alert(1)]) == []
    ((_, headers, _),) = receiver.requests
    assert headers["authorization"] == "Bearer sesame"


async def test_of_a_batch_that_comes_again_only_the_rest_is_sent(receiver):
    answers = iter([200, 400, 503, 200])
    receiver.answer = lambda _: Response(status_code=next(answers))
    async with sink(receiver) as opened:
        batch = [alert(n) for n in range(3)]
        with pytest.raises(SinkUnavailable):
            await opened.send(batch)
        assert [one.index for one in await opened.send(batch)] == [1]
    assert [body["key"] for body in receiver.bodies] == ["k0", "k1", "k2", "k2"]


async def test_from_the_topic_to_the_server_nothing_is_missing_though_it_fails_now_and_then(receiver):
    bus, failing = MemoryBus(), iter([500, 401, 200, 429, 503, *[200] * 100])

    def answer(body: str) -> Response:
        code = 400 if "k7" in body else next(failing)
        return Response(status_code=code, headers={"Retry-After": "0"})

    receiver.answer = answer
    section = WebhookSection(type="webhook", url=receiver.url, kinds=("drift",), begin="earliest")
    (opened,) = open_sinks({"hook": section}, Streams({}), lambda *_: {})
    job = SinkJob(opened, bus, Streams({}), LoopSettings(checkpoint_every=0.05), Metrics())
    task = asyncio.create_task(job.run())
    await bus.publish(ALERTS, [alert(n, "drift" if n % 2 else "gap") for n in range(12)])
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
        with attempt:
            assert (job.standing.sent, job.standing.set_aside) == (5, 1)
    await job.stop()
    await task
    assert {body["key"] for body in receiver.bodies} == {"k1", "k3", "k5", "k7", "k9", "k11"}
    (letter,) = [envelope.value for envelope in await bus.read(DEAD_LETTERS)]
    assert letter.reason.startswith("it answered 400")
