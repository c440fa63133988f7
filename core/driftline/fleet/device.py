"""What a device of a fleet keeps on its own disk, below its data folder; for its owner alone.

fleet/device-key.pem       its Ed25519 key: the cloud has the public half
fleet/secret               what it will show, from before it asks to join until it was admitted
fleet/credential           what it shows at the door
fleet/next-secret          the next one, from before it is announced until it was taken
fleet/joined.json          where it joined, and under which id, name and labels; written last
fleet/trusted-keys         whose models and notes it believes
fleet/fleet-key            encrypts what it leaves in the store
fleet/environment          the same as settings, for whatever is not the edge's own process
fleet/ca.pem               the authorities of the cloud, where it has its own
fleet/definitions.json     the cloud's definitions, as they were signed
definitions/*.yaml         the same as files
"""

import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from driftline.errors import InvalidInput
from driftline.files import make_folder, replace_file
from driftline.fleet.labels import shown_labels
from driftline.fleet.registration import JoinAnswer, Provision, bearer_of
from driftline.models.signing import Signer, Trust, new_key, read


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """`joined.json`."""

    url: str
    edge: str
    name: str
    labels: dict[str, str] = {}
    rotate_after: float
    """Seconds."""


class Device:
    """The files of one device. All methods block; they raise InvalidInput for what can't be read, OSError for what
    can't be written."""

    def __init__(self, data: Path) -> None:
        self.folder = data / "fleet"
        self.definitions = data / "definitions"
        self.credential_file = self.folder / "credential"
        self.trusted_keys_file = self.folder / "trusted-keys"
        self.fleet_key_file = self.folder / "fleet-key"
        self.bundle_file = self.folder / "definitions.json"
        self.environment_file = self.folder / "environment"
        self._authorities = self.folder / "ca.pem"
        self.key_file = self.folder / "device-key.pem"
        self._joined = self.folder / "joined.json"
        self._secret = self.folder / "secret"
        self._next_secret = self.folder / "next-secret"

    def signer(self) -> Signer:
        """Its key, made when it is needed first."""
        make_folder(self.folder, mode=0o700)
        return Signer(_once(self.key_file, new_key))

    def secret(self) -> str:
        """What it is going to show; the same until it was admitted."""
        make_folder(self.folder, mode=0o700)
        return _once(self._secret, _new_secret)

    def next_secret(self) -> str:
        """What comes after the credential in use; the same until it was taken."""
        after = _once(self._next_secret, _new_secret)
        if (self.credential() or "").endswith(f".{after}"):
            # It was taken, and the power was cut before it was removed here.
            self._next_secret.unlink()
            return _once(self._next_secret, _new_secret)
        return after

    def credential(self) -> str | None:
        """What it shows; None before it was admitted."""
        return read(self.credential_file).strip() if self.credential_file.exists() else None

    @property
    def ca_file(self) -> Path | None:
        """The cloud's own authorities, where it has any."""
        return self._authorities if self._authorities.exists() else None

    def keep_authorities(self, path: Path) -> None:
        """A copy, so that nothing else is needed later."""
        make_folder(self.folder, mode=0o700)
        replace_file(self._authorities, read(path).encode())

    def admitted(self, answer: JoinAnswer) -> str:
        """Keeps what it shows from now on, and returns it."""
        shown = bearer_of(answer.edge, self.secret())
        replace_file(self.credential_file, shown.encode("ascii"))
        self._secret.unlink(missing_ok=True)
        return shown

    def rotated(self, edge: str) -> None:
        """The next credential takes the place of the one in use."""
        replace_file(self.credential_file, bearer_of(edge, self.next_secret()).encode("ascii"))
        self._next_secret.unlink(missing_ok=True)

    def forget_credential(self) -> None:
        """As before it joined; with another key, since the cloud will not have the former one again."""
        # The credential last: while it is there, this is done again if the power is cut before the end.
        for path in (self.key_file, self._secret, self._next_secret, self._joined, self.credential_file):
            path.unlink(missing_ok=True)

    def provisioned(self, url: str, provision: Provision) -> Joined:
        """Keeps what the cloud gave it; afterwards it is a device of the fleet."""
        replace_file(self.trusted_keys_file, "".join(f"{key}\n" for key in provision.trusted_keys).encode())
        if provision.fleet_key is not None:
            replace_file(self.fleet_key_file, f"{provision.fleet_key}\n".encode())
        joined = Joined(
            url=url,
            edge=provision.edge,
            name=provision.name,
            labels=provision.labels,
            rotate_after=provision.rotate_after,
        )
        lines = (f"{name}={value}\n" for name, value in self.environment(joined).items())
        replace_file(self.environment_file, "".join(lines).encode())
        replace_file(self._joined, msgspec.json.encode(joined))
        return joined

    def environment(self, joined: Joined) -> dict[str, str]:
        """As variables what a process needs that reads the store as this device does. None is a secret."""
        folder = self.folder.absolute()
        variables = {
            "DRIFTLINE_EDGE_ID": joined.edge,
            "DRIFTLINE_STORE": joined.url,
            "DRIFTLINE_STORE_TOKEN_FILE": str(folder / self.credential_file.name),
            "DRIFTLINE_TRUSTED_KEYS_FILE": str(folder / self.trusted_keys_file.name),
            "DRIFTLINE_CLOUD_STREAMS": str(self.definitions.absolute()),
            "DRIFTLINE_DEVICE_KEY_FILE": str(folder / self.key_file.name),
        }
        if self.fleet_key_file.exists():
            variables["DRIFTLINE_FLEET_KEY_FILE"] = str(folder / self.fleet_key_file.name)
        if joined.labels:
            variables["DRIFTLINE_LABELS"] = shown_labels(joined.labels)
        if self.ca_file is not None:
            variables["DRIFTLINE_STORE_CA_FILE"] = str(folder / self.ca_file.name)
        return variables

    def joined(self) -> Joined | None:
        """Where it has joined; None if it has not."""
        if not self._joined.exists():
            return None
        try:
            return msgspec.json.decode(read(self._joined), type=Joined)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"{self._joined}: found what was not written there by joining: {error}") from error

    def trust(self) -> Trust:
        """Whom it believes; nobody before it has joined."""
        keys = read(self.trusted_keys_file).split() if self.trusted_keys_file.exists() else []
        return Trust(keys)


def _new_secret() -> str:
    return secrets.token_urlsafe(32)


def _once(path: Path, new: Callable[[], str]) -> str:
    """The file's text; written whole, for its owner alone, where it is missing."""
    if not path.exists():
        replace_file(path, new().encode("ascii"))
    return read(path)
