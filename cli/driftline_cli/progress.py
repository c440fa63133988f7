"""Progress bars for what takes long."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from driftline_cli import backtest


@contextmanager
def bars(console: Console) -> Iterator[backtest.Progress]:
    """A function that draws one bar for each thing it is told of."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, int] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(progress.task_ids[list(tasks).index(what)], completed=done, total=total)

        yield tell


@contextmanager
def waiting(console: Console) -> Iterator[Callable[[str], None]]:
    """A bar for work whose length nobody knows, and a function that says what is being done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=None)

        def tell(what: str) -> None:
            progress.update(task, description=what)

        yield tell
        progress.update(task, total=1, completed=1)
