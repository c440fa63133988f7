"""Writes docs/reference/: `python -m scripts.reference`, or `make docs`."""

from scripts.reference.pages import write

if __name__ == "__main__":
    write()
