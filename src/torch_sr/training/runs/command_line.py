"""Build the command that repeats a run from its settings."""

from __future__ import annotations

from pathlib import Path

from torch_sr.options import spell
from torch_sr.training.settings import RunSettings

_SPELLED_HERE = ("out", "load_checkpoint", "start_stage", "device", "precision")
_LEFT_OUT = ("data_root", "name", "devices")


def build_command(config_file: Path, settings: RunSettings, start: str | None) -> list[str]:
    """The command that trains a configuration with these settings.

    Paths are absolute, so that the command works in any folder. The name of the run is left out,
    because two runs cannot share one.

    Args:
        config_file: the configuration.
        settings: the settings of the run.
        start: the name or path of the model to start from; None for a training from scratch.
    """
    out_dir = settings.out_dir.absolute()
    words = ["torch-sr", "train", str(config_file.absolute()), "--out", str(out_dir)]
    if start is not None:
        path = Path(start).expanduser()
        words += ["-l", str(path.absolute()) if path.exists() else start]
        if settings.start_stage is not None:
            words += ["--start-stage", settings.start_stage]
    words += ["--device", settings.device, "--precision", settings.precision]
    return [*words, *spell(settings, leave_out=(*_SPELLED_HERE, *_LEFT_OUT))]
