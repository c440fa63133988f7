"""Progress bars for what takes long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as rich
from rich.console import Console

Progress = Callable[[str, int, int], None]
"""Shows what is being done, how much of it is done, and how much there is."""


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """A function that draws one bar for each thing that it shows."""
    columns = (
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=console) as progress:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(progress.task_ids[list(tasks).index(what)], completed=done, total=total)

        yield show


@contextmanager
def waiting(console: Console) -> Iterator[Callable[[str], None]]:
    """A bar for work whose length nobody knows, and a function that says what is being done."""
    columns = (rich.SpinnerColumn(), rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TimeElapsedColumn())
    with rich.Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)

        def show(what: str) -> None:
            progress.update(task, description=what)

        yield show
        progress.update(task, total=1, completed=1)
