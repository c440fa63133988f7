"""Who may ask for a training: the operator for any, a device of the fleet for those that its alerts call for."""

import time
from collections.abc import Callable
from typing import Final

from fastapi import Request

from driftline.errors import NotAllowed
from driftline.fleet.registration import Registration, read_bearer
from driftline.service.access.credentials import bearer
from driftline.service.access.gate import AccessGate
from driftline.service.access.roles import Role
from driftline_trainer.fleet_door.allowance import Allowance
from driftline_trainer.fleet_door.edges import Edges
from driftline_trainer.jobs import Trigger

OF_EDGES: Final[tuple[Trigger, ...]] = ("drift", "negative-skill")
"""What an edge may ask for: such a training waits for the budget."""
AT_ONCE: Final = 20
PER_SECOND: Final = 60 / 3600
"""Trainings that one edge may ask for: AT_ONCE, and 60 an hour in the long run."""
KNOWN: Final = 10_000
"""Edges that are remembered at most."""


class Askers:
    """Admits whoever asks for a training: devices by their credentials, operators by the gate."""

    def __init__(self, edges: Edges, gate: AccessGate, ticks: Callable[[], float] = time.monotonic) -> None:
        self._edges = edges
        self._gate = gate
        self._ticks = ticks
        self._allowances: dict[str, Allowance] = {}

    async def asker(self, request: Request) -> Registration | None:
        """The device that asks; None for the operator. A dependency. Raises HTTPException(401), NotAdmitted,
        Unavailable."""
        shown = bearer(request.headers, request.query_params) or ""
        # A device's credential is bound by what a device may, also where nobody needs a token.
        if read_bearer(shown) is None or await self._gate.find(shown) is not None:
            await self._gate.admit(request, Role.OPERATOR)
            return None
        return await self._edges.admitted(shown)

    def check(self, edge: str, member: str, history: str | None, trigger: Trigger) -> None:
        """Raises NotAllowed for what no edge may ask for, Unavailable for one too many."""
        if trigger not in OF_EDGES or member != "speed" or history is not None:
            raise NotAllowed(f"edge {edge} may ask for speed models on {' and '.join(OF_EDGES)} alone")
        if edge not in self._allowances:
            if len(self._allowances) >= KNOWN:
                self._allowances.pop(next(iter(self._allowances)))
            self._allowances[edge] = Allowance(PER_SECOND, self._ticks, at_once=AT_ONCE)
        self._allowances[edge].take(f"found too many requests of edge {edge} for trainings; try again later")
