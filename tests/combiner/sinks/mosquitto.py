"""A real mosquitto for the tests of sinks, and what it has retained."""

import json
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

import aiomqtt
import pytest
import stamina

from driftline_cli.broker import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
PATIENCE_S = 60


class Mosquitto:
    """access: lines of its configuration that say who may come. What it has retained is on disk a second later."""

    def __init__(self, folder: Path, access: str = "allow_anonymous true\n", *, keeps: bool = True) -> None:
        if MOSQUITTO is None:
            pytest.skip("no mosquitto here: Debian's package mosquitto has it")
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self.access = access
        self._kept = f"persistence true\npersistence_location {folder}/\nautosave_interval 1\n" if keeps else ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self._config.write_text(f"listener {self.port} 127.0.0.1\n{self.access}{self._kept}user root\n")
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)
        for attempt in stamina.retry_context(on=OSError, attempts=None, timeout=PATIENCE_S, wait_max=0.2):
            with attempt:
                socket.create_connection(("127.0.0.1", self.port)).close()
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)

    async def retained(self, topic: str, **access: Any) -> Any:
        """What is retained on a topic, as JSON or text, as soon as there is anything."""
        async with aiomqtt.Client("127.0.0.1", self.port, **access) as client:
            await client.subscribe(topic, qos=1)
            return _read(await anext(client.messages))

    async def until_retained(self, topic: str, expected: Any, **access: Any) -> None:
        """Returns when the newest on the topic is as it should be."""
        retrying = stamina.retry_context(on=(AssertionError, aiomqtt.MqttError), attempts=None, timeout=PATIENCE_S)
        async for attempt in retrying:
            with attempt:
                async with aiomqtt.Client("127.0.0.1", self.port, **access) as client:
                    await client.subscribe(topic, qos=1)
                    async for message in client.messages:
                        if expected(_read(message)) if callable(expected) else _read(message) == expected:
                            return


def _read(message: aiomqtt.Message) -> Any:
    text = bytes(message.payload).decode()
    return json.loads(text) if text.startswith("{") else text
