"""What is to be super-resolved, and where the results go: files, folders, patterns and lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch_sr.errors import ImageError
from torch_sr.images import IMAGE_SUFFIXES, WRITABLE_SUFFIXES, display_name, is_image_name

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
_WRITABLE_VIDEOS = (".mkv", ".mov", ".mp4", ".webm")


@dataclass(frozen=True)
class Job:
    """One file to super-resolve.

    Args:
        source, target: the files.
        refusal: why it cannot be done, where that is known already.
        pixels: of the source, all pages; 0 where that is not known yet.
        sheet: where the result is to be drawn beside bicubic interpolation, if it is.
    """

    source: Path
    target: Path
    refusal: str | None = None
    pixels: int = 0
    sheet: Path | None = None

    @property
    def is_video(self) -> bool:
        """Whether it is a film, by its name."""
        return self.source.suffix.lower() in VIDEO_SUFFIXES


def find_jobs(
    arguments: Sequence[str],
    out: Path | None = None,
    *,
    suffix: str = "_sr",
    format: str | None = None,  # noqa: A002
    sheets: bool = False,
) -> list[Job]:
    """The files that are named, in order and each once, with the files their results go to.

    A file is taken as it is, whatever its name. Folders give the images and videos in them and in
    their sub-folders, a pattern those that match; below ``out`` the same sub-folders are used.
    What is the result of another one found, or its sheet, is no source, so that a folder can be
    done twice.

    Args:
        arguments: files, folders and patterns such as ``"*.png"``.
        out: the folder for results, else beside their sources; for one file, a file too.
        suffix: appended to each name, before its ending.
        format: the ending of all results; else their sources', or PNG where that is not written.
        sheets: whether sheets are to be drawn too.

    Raises:
        ImageError: when a folder or a pattern gives nothing.
    """
    found: dict[Path, tuple[Path, bool]] = {}  # source -> where below `out`, and whether named
    for argument in arguments:
        before = len(found)
        for source, root, named in _sources(argument, out):
            found.setdefault(source, (source.parent.relative_to(root), named))
        if len(found) == before and not _gives_something(argument, out):
            raise ImageError(f"{argument}: no images there; name a file, a folder or a pattern")
    if out is not None and len(found) == 1 and _is_file_name(out):
        return _checked([_job(next(iter(found)), out, sheets)])
    jobs = [
        _job(source, _target(source, out / below if out else None, suffix, format), sheets)
        for source, (below, _) in found.items()
    ]
    results = {job.target for job in jobs if job.target != job.source}
    results |= {_sheet(target) for target in results}
    return _checked([job for job in jobs if found[job.source][1] or job.source not in results])


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
    """Every ``count``-th job, beginning with the ``number``-th, which counts from 1."""
    return list(jobs[number - 1 :: count])


def _sources(argument: str, out: Path | None) -> Iterator[tuple[Path, Path, bool]]:
    """Each file, the folder under which its place is kept, and whether it was named itself."""
    path = Path(argument).expanduser()
    if _is_folder(path):
        for file in _walk(path, out):
            yield file, path, False
    elif not os.path.lexists(path) and glob.has_magic(argument):
        root = _root_of(path)
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute patterns too
        for file in sorted(map(Path, matches)):
            if is_source_name(file) and not file.is_dir():
                yield file, root, False
    else:
        yield path, path.parent, True


def _gives_something(argument: str, out: Path | None) -> bool:
    return next(_sources(argument, out), None) is not None


def is_source_name(path: Path) -> bool:
    """Whether a file of a folder counts as an image or a film, by its name alone."""
    hidden = path.name.startswith(".")
    return is_image_name(path) or (not hidden and path.suffix.lower() in VIDEO_SUFFIXES)


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Files in a folder and below, hidden ones and the results' folder left out.

    Links are followed, but into no folder a second time: they may lead in circles.
    """
    seen = {_real(out)} - {_real(folder)} if out is not None else set()

    def fail(error: OSError) -> None:
        raise ImageError(f"{error.filename}: cannot list this folder: {error.strerror}") from error

    for place, folders, files in os.walk(folder, onerror=fail, followlinks=True):
        real = _real(Path(place))
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if is_source_name(Path(name)):
                yield Path(place, name)


def _root_of(pattern: Path) -> Path:
    """The part of a pattern before its first wildcard."""
    parts = pattern.parts
    plain = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:plain])


def _is_file_name(out: Path) -> bool:
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES  # those that are not written will be told
    return out.suffix.lower() in known and not _is_folder(out)


def _target(source: Path, folder: Path | None, suffix: str, format: str | None) -> Path:  # noqa: A002
    """``photo.jpg`` to ``photo_sr.jpg``, in ``folder`` or beside the source."""
    ending = source.suffix.lower()
    if ending in VIDEO_SUFFIXES:
        extension = source.suffix if ending in _WRITABLE_VIDEOS else ".mp4"
    elif format is not None:
        extension = "." + format.lstrip(".")
    else:
        extension = source.suffix if ending in WRITABLE_SUFFIXES else ".png"
    return (folder or source.parent) / f"{source.stem}{suffix}{extension}"


def _job(source: Path, target: Path, sheets: bool) -> Job:
    job = Job(source, target)
    return replace(job, sheet=_sheet(target)) if sheets and not job.is_video else job


def _sheet(target: Path) -> Path:
    return target.with_name(f"{target.stem}_sheet.png")


def _checked(jobs: list[Job]) -> list[Job]:
    """Refuse what would overwrite a source, or a result of the same call."""
    taken = {_real(job.source): job.source for job in jobs}
    checked = []
    for job in jobs:
        for written in filter(None, (job.target, job.sheet)):
            if _real(written) in taken:
                refusal = (
                    f"{display_name(job.source)}: would overwrite {display_name(written)}, which "
                    "is a source or a result of this call; give another --suffix or --out"
                )
                job = replace(job, refusal=job.refusal or refusal)
            taken[_real(written)] = job.source
        checked.append(job)
    return checked


# Path's own methods raise of links that lead in circles, and of names that are too long.


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112
