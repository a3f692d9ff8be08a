"""The folder of a training on photographs, and its stored command."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from torch_sr.errors import ConfigError
from torch_sr.training.photos.plan import command_file, holds_training
from torch_sr.training.settings import RunSettings


def with_folder(settings: RunSettings, images: Path) -> RunSettings:
    """Set the output folder, unless one is given, to a name derived from the photographs."""
    if settings.out_dir != Path():
        return settings
    name = images.resolve().name.lstrip("-") or "photos"
    return replace(settings, out_dir=Path(f"{name}_training"))


def stored_command(out_dir: Path) -> list[str] | None:
    """The arguments of ``torch-sr`` that resume the training in a folder; None without one.

    Raises:
        ConfigError: its command cannot be read.
    """
    if not holds_training(out_dir):
        return None
    file = command_file(out_dir)
    try:
        _, *words = shlex.split(file.read_text(encoding="utf-8").splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{file}: cannot read the command of the training; resume it with its configuration: "
            "torch-sr train CONFIG --resume auto"
        ) from error
    return [*words, "--resume", "auto"]
