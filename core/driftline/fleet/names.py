"""Where the fleet's notes lie in the object store. Pure.

edges/<edge's id>.json                               its newest heartbeat
states/<edge's id>/index                             what of its learned state lies where
states/<edge's id>/<generation>-<bucket>-<boot>      a part of that state
fleet/edges/<edge's id>.json                         its registration: which key signs its notes
fleet/tokens/<sha256 of a join token>.json           a token that admits one new edge
definitions/current.json                             the stream definitions that the cloud gives to its edges
"""

HEARTBEATS = "edges/"
HEARTBEAT_SUFFIX = ".json"
STATES = "states/"
REGISTRATIONS = "fleet/edges/"
JOIN_TOKENS = "fleet/tokens/"


def heartbeat_key(edge: str) -> str:
    """Where an edge leaves its heartbeats, each in the place of the one before."""
    return f"{HEARTBEATS}{edge}{HEARTBEAT_SUFFIX}"


def edge_of(key: str) -> str | None:
    """Whose heartbeat lies under `key`; None for another object."""
    edge = key.removeprefix(HEARTBEATS).removesuffix(HEARTBEAT_SUFFIX)
    return edge if heartbeat_key(edge) == key and "/" not in edge else None


def state_prefix(edge: str) -> str:
    return f"{STATES}{edge}/"


def state_index_key(edge: str) -> str:
    return f"{state_prefix(edge)}index"


def state_key(edge: str, generation: int, bucket: int, boot: str) -> str:
    """Of a part of an edge's state. boot: of who writes it, so that two that have one id do not mix their parts."""
    return f"{state_prefix(edge)}{generation:08d}-{bucket:03d}-{boot}"


def generation_of(key: str) -> int | None:
    """Of a part of an edge's state; None for another object."""
    number = key.rpartition("/")[2].partition("-")[0]
    return int(number) if number.isdecimal() and number.isascii() else None


def registration_key(edge: str) -> str:
    return f"{REGISTRATIONS}{edge}.json"


def join_token_key(digest: str) -> str:
    """digest: the token's sha256 in hex, so that the store holds no token."""
    return f"{JOIN_TOKENS}{digest}.json"
