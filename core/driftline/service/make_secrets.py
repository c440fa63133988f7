"""Makes the secrets of an installation at its first start, each in a file of its own that only its readers get.

    python -m driftline.service.make_secrets FOLDER

FOLDER/trainer/     driftline_signing_key, driftline_token, driftline_fleet_key, aws_credentials
FOLDER/edge/        driftline_trusted_keys, driftline_token, driftline_fleet_key, aws_credentials
FOLDER/store/       root_access_key, root_secret_key
What is there already stays, so nothing changes at the next start.
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from driftline.files import make_folder, replace_file
from driftline.fleet.keys import new_fleet_key
from driftline.models.signing import Signer, new_key

MODE = 0o400


def make(folder: Path) -> None:
    """See above."""
    key = _once(folder / "trainer" / "driftline_signing_key", new_key)
    _once(folder / "edge" / "driftline_trusted_keys", lambda: Signer(key).public)
    token = _once(folder / "trainer" / "driftline_token", lambda: secrets.token_urlsafe(32))
    _once(folder / "edge" / "driftline_token", lambda: token)
    fleet_key = _once(folder / "trainer" / "driftline_fleet_key", new_fleet_key)
    _once(folder / "edge" / "driftline_fleet_key", lambda: fleet_key)
    access = _once(folder / "store" / "root_access_key", lambda: f"driftline-{secrets.token_hex(8)}")
    secret = _once(folder / "store" / "root_secret_key", lambda: secrets.token_urlsafe(32))
    credentials = f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    for reader in ("trainer", "edge"):
        _once(folder / reader / "aws_credentials", lambda: credentials)


def _once(path: Path, new: Callable[[], str]) -> str:
    """The file's text; written whole, when it is not there."""
    if not path.exists():
        make_folder(path.parent)
        replace_file(path, new().encode("ascii"), mode=MODE)
    return path.read_text(encoding="ascii")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
