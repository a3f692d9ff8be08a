"""``torch-sr train``: parse and check the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from torch_sr.cli.options import Overrides
from torch_sr.cli.train.options import PhotoOptions
from torch_sr.options import Option
from torch_sr.training.settings import RunSettings

Config = Annotated[
    Path | None,
    typer.Argument(show_default=False, help="JSON file of hyper-parameters; or use --images."),
]
Like = Annotated[
    str | None,
    Option(
        "Take scale_factor, img_channels and generator.* from a model, by file or name.",
        metavar="MODEL",
    ),
]
PrintConfig = Annotated[bool, Option("Print the complete configuration and stop.")]
Check = Annotated[
    bool, Option("Find what would fail, draw a batch (check_*.png in --out), and stop.")
]
Resume = Annotated[
    str | None,
    Option(
        "auto: resume the newest intact checkpoint in --out (of the run --name, if given), or "
        "start a new run. A file is the same as with -l.",
        panel="Start and resume",
        metavar="auto|CHECKPOINT",
    ),
]


def train(
    config: Config = None,
    *,
    photos: PhotoOptions,
    overrides: Overrides = None,
    like: Like = None,
    print_config: PrintConfig = False,
    check: Check = False,
    settings: RunSettings,
    resume: Resume = None,
) -> Any:
    """Train a generator, from a configuration or from a folder of photographs (--images).

    Models and checkpoints go to saved_models/ and logs to logs/ below --out.
    """
    settings = _choose_start(settings, resume)
    if photos.images is not None:
        if config is not None:
            raise typer.BadParameter("CONFIG and --images: give one of them")
        if like is not None:
            raise typer.BadParameter("--like: with --images the sizes are those of the model of -l")
        from torch_sr.cli.train.photos import train_on_photos

        return train_on_photos(
            photos, settings, overrides or [], print_config=print_config, check=check
        )
    if config is None or photos != PhotoOptions():
        raise typer.BadParameter(
            "give a CONFIG file, or --images with a folder of photographs, which alone takes "
            "--minutes, --from-scratch and --gan"
        )
    from torch_sr.cli.train.run import train_config

    return train_config(
        config, settings, overrides or [], like=like, print_config=print_config, check=check
    )


def _choose_start(settings: RunSettings, resume: str | None) -> RunSettings:
    """Apply ``--resume`` to the settings."""
    if resume is None:
        return settings
    if resume == "auto":
        return replace(settings, resume_auto=True)
    if settings.resume is not None:
        raise typer.BadParameter("--resume CHECKPOINT and -l mean the same; give one of them")
    return replace(settings, resume=Path(resume))
