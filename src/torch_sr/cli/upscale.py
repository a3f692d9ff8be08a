"""``torch-sr upscale``: super-resolve images, whatever their number."""

from __future__ import annotations

import glob
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torch_sr.cli.console import Device, Precision, progress_bar
from torch_sr.errors import ImageError, TorchSRError

if TYPE_CHECKING:
    from torch_sr.inference.upscaler import Upscaler


def upscale(
    images: Annotated[list[str], typer.Argument(help="Files, folders and globs.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A shipped model or a weights file.")
    ] = "compact-x4",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the results; else beside their sources."),
    ] = None,
    suffix: Annotated[str, typer.Option(help="Appended to each name.")] = "_sr",
    device: Device = "auto",
    precision: Precision = "auto",
    tile_size: Annotated[
        int | None,
        typer.Option(min=1, help="Largest tile in pixels of the input; smaller needs less memory."),
    ] = None,
    overlap: Annotated[
        int | None,
        typer.Option(min=0, help="Context around each tile, in pixels; else what the model needs."),
    ] = None,
) -> None:
    """Super-resolve images: photo.jpg becomes photo_sr.jpg."""
    sources = find_sources(images)
    from torch_sr.inference.upscaler import Upscaler

    upscaler = Upscaler(
        model, device=device, precision=precision, tile_size=tile_size, overlap=overlap
    )
    failures = upscale_all(upscaler, sources, out, suffix)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    if failures:
        print(f"{len(sources) - len(failures)} done, {len(failures)} failed", file=sys.stderr)
        raise typer.Exit(1)


def find_sources(arguments: list[str]) -> list[Path]:
    """The image files that files, folders and globs name, in order, each once.

    A file is taken as it is, whatever its name; a folder gives the images directly in it.

    Raises:
        ImageError: when a folder or a glob gives nothing.
    """
    from torch_sr.images import is_image_name

    sources: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_dir():
            try:
                found = sorted(file for file in path.iterdir() if is_image_name(file))
            except OSError as error:
                raise ImageError(f"{path}: cannot list this folder: {error.strerror}") from error
        elif not path.exists() and glob.has_magic(argument):
            matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute patterns too
            found = sorted(Path(match) for match in matches if is_image_name(Path(match)))
        else:
            found = [path]
        if not found:
            raise ImageError(f"{argument}: no images there")
        sources |= dict.fromkeys(found)
    return list(sources)


def upscale_all(
    upscaler: Upscaler, sources: list[Path], out: Path | None, suffix: str
) -> list[str]:
    """Super-resolve files one by one, going on after a bad one; return what failed and why.

    No source and no result of the same call is ever overwritten.
    """
    failures: list[str] = []
    taken = {source.resolve() for source in sources}
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{out}: cannot make this folder: {error.strerror}") from error
    with progress_bar("tiles") as progress:
        for number, source in enumerate(sources, start=1):
            task = progress.add_task(f"{number}/{len(sources)} {source.name}", total=None)
            target = target_of(source, out, suffix)
            try:
                if target.resolve() in taken:
                    raise ImageError(
                        f"{source}: would overwrite {target}, which is a source or a result of "
                        "this call; give another --suffix or --out"
                    )
                upscaler.upscale_file(
                    source,
                    target,
                    lambda done, total, task=task: progress.update(  # type: ignore[misc]
                        task, completed=done, total=total
                    ),
                )
                taken.add(target.resolve())
                print(target)
            except TorchSRError as error:
                failures.append(str(error))
            except MemoryError:
                failures.append(f"{source}: not enough memory; lower --tile-size or cut the image")
            progress.remove_task(task)
    return failures


def target_of(source: Path, out: Path | None, suffix: str) -> Path:
    """``photo.jpg`` to ``photo_sr.jpg``, in ``out`` or beside the source.

    Formats that are read but not written become PNG.
    """
    from torch_sr.images import WRITABLE_SUFFIXES

    extension = source.suffix if source.suffix.lower() in WRITABLE_SUFFIXES else ".png"
    return (out or source.parent) / f"{source.stem}{suffix}{extension}"
