"""How people sort their edges: `site=north,roof=flat`. Pure."""

import re
from collections.abc import Iterable
from typing import Final

LABELS_LIMIT: Final = 20
PATTERN: Final = r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
"""Of names of labels, and of their values: as Kubernetes has them."""
NAME = re.compile(PATTERN.strip("^$"))


def shown_labels(labels: dict[str, str]) -> str:
    """As people write them, and `parse_labels` reads them."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Labels by name of texts such as `site=north`. Raises ValueError, as `parse_labels` does."""
    return parse_labels(",".join(pairs))


def parse_labels(text: str) -> dict[str, str]:
    """Labels by name. Raises ValueError, which says what is wrong with which of them."""
    labels: dict[str, str] = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, is_pair, value = map(str.strip, pair.partition("="))
        if not is_pair or not NAME.fullmatch(name) or not NAME.fullmatch(value):
            raise ValueError(
                f"found {pair!r}, expected NAME=VALUE such as site=north, each of 1 to 63 letters, digits, dots, "
                "dashes and underscores, with a letter or digit at both ends"
            )
        if name in labels:
            raise ValueError(f"found label {name!r} twice, expected it once")
        labels[name] = value
    if len(labels) > LABELS_LIMIT:
        raise ValueError(f"found {len(labels)} labels, expected at most {LABELS_LIMIT}")
    return labels
