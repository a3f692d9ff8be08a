"""Find the files to super-resolve, and name their results."""

from __future__ import annotations

import glob
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch_sr.errors import ImageError
from torch_sr.files import expand_home, explain
from torch_sr.images import display_name
from torch_sr.inference.files.earlier import DEFAULT_SUFFIX, SHEET, find_earlier
from torch_sr.inference.files.kinds import describe_kinds, is_source_name, is_video
from torch_sr.inference.files.targets import (
    check_suffix,
    check_target_format,
    result_name,
    single_target,
)


@dataclass(frozen=True)
class Job:
    """One file to super-resolve.

    Args:
        source, target: the files.
        refusal: why it cannot be processed, if that is known already.
        pixels: of all pages of the source; 0 if not known yet.
        sheet: where to draw the result next to bicubic interpolation, if requested.
    """

    source: Path
    target: Path
    refusal: str | None = None
    pixels: int = 0
    sheet: Path | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a video, not an image."""
        return is_video(self.source)


@dataclass(frozen=True)
class FoundFiles:
    """The files that were found for the arguments.

    Args:
        jobs: the files to super-resolve, in order and each once.
        earlier: files in folders that are results of earlier runs, or their sheets.
        others: files in folders that are neither images nor videos by their names.
    """

    jobs: list[Job]
    earlier: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    """A file, the searched folder, and whether the file itself was named.

    Or a folder that cannot be listed, with the reason.
    """

    path: Path
    root: Path
    named: bool
    refusal: str | None = None

    def folder(self, out: Path | None) -> Path:
        """Where its result goes: next to it, or to the same place below ``out``."""
        place = self.path.parent
        return place if out is None else out / place.relative_to(self.root)

    @property
    def is_source(self) -> bool:
        return self.named or self.refusal is not None or is_source_name(self.path)


def find_jobs(
    arguments: Sequence[str],
    out: str | Path | None = None,
    *,
    suffix: str = DEFAULT_SUFFIX,
    file_format: str | None = None,
    sheets: bool = False,
) -> FoundFiles:
    """Find the files that the arguments name, in order and each once, and name their results.

    A named file is used regardless of its suffix. Folders stand for the images and videos in them
    and in their sub-folders, patterns for the files that match; ``out`` gets the same sub-folders.
    Results of earlier runs in a folder are skipped, so a folder can be processed again.

    Args:
        arguments: files, folders and patterns such as ``"*.png"``.
        out: the folder for results; by default they go next to their sources. For one source also a
            file: a name with a suffix is a file, unless it ends with a slash or exists as a folder.
            A suffix without a letter, as in ``v1.5``, does not count.
        suffix: appended to each name, before the file's suffix.
        file_format: of all image results, by its suffix; by default that of the source, or PNG if
            it cannot be written.
        sheets: whether to draw comparison sheets too.

    Raises:
        ImageError: a folder or a pattern matches nothing, ``out`` is none of the above,
            ``file_format`` cannot be written or contradicts the suffix of ``out``, or ``suffix``
            contains a slash.
    """
    check_suffix(suffix)
    target = single_target(out)
    check_target_format(file_format, target)
    folder = Path(out) if out is not None and target is None else None
    found: dict[str, _File] = {}
    others: dict[Path, None] = {}
    for argument in arguments:
        if not argument:
            raise ImageError("name a file, a folder or a pattern: one of the names is empty")
        files = list(_files(argument, folder))
        sources = [file for file in files if file.is_source]
        others |= dict.fromkeys(file.path for file in files if not file.is_source)
        if not sources:
            raise ImageError(_nothing_in(argument, [file.path for file in files]))
        for file in sources:
            key = os.path.abspath(file.path)  # noqa: PTH100 - which keeps links
            first = found.get(key, file)
            found[key] = replace(first, named=first.named or file.named)
    pairs = [
        (file, file.folder(folder) / result_name(file.path, suffix, file_format))
        for file in found.values()
    ]
    earlier = _earlier(pairs, suffix)
    pairs = [(file, to) for file, to in pairs if file.path not in earlier]
    if target is not None:
        pairs = [(_only(pairs, target), target)]
    jobs = _checked([_job(file, to, sheets) for file, to in pairs])
    return FoundFiles(jobs, sorted(earlier), list(others))


def _earlier(pairs: list[tuple[_File, Path]], suffix: str) -> set[Path]:
    """Results of earlier runs in folders: by evidence, or because this run would write them."""
    results = {target for file, target in pairs if target != file.path}
    results |= {_sheet(target) for target in results}
    results |= find_earlier({file.path: file.root for file, _ in pairs}, suffix)
    return {file.path for file, _ in pairs if not file.named and file.path in results}


def _only(pairs: list[tuple[_File, Path]], target: Path) -> _File:
    if len(pairs) != 1:
        raise ImageError(
            f"{display_name(target)} is one file, and there are {len(pairs)} sources; for a folder "
            f"of this name write {display_name(target)}{os.sep}"
        )
    return pairs[0][0]


def read_names(lines: Iterable[str]) -> list[str]:
    r"""Names of files from a list: one a line, or ended by NUL as ``find -print0`` gives them.

    >>> read_names(["a.png\n", "\n", "b c.png\n"]), read_names(["a.png\0b.png\0"])
    (['a.png', 'b c.png'], ['a.png', 'b.png'])
    """
    text = "".join(lines)
    if "\0" in text:
        return [name for name in text.split("\0") if name]
    names = [line.removesuffix("\r") for line in text.split("\n")]  # no other separator is one here
    return [name for name in names if name.strip()]


def shard(jobs: Sequence[Job], number: int, count: int) -> list[Job]:
    """Every ``count``-th job, starting with the ``number``-th, counted from 1."""
    return list(jobs[number - 1 :: count])


def _files(argument: str, out: Path | None) -> Iterator[_File]:
    """Every file that an argument names, of any kind."""
    path = _expanded(argument)
    if _is_folder(path):
        yield from _walk(path, out)
    elif not os.path.lexists(path) and glob.has_magic(argument):
        root = _root_of(path)
        inside = out is not None and _real(out) != _real(root) and _is_below(out, root)
        results = out if inside else None
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute patterns too
        for file in sorted(map(Path, matches)):
            if not _is_folder(file) and (results is None or not _is_below(file, results)):
                yield _File(file, root, named=False)
    else:
        yield _File(path, path.parent, named=True)


def _expanded(argument: str) -> Path:
    """Replace ``~`` by the home folder, unless a file has that name."""
    path = Path(argument)
    if os.path.lexists(path):
        return path
    return expand_home(path)


def _is_below(path: Path, folder: Path) -> bool:
    return Path(_real(path.parent)).is_relative_to(_real(folder))


def _nothing_in(argument: str, files: list[Path]) -> str:
    seen = f" (only {describe_kinds(files)})" if files else ""
    shown = display_name(argument)
    return f"{shown}: no images or videos there{seen}; name a file, a folder or a pattern"


def _walk(folder: Path, out: Path | None) -> Iterator[_File]:
    """Files in a folder and below, except hidden ones and the folder of results.

    Sub-folders that cannot be listed become jobs that fail, and the others are processed. Links
    are followed, but no folder is entered twice, because links may lead in circles.
    """
    seen = {_real(out)} - {_real(folder)} if out is not None else set()
    unlisted: list[_File] = []

    def fail(error: OSError) -> None:
        place = Path(os.fsdecode(error.filename))
        message = f"{display_name(place)}: {explain(error)}"
        if place == folder:
            raise ImageError(message) from error
        unlisted.append(_File(place, folder, named=False, refusal=message))

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = _real(Path(place))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield _File(Path(place, name), folder, named=False)
    yield from unlisted


def _root_of(pattern: Path) -> Path:
    """The part of a pattern before its first wildcard."""
    parts = pattern.parts
    plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:plain])


def _job(file: _File, target: Path, sheets: bool) -> Job:
    job = Job(file.path, target, file.refusal)
    return replace(job, sheet=_sheet(target)) if sheets and not job.is_video else job


def _sheet(target: Path) -> Path:
    return target.with_name(f"{target.stem}{SHEET}.png")


def _checked(jobs: list[Job]) -> list[Job]:
    """Refuse jobs that would overwrite a source, or a result of the same call."""
    sources = {_key(job.source) for job in jobs}
    writers: dict[str, Job] = {}
    checked = []
    for job in jobs:
        for written in filter(None, (job.target, job.sheet)):
            if (key := _key(written)) in sources or key in writers:
                refusal = _clash(job, written, writers.get(key))
                job = replace(job, refusal=job.refusal or refusal)
            writers.setdefault(key, job)
        checked.append(job)
    return checked


def _clash(job: Job, written: Path, other: Job | None) -> str:
    shown = f"{display_name(job.source)}: would overwrite {display_name(written)}, which is "
    if other is None or other.source == job.source:
        return f"{shown}a source; choose another --suffix or --out"
    return (
        f"{shown}the result of {display_name(other.source)}; choose another --suffix, --format or "
        "--out, or name a folder that holds both"
    )


def _key(path: Path) -> str:
    """A key that is equal for all names of a file, also if the file system ignores case."""
    real = os.path.normcase(_real(path))
    if sys.platform == "darwin":
        return unicodedata.normalize("NFC", real).casefold()
    return real


# Path's own methods raise errors for circular links and for names that are too long.


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112
