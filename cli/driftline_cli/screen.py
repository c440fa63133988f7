"""Tables on screens of any width: nothing is cut off, and names stay whole where the screen has room for them."""

from rich import box
from rich.cells import cell_len
from rich.table import Table

ROOM = 60
"""Of the 80 columns that a screen has at least."""


def table_of(title: str, *columns: str) -> Table:
    """A table whose cells go on below where they are too long for their column."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def keep_whole(table: Table, *columns: str) -> Table:
    """Has other columns give way before these, unless they take too much of the screen by themselves."""
    kept = [column for column in table.columns if column.header in columns]
    if sum(max(map(cell_len, map(str, column.cells)), default=0) for column in kept) <= ROOM:
        for column in kept:
            column.no_wrap = True
    return table
