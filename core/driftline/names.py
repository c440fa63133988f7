"""Names and ports that services, command and manifests agree on."""

from typing import Final

PORTS: Final = {"ingest": 8001, "inference": 8002, "combiner": 8003, "trainer": 8004}
"""By service the port that it listens on unless it is configured otherwise."""
SERVICES: Final = tuple(PORTS)

EDGE: Final = "edge"
"""The process of all that an edge needs."""
EDGE_SERVICES: Final = ("ingest", "inference", "combiner")
"""The services in it."""

INFERENCE_GROUP: Final = "inference"
COMBINER_GROUP: Final = "combiner"
RETRAIN_GROUP: Final = "combiner-courier"
"""The workers that ask the trainer for models."""
ARCHIVE_GROUPS: Final = {"windows": "ingest-windows", "results": "ingest-results"}
"""By what is archived."""
GROUPS: Final = (INFERENCE_GROUP, COMBINER_GROUP, RETRAIN_GROUP, *ARCHIVE_GROUPS.values())
"""All consumer groups that are always there. Each has a state topic of its own."""
GRID_GROUP: Final = "ingest-grid"
"""The workers that bring observations onto the grid of their stream; of no use without such a stream."""


def local_url(service: str) -> str:
    """Where a service listens on this machine unless it is configured otherwise."""
    return f"http://127.0.0.1:{PORTS[service]}"
