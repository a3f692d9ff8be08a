"""Show progress bars on stderr, if it is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_OF_SPEED = 300.0  # the speed is averaged over these: a tile may take a minute


@contextmanager
def progress_bar(unit: str, *, counted: bool = True) -> Iterator[Progress]:
    """A progress bar.

    Args:
        unit: text after the count; may contain Rich markup that refers to fields of the task.
        counted: show "n/m".
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

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


def is_terminal() -> bool:
    """Whether stderr is a terminal; Rich is asked only if its own variables may decide."""
    if not sys.stderr.isatty() and not {"FORCE_COLOR", "TTY_COMPATIBLE"} & os.environ.keys():
        return False
    from rich.console import Console

    return Console(stderr=True).is_terminal


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar for each file that is downloaded or unpacked, in megabytes; none if there is none."""
    with ExitStack() as stack:
        bars: list[Progress] = []
        tasks: dict[str, Any] = {}

        def show(text: str, done: int, total: int | None) -> None:
            if not bars:
                bars.append(stack.enter_context(progress_bar("MB")))
            if text not in tasks:
                tasks[text] = bars[0].add_task(text, total=None)
            known = None if total is None else round(total / 1e6)
            bars[0].update(tasks[text], completed=round(done / 1e6), total=known)

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
