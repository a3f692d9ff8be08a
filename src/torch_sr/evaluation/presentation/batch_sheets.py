"""Sheets that compare results of a batch with bicubic interpolation."""

from __future__ import annotations

from dataclasses import replace

from torch_sr.errors import TorchSRError
from torch_sr.evaluation.presentation.upscaled_sheet import draw_upscaled
from torch_sr.images import Image, display_name, write_image
from torch_sr.inference.files.batch import Outcome


def add_sheet(outcome: Outcome, *, damaged: str) -> Outcome:
    """Draw the sheet of a finished file if its job asks for one that does not exist yet.

    Args:
        outcome: the outcome of the file.
        damaged: what to do with damaged images: ``refuse`` or ``keep``.

    Returns:
        The outcome; a failed one if the sheet cannot be drawn.
    """
    job = outcome.job
    skipped = outcome.status == "skipped" and job.sheet is not None and job.sheet.exists()
    if job.sheet is None or outcome.status == "failed" or skipped:
        return outcome
    try:
        write_image(job.sheet, Image(draw_upscaled(job.source, job.target, damaged=damaged)))
    except (TorchSRError, MemoryError) as error:
        reason = str(error) or "not enough memory"
        message = f"{display_name(job.sheet)}: cannot be drawn: {reason}"
        return replace(outcome, status="failed", message=message)
    return outcome
