"""Looks at everything that a Driftline needs, and says what to mend."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path

import httpx

from driftline.definition import load_folder
from driftline.errors import Conflict, DriftlineError, InvalidDefinition, Unavailable
from driftline.kafka import KafkaBus
from driftline.messages import ALERTS, BLENDS, DEAD_LETTERS, FORECASTS, RECORDS
from driftline.store import Store

TOPICS = (RECORDS.name, FORECASTS.name, BLENDS.name, ALERTS.name, DEAD_LETTERS.name)
TIMEOUT_S = 5.0
SKEW_S = 5.0
"""Clocks that differ by more make latencies wrong, and trainers' claims unsafe."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what to do where it is wrong."""

    what: str
    found: str
    remedy: str = ""

    @property
    def fine(self) -> bool:
        return not self.remedy


def definitions(folder: Path) -> Finding:
    try:
        return Finding("definitions", f"{len(load_folder(folder))} in {folder}")
    except InvalidDefinition as error:
        return Finding("definitions", str(error), "mend the file at the line that is named")


async def broker(bus: KafkaBus, *, fix: bool) -> list[Finding]:
    """fix: topics that are missing are made."""
    expected = bus.settings.partitions
    try:
        await bus.check()
        if fix:
            await bus.make(TOPICS)
        found = await bus.partitions(TOPICS)
    except Unavailable as error:
        return [Finding("broker", str(error), "start it (`make up`), or set DRIFTLINE_BROKERS to where it is")]
    topics = [_topic(name, found, expected) for name in TOPICS]
    return [Finding("broker", f"answers at {bus.settings.brokers}"), *topics]


def _topic(name: str, found: Mapping[str, int], expected: int) -> Finding:
    if name not in found:
        return Finding(name, "is not there", "`driftline doctor --fix` makes it; so does a service that starts")
    if found[name] != expected:
        remedy = f"set DRIFTLINE_PARTITIONS to {found[name]} everywhere: keys would move to other partitions"
        return Finding(name, f"{found[name]} partitions, the settings say {expected}", remedy)
    return Finding(name, f"{found[name]} partitions")


async def store(opened: Store, where: str) -> list[Finding]:
    """Whether it answers, and keeps what conditional puts promise: without that two trainers could both publish."""
    probe = f"doctor/{uuid.uuid4().hex}"
    try:
        await opened.check()
        await opened.put(probe, b"1", if_absent=True)
        try:
            await opened.put(probe, b"2", if_absent=True)
        except Conflict:
            conditional = Finding("conditional puts", "are kept")
        else:
            conditional = Finding("conditional puts", "are ignored", "use a store that has If-None-Match and If-Match")
        await opened.delete(probe)
    except DriftlineError as error:
        return [Finding("store", f"{where}: {error}", "set DRIFTLINE_STORE, its endpoint and credentials, or start it")]
    return [Finding("store", f"answers at {where}"), conditional]


async def services(urls: Mapping[str, str]) -> list[Finding]:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        return [finding for name, url in urls.items() for finding in await _service(client, name, url)]


async def _service(client: httpx.AsyncClient, name: str, url: str) -> list[Finding]:
    try:
        answer = await client.get(f"{url}/readyz")
        described = (await client.get(f"{url}/openapi.json")).json()["info"]
        checks: dict[str, str] = answer.json()["checks"]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return [Finding(name, f"{url} does not answer: {type(error).__name__}", "start it; its log says why it ended")]
    missing = "; ".join(f"{check}: {state}" for check, state in checks.items() if state != "ok")
    ready = Finding(name, missing or f"ready at {url}", "mend what it waits for" if missing else "")
    return [ready, _version(name, described["version"]), *_clock(name, answer)]


def _version(name: str, found: str) -> Finding:
    mine = version("driftline")
    remedy = "" if found == mine else "run one version everywhere"
    return Finding(f"{name}'s version", found if found == mine else f"{found}, this command is {mine}", remedy)


def _clock(name: str, answer: httpx.Response) -> list[Finding]:
    if "date" not in answer.headers:
        return []
    skew = abs((datetime.now(UTC) - parsedate_to_datetime(answer.headers["date"])).total_seconds())
    remedy = "" if skew <= SKEW_S else "keep the clocks by NTP"
    return [Finding(f"{name}'s clock", f"{skew:.0f} s off" if remedy else "agrees with this one", remedy)]
