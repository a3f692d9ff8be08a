"""Show progress bars on stderr, if it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SECONDS_OF_SPEED = 300.0  # the speed is averaged over these: a tile may take a minute


@contextmanager
def progress_bar(unit: str, *, counted: bool = True) -> Iterator[Progress]:
    """A progress bar.

    Args:
        unit: text after the count; may contain Rich markup that refers to fields of the task.
        counted: show "n/m".
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *([MofNCompleteColumn()] if counted else []),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=_SECONDS_OF_SPEED,
    ) as progress:
        yield progress


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for each file that is downloaded or unpacked, in megabytes."""
    with progress_bar("MB") as bar:
        tasks: dict[str, Any] = {}

        def show(text: str, done: int, total: int | None) -> None:
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=None)
            known = None if total is None else round(total / 1e6)
            bar.update(tasks[text], completed=round(done / 1e6), total=known)

        yield show


@contextmanager
def cache_progress() -> Iterator[Callable[[int, int], None]]:
    """Progress of decoding images into the cache; hidden until there is something to decode."""
    with progress_bar("images") as progress:
        task = progress.add_task("decoding", total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=done < total)

        yield show


@contextmanager
def image_progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """One bar that counts images."""
    with progress_bar("images") as progress:
        task = progress.add_task(description, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
