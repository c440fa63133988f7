"""How people sort their edges: `site=north,roof=flat`. Pure."""

import re

LABELS_LIMIT = 20
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
"""Of labels, and their values: as Kubernetes has them."""


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
