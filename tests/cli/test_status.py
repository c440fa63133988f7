"""What status shows of what services said: one stream alone, and names that can be told apart."""

import io
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import msgspec
import pytest
from rich.console import Console

from driftline.errors import InvalidInput
from driftline_cli import status
from driftline_client.calls.health import DefinedStream, ServiceStreams

EDGE = {"id": "4f", "name": "pi-7", "labels": {"site": "north"}, "rivals": ["c0ffee"]}
NAMES = ("outdoor-temperature-north", "outdoor-temperature-south")


def model(stream: str, member: str) -> dict[str, object]:
    note = "no version that can serve yet; the stream is forecast by its other members"
    return {"stream": stream, "member": member, "state": "missing", "version": None, "note": note}


@pytest.fixture
def found() -> list[status.StackStatus]:
    streams = ServiceStreams([DefinedStream(name, "", "runs", "") for name in NAMES], {})
    models = [model(name, member) for name in NAMES for member in ("batch", "speed")]
    alarm = {"key": "k1", "t": 0, "kind": "drift", "subject": "y", "detail": "y has moved"}
    alarms = [{"stream": name, **alarm} for name in NAMES]
    job = {
        "id": "1",
        "member": "speed",
        "history": None,
        "state": "failed",
        "submitted": 0.0,
        "trigger": "",
        "holder": "",
    }
    job |= {"started": None, "ended": None, "reason": "-", "version": None, "beaten": None, "metrics": {}}
    jobs = [{"stream": name, **job} for name in NAMES]
    scores = [{"stream": name, "active": "online", "series": 0, "horizons": []} for name in NAMES]
    bodies: dict[str, dict[str, Any]] = {
        "inference": {"models": {"edge": EDGE, "models": models}},
        "combiner": {"scores": scores, "alarms": alarms},
        "trainer": {"jobs": jobs},
    }
    return [
        status.StackStatus(
            service, "http://127.0.0.1:8002", True, "ok", {}, streams, msgspec.convert(body, status.StackParts)
        )
        for service, body in bodies.items()
    ]


def shown(found: list[status.StackStatus], width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(status.render(found))
    return text.getvalue()


class Foreign(BaseHTTPRequestHandler):
    """Says that it is ready, as we do, and shows a page everywhere else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"ready": true, "checks": {}}' if self.path == "/readyz" else b"<html>{a=b</html>")

    def log_message(self, *_: object) -> None:
        return


async def test_whatever_else_answers_is_no_driftline():
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        Thread(target=server.serve_forever).start()
        (one,) = await status.look({"ingest": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
    assert (one.ready, one.detail) == (None, "what answers there is no Driftline")


def test_one_stream_is_shown_alone(found: list[status.StackStatus]):
    only = status.of_stream(found, NAMES[0])
    assert NAMES[0] in shown(only, 80)
    assert NAMES[1] not in shown(only, 80)
    inference, combiner, trainer = (service.body for service in only)
    assert [len(part or ()) for part in (combiner.scores, combiner.alarms, trainer.jobs)] == [1, 1, 1]
    assert inference.models is not None
    assert {model.stream for model in inference.models.models} == {NAMES[0]}


def test_the_edge_is_shown_with_its_labels_and_whoever_runs_under_its_id(found: list[status.StackStatus]):
    text = " ".join(shown(found, 200).split())
    assert "Models on pi-7 (4f, site=north); its card was copied: c0ffee run under the same id" in text


def test_names_are_whole_on_a_narrow_screen(found: list[status.StackStatus]):
    for name in NAMES:
        for whole in (f"{name}.batch", f"{name}.speed", f"{name}/k1"):
            assert whole in shown(found, 80)


def test_a_stream_that_no_service_knows_is_said_to_be(found: list[status.StackStatus]):
    with pytest.raises(InvalidInput, match="found no stream 'attic', expected one of"):
        status.of_stream(found, "attic")
