"""The devices of a fleet, and the tokens with which they join, as the trainer knows them."""

import time
from collections.abc import Mapping, Sequence

from rich.table import Table

from driftline_cli import tokens
from driftline_cli.screen import keep_whole, table_of
from driftline_client import AsyncClient
from driftline_client.calls.devices import FleetDevice, KnownJoinToken


def client_of(url: str, token: str | None) -> AsyncClient:
    """Of the trainer at `url`. token: as it was given."""
    return AsyncClient(trainer=url, token=tokens.token_of(url, token), patience=0)


def tokens_table(listed: Sequence[KnownJoinToken]) -> Table:
    table = table_of("Join tokens", "id", "good until", "for", "used by")
    for token in listed:
        whom = " ".join(filter(None, [token.edge, token.name, _labels(token.labels)]))
        table.add_row(token.id, _time(token.expires), whom or "any device", token.used_by or "nobody yet")
    return keep_whole(table, "id")


def devices_table(listed: Sequence[FleetDevice]) -> Table:
    table = table_of("Devices", "id", "name", "labels", "joined", "state")
    for device in listed:
        state = f"revoked {_time(device.revoked)}" if device.revoked is not None else "admitted"
        table.add_row(device.edge, device.name, _labels(device.labels), _time(device.joined), state)
    return keep_whole(table, "id")


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
