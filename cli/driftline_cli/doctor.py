"""Looks at everything that a Driftline needs, and says what to fix."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from rich.table import Table

from driftline.bus.embedded import EmbeddedSettings
from driftline.bus.kafka import KafkaBus
from driftline.errors import Conflict, DriftlineError, InvalidDefinition, Unavailable
from driftline.messages import OBSERVATIONS, state_topic
from driftline.names import GRID_GROUP, GROUPS
from driftline.service.make_topics import OURS
from driftline.service.ports import open_bus, open_store
from driftline.service.settings import Settings, is_loopback
from driftline.store.port import Store
from driftline.streams.definition_files import load_folder
from driftline_cli import tokens
from driftline_cli.one_service import client_of
from driftline_cli.screen import table_of
from driftline_client import ClientError, Forbidden, NoAnswer
from driftline_client.calls.call import Service
from driftline_client.calls.health import ServiceStreams

STATES = tuple(map(state_topic, (*GROUPS, GRID_GROUP)))
TOPICS = (*OURS, *STATES)
OF_A_GRID = frozenset({OBSERVATIONS.name, state_topic(GRID_GROUP)})
"""Topics that nobody needs where no stream has a grid."""
RETENTION_S = 3600.0
"""What is kept for less is lost when a service or the link is away for longer."""
TIMEOUT_S = 5.0
MB = 1_000_000
SKEW_S = 5.0
"""Clocks that differ by more make latencies wrong, and trainers' claims unsafe."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, and what to do where it is wrong."""

    what: str
    state: str
    remedy: str = ""

    @property
    def fine(self) -> bool:
        return not self.remedy


def as_table(findings: Sequence[Finding]) -> Table:
    """For people: what is wrong in red."""
    table = table_of("Examined", "what", "found", "remedy")
    for finding in findings:
        table.add_row(finding.what, finding.state, finding.remedy, style="" if finding.fine else "red")
    return table


def as_data(findings: Sequence[Finding]) -> list[dict[str, str | bool]]:
    """For programs."""
    return [{"what": f.what, "found": f.state, "remedy": f.remedy, "fine": f.fine} for f in findings]


async def examine(
    settings: Settings, urls: Mapping[Service, str], *, fix: bool, embedded: EmbeddedSettings | None = None
) -> list[Finding]:
    """All findings, on the settings' broker and store and the services at `urls`. embedded: the bus, where it is no
    broker."""
    bus, opened = open_bus(settings), open_store(settings)
    try:
        return [
            definitions(settings.streams),
            *([embedded_bus(embedded)] if embedded else await broker(bus, fix=fix)),
            *await store(opened, settings.store_endpoint or settings.store, is_door=settings.store_is_door),
            *await services(urls),
        ]
    finally:
        await bus.close()
        await opened.close()


def definitions(folder: Path) -> Finding:
    try:
        return Finding("definitions", f"{len(load_folder(folder))} in {folder}")
    except InvalidDefinition as error:
        return Finding("definitions", str(error), "mend the file at the line that is named")


def embedded_bus(settings: EmbeddedSettings) -> Finding:
    """What it takes of what it may take, and whether the disk has the rest. /readyz says whether it works."""
    folder = settings.folder
    try:
        taken, free = sum(path.stat().st_size for path in folder.iterdir()), shutil.disk_usage(folder).free
    except FileNotFoundError:
        return Finding("bus", f"{folder} is not there", "start the edge (`make up`), or set DRIFTLINE_DATA")
    except PermissionError:
        return Finding("bus", f"{folder} can't be read", "ask as the user that runs the edge")
    state = f"{taken / MB:,.0f} MB of at most {settings.retention_bytes / MB:,.0f} MB in {folder}"
    if free < settings.retention_bytes - taken:
        return Finding("bus", f"{state}; {free / MB:,.0f} MB are free", "make space, or lower DRIFTLINE_DISK")
    return Finding("bus", state)


async def broker(bus: KafkaBus, *, fix: bool) -> list[Finding]:
    """fix: topics that are missing are made, and those that are kept in another way than they must are set."""
    expected = bus.settings.partitions
    try:
        await bus.check()
        if fix:
            await bus.topics.make(TOPICS)
            await _mend(bus)
        partitions = await bus.topics.partitions(TOPICS)
        kept = await bus.topics.configs(partitions)
    except Unavailable as error:
        silent = f"{bus.settings.brokers}: {error}"
        return [Finding("broker", silent, "start it (`make up`), or set DRIFTLINE_BROKERS to where it is")]
    looked_at = [name for name in TOPICS if name in partitions or name not in OF_A_GRID]
    topics = [_topic(name, bus.topics.wanted(name), partitions, expected, kept.get(name, {})) for name in looked_at]
    return [Finding("broker", f"answers at {bus.settings.brokers}"), *topics]


async def _mend(bus: KafkaBus) -> None:
    for name, kept in (await bus.topics.configs(TOPICS)).items():
        wanted = bus.topics.wanted(name)
        if _otherwise(wanted, kept):
            await bus.topics.configure(name, wanted)


def _otherwise(wanted: Mapping[str, str], kept: Mapping[str, str]) -> str:
    """What is kept in another way than the topic needs."""
    return "; ".join(
        f"{key} is {kept.get(key)}, not {value}" for key, value in wanted.items() if kept.get(key) != value
    )


def _topic(
    name: str, wanted: Mapping[str, str], partitions: Mapping[str, int], expected: int, kept: Mapping[str, str]
) -> Finding:
    if name not in partitions:
        return Finding(name, "is not there", "`driftline doctor --fix` makes it; so does a service that starts")
    if partitions[name] != expected:
        remedy = f"set DRIFTLINE_PARTITIONS to {partitions[name]} everywhere: keys would move to other partitions"
        return Finding(name, f"{partitions[name]} partitions, the settings say {expected}", remedy)
    if wrong := _otherwise(wanted, kept):
        return Finding(name, wrong, "`driftline doctor --fix` sets it")
    if name in STATES:
        return Finding(name, f"{partitions[name]} partitions, compacted")
    seconds = int(kept["retention.ms"]) / 1000
    if 0 <= seconds < RETENTION_S:
        remedy = "raise its retention.ms: what isn't read by then is lost"
        return Finding(name, f"messages are kept for {seconds:.0f} s only", remedy)
    return Finding(name, f"{partitions[name]} partitions, kept {_long(seconds)}{_large(wanted, partitions[name])}")


def _long(seconds: float) -> str:
    return "for ever" if seconds < 0 else f"{seconds / 3600:.0f} h"


def _large(wanted: Mapping[str, str], partitions: int) -> str:
    """Kafka keeps a segment more than the bound before it drops the oldest one."""
    bytes_ = int(wanted["retention.bytes"])
    if bytes_ < 0:
        return ""
    return f", at most {partitions * (bytes_ + int(wanted['segment.bytes'])) / MB:,.0f} MB"


async def store(opened: Store, where: str, *, is_door: bool = False) -> list[Finding]:
    """Whether it answers, and keeps what conditional puts promise: without that two trainers could both publish. By the
    cloud's door an edge may write nothing of that kind, and the trainer's doctor examines what is behind it."""
    probe = f"doctor/{uuid.uuid4().hex}"
    try:
        await opened.check()
        if is_door:
            return [Finding("store", f"answers at {where}, and knows this device")]
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


async def services(urls: Mapping[Service, str]) -> list[Finding]:
    return [finding for name, url in urls.items() for finding in await _service(name, url)]


async def _service(name: Service, url: str) -> list[Finding]:
    try:
        async with client_of(url, tokens.reading_token(url), timeout=TIMEOUT_S) as client:
            readiness = await client.readiness(name)
            release = await client.release(name)
            defined = await client.definitions(name)
        readers = await _readers(name, url)
    except Forbidden:
        return [Finding(name, f"{url} answers, but {tokens.CLOSED}", tokens.REMEDY)]
    except ClientError as error:
        reason = f"{url} does not answer: {error.reason}" if isinstance(error, NoAnswer) else f"{url}: {error}"
        return [Finding(name, reason, "start it; its log says why it ended")]
    missing = readiness.missing
    ready = Finding(name, missing or f"ready at {url}", "mend what it waits for" if missing else "")
    return [ready, *_streams(name, defined), _version(name, release), *_clock(name, readiness.now), *readers]


def _streams(name: str, defined: ServiceStreams) -> list[Finding]:
    wrong = [
        Finding(f"{name}'s streams", reason, "mend the file, or take it away") for reason in defined.refused.values()
    ]
    wrong += [Finding(f"{name}'s streams", stream.stream, stream.note) for stream in defined.streams if stream.note]
    return wrong or [Finding(f"{name}'s streams", ", ".join(sorted(stream.stream for stream in defined.streams)))]


async def _readers(name: Service, url: str) -> list[Finding]:
    """Whether anybody who reaches a service beyond this machine can read there."""
    if is_loopback(urlsplit(url).hostname or ""):
        return []
    async with client_of(url, None, timeout=TIMEOUT_S) as client:
        try:
            await client.definitions(name)
        except Forbidden:
            return [Finding(f"{name}'s readers", "those with a token")]
    remedy = "make tokens (`driftline token new`) and set DRIFTLINE_READ=token"
    return [Finding(f"{name}'s readers", "anybody who reaches it", remedy)]


def _version(name: str, theirs: str) -> Finding:
    mine = version("driftline")
    remedy = "" if theirs == mine else "run one version everywhere"
    return Finding(f"{name}'s version", theirs if theirs == mine else f"{theirs}, this command is {mine}", remedy)


def _clock(name: str, theirs: datetime | None) -> list[Finding]:
    if theirs is None:
        return []
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    remedy = "" if skew <= SKEW_S else "keep the clocks by NTP"
    return [Finding(f"{name}'s clock", f"{skew:.0f} s off" if remedy else "agrees with this one", remedy)]
