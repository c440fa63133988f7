"""A line of the log for each change: who, from where, what, and how it was before and after.

A route says with `changed` what it has changed; the gate writes the line when the answer is on its way. Nothing that is
said here may be a secret.
"""

import logging
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from driftline.service.access.roles import Caller
from driftline.service.logs import AUDIT

log = logging.getLogger(AUDIT)

REFUSED: Final = 400
DEVICE: Final = "device"
"""The role of whoever has no other one: a device changes what is its own."""


@dataclass
class AuditedChange:
    """What a request has changed, as far as is known yet."""

    asker: Mapping[str, str] | None = None
    """Who may make it: `who`, `role` and `how` that is known."""
    details: dict[str, Any] = field(default_factory=dict)


_now: ContextVar[AuditedChange | None] = ContextVar("change", default=None)


def begin() -> AuditedChange:
    """What the request that is answered from here on changes."""
    change = AuditedChange()
    _now.set(change)
    return change


def asked_by(caller: Caller) -> None:
    """Whoever may make the change."""
    if (change := _now.get()) is not None:
        change.asker = {"who": caller.name, "role": str(caller.role), "how": caller.how}


def asked_by_device(edge: str, how: str) -> None:
    """A device of the fleet that may make the change. how: what it has shown."""
    if (change := _now.get()) is not None:
        change.asker = {"who": edge, "role": DEVICE, "how": how}


def changed(before: object, after: object) -> None:
    """What it was and is. Both are written as they are: of secrets nothing may stand there."""
    if (change := _now.get()) is not None:
        change.details |= {"before": before, "after": after}


def write(change: AuditedChange, *, method: str, path: str, address: str, status: int) -> None:
    if change.asker is None:
        return
    # The id keeps lines apart: what repeats is otherwise counted and not written.
    where = {"id": uuid.uuid4().hex, "from": address, "method": method, "path": path, "status": status}
    said = "a change was refused" if status >= REFUSED else "a change was made"
    log.info(said, extra={**change.asker, **where, **change.details})
