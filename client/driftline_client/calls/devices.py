"""Who belongs to the fleet: tokens with which devices join, and the devices that have joined. Pure."""

from collections.abc import Mapping

import msgspec

from driftline_client.calls.call import Call, Reply, get, good, in_path, post

DAY_S = 86_400.0


class KnownJoinToken(msgspec.Struct, frozen=True):
    """A token with which one device joins, without its text. Times in seconds since the epoch."""

    id: str
    created: float
    expires: float
    edge: str | None
    """The id that its device gets; None for any."""
    replaces: bool
    """Whether its device takes the place of the one that has this id."""
    name: str | None
    labels: dict[str, str]
    used_by: str | None
    """The id of the device that it has admitted."""


class NewJoinToken(KnownJoinToken, frozen=True):
    """A new one, with its text: that is shown this once."""

    token: str


class FleetDevice(msgspec.Struct, frozen=True):
    """A device that has joined. Times in seconds since the epoch."""

    edge: str
    """Its id."""
    name: str
    labels: dict[str, str]
    public_key: str
    joined: float
    revoked: float | None
    """When it was cut off."""


def join_tokens() -> Call[list[KnownJoinToken]]:
    """The tokens with which devices join."""
    return get("trainer", "/v1/fleet/tokens", list[KnownJoinToken])


def new_join_token(
    *,
    seconds: float = DAY_S,
    edge: str | None = None,
    replaces: bool = False,
    name: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Call[NewJoinToken]:
    """Makes a token with which one device joins, once. seconds: for so long it is good. edge: the id that the device
    gets. replaces: whether it takes the place of the one that has this id, which is cut off then. name, labels: these
    count, and not those that the device brings."""
    asked = {"seconds": seconds, "edge": edge, "replaces": replaces, "name": name, "labels": dict(labels or {})}
    return post("trainer", "/v1/fleet/tokens", NewJoinToken, asked, is_repeatable=False)


def forget_join_token(token_id: str) -> Call[None]:
    """Takes one back. Raises NoSuchThing, and BadRequest for one that was used."""
    return Call("trainer", "DELETE", f"/v1/fleet/tokens/{in_path(token_id)}", _nothing, is_repeatable=False)


def devices() -> Call[list[FleetDevice]]:
    """The devices that have joined, also those that were cut off."""
    return get("trainer", "/v1/fleet/registrations", list[FleetDevice])


def revoke_device(edge_id: str) -> Call[FleetDevice]:
    """Cuts a device off. Raises NoSuchThing."""
    return post("trainer", f"/v1/fleet/edges/{in_path(edge_id)}/revoke", FleetDevice, is_repeatable=True)


def _nothing(reply: Reply) -> None:
    good(reply)
