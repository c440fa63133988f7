"""What a service writes to its log of what repeats."""

import io
import json
import logging
import threading

import pytest

from driftline.service.logs import KINDS, JsonFormatter, OnceHandler, configure


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Log:
    """A handler on text, with its lines."""

    def __init__(self) -> None:
        self.clock, self.text = Clock(), io.StringIO()
        self.handler = OnceHandler(self.text, 30, self.clock)
        self.handler.setFormatter(JsonFormatter())

    def say(self, message: str, *values: object, name: str = "aiokafka.conn", **extra: object) -> None:
        record = logging.makeLogRecord({"name": name, "msg": message, "args": values, "levelno": 40, **extra})
        self.handler.handle(record)

    @property
    def lines(self) -> list[tuple[str, int]]:
        found = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [(line["message"], line.get("repeated", 0)) for line in found]


@pytest.fixture
def log() -> Log:
    return Log()


def test_a_clients_line_is_said_at_once_and_then_every_half_minute_with_a_count(log: Log):
    for tenth in range(701):
        log.clock.now = tenth / 10
        log.say("Unable to connect to %s: %s", f"127.0.0.1:{40_000 + tenth}", "refused")
    first, newest = "Unable to connect to 127.0.0.1:%d: refused", 40_000
    assert log.lines == [
        (first % newest, 0),
        (first % (newest + 299), 299),
        (first % (newest + 300), 0),
        (first % (newest + 599), 299),
        (first % (newest + 600), 0),
    ]
    log.handler.close()
    assert log.lines[-1] == (first % (newest + 700), 100)


def test_a_count_is_told_with_whatever_is_said_next(log: Log):
    log.say("gone")
    log.say("gone")
    log.clock.now = 31
    log.say("back again")
    assert log.lines == [("gone", 0), ("gone", 1), ("back again", 0)]


def test_lines_of_ours_that_differ_are_all_said(log: Log):
    for topic in ("a", "b", "a"):
        log.say("message of %s refused", topic, name="driftline_ingest.mqtt")
    assert log.lines == [("message of a refused", 0), ("message of b refused", 0)]


def test_lines_that_differ_in_what_they_are_about_are_all_said(log: Log):
    for what in ("publish", "follow", "publish"):
        log.say("stamina.retry_scheduled", name="stamina", **{"stamina.callable": what, "stamina.retry_num": 7})
    assert [message for message, _ in log.lines] == ["stamina.retry_scheduled"] * 2


def test_memory_is_bounded_and_nothing_is_lost(log: Log):
    for number in range(3 * KINDS):
        log.say(f"line {number}", name="driftline.worker.loop")
    assert len(log.lines) == 3 * KINDS
    assert len(log.handler._kinds) <= KINDS + 1


def test_threads_lose_no_count(log: Log):
    def talk() -> None:
        for _ in range(500):
            log.say("gone")

    threads = [threading.Thread(target=talk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.handler.close()
    assert log.lines == [("gone", 0), ("gone", 1999)]


def test_files_that_change_are_no_news_and_the_urls_of_requests_are_secrets(capsys: pytest.CaptureFixture[str]):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure(["inference"], "info")
        logging.getLogger("watchfiles.main").info("4 changes detected")
        logging.getLogger("httpx").info("HTTP Request: POST https://hooks.slack.com/services/T0/B0/hush")
        logging.getLogger("aiokafka").info("joined")
    finally:
        root.handlers, root.level = handlers, level
    lines = capsys.readouterr().err
    assert "joined" in lines
    assert "hush" not in lines
    assert "changes detected" not in lines
