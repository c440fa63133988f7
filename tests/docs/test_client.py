"""The examples of docs/client.md run as they are written, against real services."""

import os
import re
import subprocess
import sys

import pytest

from tests.client import test_clients
from tests.client.test_clients import Site
from tests.conftest import ROOT

client, site = test_clients.client, test_clients.site
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.usefixtures("client")
def test_the_examples_do_what_they_say(site: Site):
    assert len(BLOCKS) == 6
    text = "\n".join(BLOCKS).replace('"roof"', '"k1"')
    # Where the services of a test listen, and their token.
    known = (
        ", ".join(f"{name}={address!r}" for name, address in site.addresses.items())
        + ", token='a-token-of-the-tests-own'"
    )
    text = text.replace("Client()", f"Client({known})").replace("Client(patience=5)", f"Client(patience=5, {known})")
    command = [sys.executable, "-W", "error", "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    for part in ("1 []", " kW ", "k4 ", "LiveBlend(", "combiner 404 about:blank Not Found no forecast of sun/cellar"):
        assert part in done.stdout
