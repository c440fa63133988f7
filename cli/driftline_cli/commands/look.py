"""`driftline status` and `doctor`: how everything is, and what to fix."""

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from driftline_cli.commands.options import (
    COMBINER,
    INFERENCE,
    INGEST,
    TRAINER,
    AsJson,
    Combiner,
    Inference,
    Ingest,
    OnlyStream,
    TrainerAt,
)
from driftline_cli.commands.plainly import WRONG, console, plainly, print_json

if TYPE_CHECKING:
    from driftline_client.calls.call import Service

WATCH_S = 2.0


def status(
    ingest: Ingest = INGEST,
    inference: Inference = INFERENCE,
    combiner: Combiner = COMBINER,
    trainer: TrainerAt = TRAINER,
    stream: OnlyStream = None,
    json: AsJson = False,  # noqa: FBT002
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,  # noqa: FBT002
) -> None:
    """Shows on one screen the services and their lag, the streams, the models, the skill and the latest alarms.

    The exit code is 1 unless all four services are ready.

    Example: driftline status --stream outdoor-temperature --watch

    Example: driftline status --json | jq '.[] | select(.ready | not) | .service'
    """
    urls: dict[Service, str] = {"ingest": ingest, "inference": inference, "combiner": combiner, "trainer": trainer}
    with plainly():
        from driftline_cli import status as statuses  # noqa: PLC0415

        only = _name(stream)
        if watch:
            _watch(urls, only)
        services = asyncio.run(statuses.look(urls, only))
        if json:
            print_json(services)
        else:
            console.print(statuses.render(services))
        if not all(service.ready for service in services):
            raise typer.Exit(WRONG)


def _name(stream: str | None) -> str | None:
    """Of the only stream that is looked at."""
    from driftline_cli import chosen  # noqa: PLC0415

    return chosen.named(stream)


def _watch(urls: "Mapping[Service, str]", only: str | None) -> None:
    """Until it is interrupted."""
    from rich.live import Live  # noqa: PLC0415

    from driftline_cli import status as statuses  # noqa: PLC0415

    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(statuses.render(asyncio.run(statuses.look(urls, only))), refresh=True)
            time.sleep(WATCH_S)


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Make topics, and set how they are kept.")] = False,  # noqa: FBT002
    ingest: Ingest = INGEST,
    inference: Inference = INFERENCE,
    combiner: Combiner = COMBINER,
    trainer: TrainerAt = TRAINER,
    json: AsJson = False,  # noqa: FBT002
) -> None:
    """Checks definitions, bus, topics, store, services, versions and clocks, and says what to fix.

    Bus and store are those of the DRIFTLINE_… variables, else of what `driftline up` started here. The exit code is 1
    when something is wrong.

    Example: driftline doctor --fix

    Example: driftline doctor --json | jq -r '.[] | select(.fine | not) | .remedy'
    """
    urls: dict[Service, str] = {"ingest": ingest, "inference": inference, "combiner": combiner, "trainer": trainer}
    with plainly():
        from driftline.service.settings import Settings, read_settings  # noqa: PLC0415
        from driftline_cli import doctor as doctors  # noqa: PLC0415
        from driftline_cli import edge_stack  # noqa: PLC0415

        edge_stack.look_here()
        embedded = edge_stack.embedded_settings() if edge_stack.is_embedded() else None
        findings = asyncio.run(doctors.examine(read_settings(Settings), urls, fix=fix, embedded=embedded))
        if json:
            print_json(doctors.as_data(findings))
        else:
            console.print(doctors.as_table(findings))
        if not all(finding.fine for finding in findings):
            raise typer.Exit(WRONG)
