"""What the page says of files: progress, time left, place in the queue, errors, sizes."""

from __future__ import annotations

from html import escape
from math import ceil

from torch_sr.serving.page.batch import Batch, Item
from torch_sr.serving.page.previews import Preview

_STATES = {"waiting": "waits for its turn", "cancelled": "canceled"}


def summary(batch: Batch) -> str:
    """One sentence on all files, for the eye and for screen readers.

    It changes seldom, because a screen reader reads every change.
    """
    items = batch.items
    done, failed = len(batch.results), sum(item.state == "failed" for item in items)
    if not batch.is_finished:
        active = f"Upscaling {count(len(items), 'file')}"
        if len(items) > 1:
            active += f", {done + failed} finished"
        left = time_left(batch.seconds_left)
        return f"{active}. {left[:1].upper()}{left[1:]}." if left else f"{active}."
    parts = [f"{count(done, 'file')} upscaled"] if done or not batch.cancelled else []
    parts += [f"{failed} not possible"] if failed else []
    parts += ["canceled"] if batch.cancelled else []
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def file_list(batch: Batch) -> str:
    """HTML: a line for each file, with a bar while it is computed."""
    lines = "".join(_line(item) for item in batch.items)
    total = ""
    if len(batch.items) > 1 and not batch.is_finished:
        total = f"<p>{_bar(batch.progress, 'All files')} {batch.progress:.0%} of all files</p>"
    return f'<div class="files">{total}<ul>{lines}</ul></div>'


def _line(item: Item) -> str:
    name = f"<strong>{plain(item.name)}</strong>"
    if item.state == "failed":  # most errors begin with the name
        error = item.error.removeprefix(item.name)
        gap = ": " if error == item.error else ""
        return f'<li class="failed">{name}{gap}{escape(error)}</li>'
    if item.state == "running":
        left = time_left(item.task.seconds_left if item.task else None)
        share = ", ".join([f"{item.progress:.0%}", *([left] if left else [])])
        return f"<li>{name} {_bar(item.progress, item.name)} {share}</li>"
    return f"<li>{name}: {_state(item)}</li>"


def _state(item: Item) -> str:
    if item.state == "queued" and item.task:
        ahead = item.task.position
        return f"in the queue, {ahead} before it" if ahead else "next in the queue"
    if item.state == "done" and item.result:
        return f"done, {size_of(item.result.stat().st_size)}"
    return _STATES.get(item.state, item.state)


def _bar(share: float, label: str) -> str:
    return f'<progress max="100" value="{share * 100:.0f}" aria-label="{plain(label)}"></progress>'


def caption(item: Item, preview: Preview | None) -> str:
    """HTML: sizes, notes, and what is shown if it is not everything."""
    sentences = []
    if preview:
        before, after = (
            f"{width} by {height}" for width, height in (preview.source_size, preview.result_size)
        )
        sentences.append(f"From {before} to {after} pixels.")
        sentences.append("Zoom with the mouse wheel or with two fingers.")
        if preview.is_part:
            sentences.append(
                "The image is too large for a browser: this is the part in the middle. "
                "The file to download is complete."
            )
    sentences += [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in item.notes]
    return f"<p>{' '.join(map(plain, sentences))}</p>" if sentences else ""


def time_left(seconds: float | None) -> str:
    """In steps, so that it does not change every second.

    >>> time_left(7), time_left(100)
    ('about 10 seconds left', 'about 2 minutes left')
    """
    if seconds is None:
        return ""
    if seconds < 55:
        return f"about {count(5 * max(1, ceil(seconds / 5)), 'second')} left"
    if seconds < 55 * 60:
        return f"about {count(ceil(seconds / 60), 'minute')} left"
    return f"about {count(ceil(seconds / 3600), 'hour')} left"


def count(number: int, noun: str) -> str:
    """A number and its noun.

    >>> count(1, "file"), count(2, "file")
    ('1 file', '2 files')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def size_of(num_bytes: int) -> str:
    """A file size for people.

    >>> size_of(812), size_of(3_400_000)
    ('1 KB', '3.4 MB')
    """
    if num_bytes < 1_000_000:
        return f"{ceil(num_bytes / 1000)} KB"
    return f"{num_bytes / 1_000_000:.1f} MB"


def plain(text: str) -> str:
    """Text in HTML in Markdown: no markup, on one line.

    >>> plain("<b>*x*")
    '&lt;b&gt;*x*'
    """
    return escape(" ".join(text.split()))
