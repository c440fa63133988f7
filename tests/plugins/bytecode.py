"""What the run compiles is kept beside the code, whatever the environment says: a run starts hundreds of processes, and
each would compile all that it imports of ours, which is a third of a service's start."""

import os
import sys

# Of this process, and of those that it starts.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
