"""A run's settings as the words of a command line, so that the same run can be started again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch_sr.training.settings import RunSettings

_INTERVALS = (
    ("--validation-interval", "validate"),
    ("--checkpoint-interval", "checkpoint"),
    ("--image-interval", "images"),
    ("--store-model-interval", "store_model"),
)
_DEFAULT = RunSettings()


def build_command(config_file: Path, settings: RunSettings, start: str | None) -> list[str]:
    """The command that trains a configuration with these settings.

    Paths are absolute, so that the command works in any folder. The name of the run is left out:
    no two runs can share one.

    Args:
        config_file: the configuration.
        settings: of the run.
        start: the name or path of the model to start from; None for none.
    """
    out_dir = settings.out_dir.absolute()
    words = ["torch-sr", "train", str(config_file.absolute()), "--out-dir", str(out_dir)]
    if start is not None:
        path = Path(start).expanduser()
        words += ["-l", str(path.absolute()) if path.exists() else start]
        if settings.start_stage is not None:
            words += ["--start-stage", settings.start_stage]
    return [*words, *_spell_machine(settings), *_spell_intervals(settings), *_spell_logs(settings)]


def _spell_machine(settings: RunSettings) -> Iterator[str]:
    yield from ("--device", settings.device, "--precision", settings.precision)
    if settings.num_workers is not None:
        yield from ("--num-workers", str(settings.num_workers))
    if settings.accumulate != _DEFAULT.accumulate:
        yield from ("--accumulate", str(settings.accumulate))
    if settings.compile:
        yield "--compile"
    if not settings.channels_last:
        yield "--no-channels-last"
    if settings.partial:
        yield "--partial"


def _spell_intervals(settings: RunSettings) -> Iterator[str]:
    intervals, default = settings.intervals, _DEFAULT.intervals
    for option, name in _INTERVALS:
        every = getattr(intervals, name)
        if every != getattr(default, name):
            yield from (option, str(every))
    if intervals.best_warmup != default.best_warmup:
        yield from ("--best-checkpoint-warmup", str(intervals.best_warmup))
    if intervals.keep_checkpoints != default.keep_checkpoints:
        yield from ("--keep-checkpoints", str(intervals.keep_checkpoints))


def _spell_logs(settings: RunSettings) -> Iterator[str]:
    if settings.val_metrics:
        yield from ("--val-metrics", ",".join(settings.val_metrics))
    if settings.licence is not None:
        yield from ("--licence", settings.licence)
    if not settings.tensorboard:
        yield "--no-tensorboard"
    if settings.wandb == "on":
        yield "--wandb"
