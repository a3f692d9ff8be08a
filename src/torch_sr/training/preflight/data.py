"""Check the training and validation images of a stage."""

from __future__ import annotations

from torch_sr.errors import DataError
from torch_sr.training.notes import notes_on_stage
from torch_sr.training.preflight.checked_run import CheckedData, CheckedRun
from torch_sr.training.settings import StageLimits
from torch_sr.training.stage_data import open_crops, open_validation


def check_data(run: CheckedRun, name: str) -> str:
    """Open the data sets of a stage without decoding them.

    Returns:
        the numbers of images and of steps, and notes on probable mistakes, in words.

    Raises:
        DataError, ImageError: the data are missing or unfit.
    """
    config, section = run.config, run.config.stages[name]
    crops = open_crops(name, config, run.settings, decode=False)
    validation = open_validation(name, config, run.settings, decode=False)
    processes = 1 if run.fabric is None else run.fabric.world_size
    if len(crops) < processes:
        raise DataError(f"{len(crops)} training images are too few for {processes} processes")
    steps = max(1, len(crops) // (config.batch_size * processes))
    total = StageLimits(section.num_epoch, section.num_steps).total_steps(steps)
    run.data[name] = CheckedData(crops, validation, steps, total)
    size = section.cr_patch_size
    what = "whole images" if size is None else f"crops of {size[1]}x{size[0]}"
    validated = f"{len(validation)} to validate on" if validation else "no validation"
    text = (
        f"{len(crops)} images to train on, {what}, {steps} steps per epoch; {validated}; all "
        "paired, none too small"
    )
    from_scratch = run.start is not None and run.start.path is None
    notes = notes_on_stage(
        config,
        name,
        batch_size=min(config.batch_size, len(crops) // processes),
        steps=total,
        from_scratch=from_scratch and name == run.stages[0],
    )
    return "; ".join([text, *notes])
