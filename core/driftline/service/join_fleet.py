"""Joins the fleet that the environment names, before an edge starts that nobody sits at, such as one in a container.

    python -m driftline.service.join_fleet

DRIFTLINE_JOIN_URL          the trainer's address; without it there is nothing to do
DRIFTLINE_JOIN_TOKEN        the join token; or the file driftline_join_token among the secrets
DRIFTLINE_JOIN_LABELS       NAME=VALUE, with commas between; else those of DRIFTLINE_LABELS
DRIFTLINE_DATA              the edge's data folder
DRIFTLINE_STORE_CA_FILE     certificates of the cloud's own authority
DRIFTLINE_EDGE              what people call this edge

While the cloud is away it tries again. It ends with 1 where the cloud refuses.
"""

import asyncio
import logging
import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import stamina

from driftline.errors import DriftlineError, InvalidInput, Unavailable
from driftline.files import make_folder
from driftline.fleet.device import Device, Joined
from driftline.fleet.enrolment import Wish, join
from driftline.fleet.labels import parse_labels
from driftline.fleet.own_id import id_of_data
from driftline.service.logs import configure
from driftline.service.setting_checks import is_private, line, of_authority, of_url

log = logging.getLogger(__name__)

TOKEN_FILE = "driftline_join_token"  # noqa: S105 - a name
LONGEST_PAUSE_S = 60.0
PARTITIONS = "4"
NAMELESS = "edge"


def mistakes(url: str, ca_file: Path | None, *, plain: bool) -> list[str]:
    """Why nobody should join there, a line each. plain: whether it may be without encryption."""
    lines = [*of_url("join_url", url), *of_authority("DRIFTLINE_STORE_CA_FILE", str(ca_file or ""))]
    if not lines and not plain and not is_private(url):
        lines.append(line("join_url", url, "https://…, or DRIFTLINE_STORE_PLAIN=true without encryption"))
    return lines


def host_name() -> str:
    """As an edge's name may be."""
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9._-]", "", socket.gethostname())[:100] or NAMELESS


async def join_fleet(environment: Mapping[str, str]) -> Joined | None:
    """None where there is nothing to join, or it was joined before. Raises what `driftline.fleet.enrolment.join`
    raises, but for Unavailable: it waits that out."""
    url = environment.get("DRIFTLINE_JOIN_URL", "").rstrip("/")
    device = Device(Path(environment.get("DRIFTLINE_DATA") or ".run/edge"))
    if not url or device.joined() is not None:
        return None
    ca_file = Path(text) if (text := environment.get("DRIFTLINE_STORE_CA_FILE")) else None
    if wrong := mistakes(url, ca_file, plain=environment.get("DRIFTLINE_STORE_PLAIN") == "true"):
        raise InvalidInput("\n".join(wrong))
    make_folder(device.folder.parent)
    if ca_file is not None:
        device.keep_authorities(ca_file)
    return await _join(device, url, environment)


@stamina.retry(on=Unavailable, attempts=None, timeout=None, wait_initial=1.0, wait_max=LONGEST_PAUSE_S)
async def _join(device: Device, url: str, environment: Mapping[str, str]) -> Joined:
    edge = None
    if device.credential() is None:
        edge = await id_of_data(device.folder.parent, int(environment.get("DRIFTLINE_PARTITIONS") or PARTITIONS))
    wish = Wish(environment.get("DRIFTLINE_EDGE") or host_name(), _labels(environment), edge)
    return await join(device, url, _token(environment), wish)


def _token(environment: Mapping[str, str]) -> str | None:
    if token := environment.get("DRIFTLINE_JOIN_TOKEN"):
        return token
    path = Path(environment.get("DRIFTLINE_SECRETS") or "nowhere") / TOKEN_FILE
    return path.read_text(encoding="ascii").strip() if path.exists() else None


def _labels(environment: Mapping[str, str]) -> dict[str, str]:
    """Raises ValueError."""
    return parse_labels(environment.get("DRIFTLINE_JOIN_LABELS") or environment.get("DRIFTLINE_LABELS") or "")


def main() -> None:
    configure(["edge"], os.environ.get("DRIFTLINE_LOG_LEVEL") or "info")
    try:
        joined = asyncio.run(join_fleet(os.environ))
    except (DriftlineError, OSError, ValueError) as error:
        sys.exit(str(error))
    if joined is not None:
        log.info("this device has joined a fleet", extra={"edge": joined.edge, "url": joined.url})


if __name__ == "__main__":
    main()
