"""The names of the drifts of `driftline_cli.drifts`, for those who need no more."""

from typing import Literal, get_args

Kind = Literal["none", "gradual", "noise", "step", "recurring"]
KINDS: tuple[Kind, ...] = get_args(Kind)
