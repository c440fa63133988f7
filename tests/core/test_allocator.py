"""Memory that is free again is given back."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process
CODE = """
import sys
import psutil
from driftline.service.allocator import set_up, trim
if sys.argv[1] == "ask":
    set_up()
process = psutil.Process()
before = process.memory_info().rss
bytes(40_000_000)  # what teaches glibc to keep large blocks
states, kept = [], []
for _ in range(5_000):
    states.append(b"x" * 42_000)
    kept.append(b"y" * 100)  # small ones between, as everywhere
del states
if sys.argv[1] == "ask":
    trim()
print((process.memory_info().rss - before) // 1_000_000)
"""


def left(how: str) -> int:
    """MB that a process still has after it had 210 MB of states for a moment."""
    done = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="it is a question to glibc")
def test_states_that_were_there_for_a_moment_are_given_back():
    assert left("ask") < 40
