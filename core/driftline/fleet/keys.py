"""The key that all edges of a fleet share: 32 random bytes in a file of base64, which its owner alone can read."""

import base64
import binascii
import secrets
from pathlib import Path

from driftline.errors import InvalidInput
from driftline.files import make_folder, replace_file
from driftline.models.signing import read

SIZE = 32


def new_fleet_key() -> str:
    """In base64."""
    return base64.b64encode(secrets.token_bytes(SIZE)).decode()


def is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text.strip(), validate=True)) == SIZE
    except (binascii.Error, ValueError):
        return False


def decoded(text: str) -> bytes:
    """The bytes. Raises InvalidInput, which shows nothing of what may be a secret."""
    if not is_key(text):
        raise InvalidInput(f"the fleet's key: found something else, expected {SIZE} bytes in base64")
    return base64.b64decode(text.strip())


def ensure(path: Path) -> bytes:
    """The key in a file, which is made where it is missing. Raises InvalidInput."""
    try:
        if not path.exists():
            make_folder(path.parent, mode=0o700)
            replace_file(path, f"{new_fleet_key()}\n".encode())
    except OSError as error:
        raise InvalidInput(f"{path}: the fleet's key can't be made there: {error.strerror}") from error
    return decoded(read(path))
