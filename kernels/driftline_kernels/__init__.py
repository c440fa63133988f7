"""The inner loops of the steps in C: the library of this machine, or None where there is none.

Callers keep their NumPy code for that case; tests compare the two. DRIFTLINE_KERNELS=off asks for NumPy.
"""

import ctypes
import dataclasses
import functools
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PATH = Path(__file__).with_name(f"kernels-{platform.machine()}.so")


def _load() -> ctypes.CDLL | None:
    if os.environ.get("DRIFTLINE_KERNELS") == "off" or not PATH.exists():
        return None
    return ctypes.CDLL(str(PATH))


LIBRARY = _load()
TYPES: dict[str, Any] = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "d": ctypes.c_double}


def kernel(name: str, arguments: str) -> Callable[..., None] | None:
    """A function of the library. arguments: of each its letter: p for the address of an array or of a `table`, n for a
    whole number, d for another one."""
    if LIBRARY is None:
        return None
    function = LIBRARY[name]
    function.argtypes = [TYPES[letter] for letter in arguments]
    function.restype = None
    return function


@functools.lru_cache(maxsize=1000)
def sizes(*numbers: int) -> Any:
    """A C struct of whole numbers."""
    return (ctypes.c_int64 * len(numbers))(*numbers)


def address(array: Any) -> int:
    """Where its numbers begin; they must lie one behind the other, as those of a new array do."""
    begin: int = array.__array_interface__["data"][0]
    return begin


def pointers(arrays: Sequence[Any]) -> Any:
    """A C struct of pointers to them. They must be kept as long as it is in use."""
    return (ctypes.c_void_p * len(arrays))(*map(address, arrays))


class _Pointers(NamedTuple):
    rows: int
    addresses: Any


def table(arrays: Any) -> Any:
    """A C struct of pointers to the arrays of a dataclass, in the order of its fields.

    It is kept in the instance until the arrays have grown, which they do in place and all at once.
    """
    kept: _Pointers | None = arrays.__dict__.get("_pointers")
    names = arrays.__dataclass_fields__
    rows = len(getattr(arrays, next(iter(names))))
    if kept is None or kept.rows != rows:
        fields = [getattr(arrays, field.name) for field in dataclasses.fields(arrays)]
        kept = arrays.__dict__["_pointers"] = _Pointers(rows, pointers(fields))
    return kept.addresses
