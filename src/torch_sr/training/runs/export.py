"""Extract the model of a checkpoint, and build the metadata of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_sr.data.image_pairs import ImagePairs
from torch_sr.errors import CheckpointError
from torch_sr.evaluation.averages import json_safe
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.runs.checkpoints import load_newest, read_hparams


def model_metadata(
    stage: str,
    hparams: Mapping[str, Any],
    progress: Mapping[str, Any],
    metrics: Mapping[str, float],
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """The metadata about its training in a model's file.

    Args:
        stage: the section of the stage in the configuration.
        hparams: the configuration.
        progress: ``epoch`` and ``step``.
        metrics: the metrics of that epoch; those of the validation are recorded.
        notes: other records of the run; see :func:`run_notes`.
    """
    return {
        "dataset": ", ".join(hparams[stage]["train_datasets"]),
        **notes,
        "epoch": progress["epoch"],
        "step": progress["step"],
        "metrics": json_safe(
            {name: round(value, 5) for name, value in metrics.items() if name.startswith("val/")}
        ),
        "configuration": hparams,
    }


def run_notes(pairs: ImagePairs, license: str | None) -> dict[str, Any]:
    """Other records of a run: the number and the hash of its images, and a license."""
    data = {"images": len(pairs), "fingerprint": pairs.digest()}
    return {"data": data, **({"license": license} if license else {})}


def extract_model(checkpoint: Path, out: Path, *, raw: bool = False) -> None:
    """Write the generator of a training checkpoint as a model.

    Args:
        checkpoint: a checkpoint of torch-sr or of the original project.
        out: ends in ``.safetensors``, ``.pth`` or ``.pt``.
        raw: use the trained weights instead of their average.

    Raises:
        CheckpointError: the checkpoint is damaged or is the target, or ``raw`` is set for a file
            with only one set of weights.
        ModelError: the file is not a checkpoint, or the model cannot be written.
    """
    if out.exists() and checkpoint.exists() and out.samefile(checkpoint):
        raise CheckpointError(f"{out} is the source; give another name")
    state = load_newest(checkpoint)
    if state is None:
        loaded = read_model(checkpoint)
        if raw or not isinstance(loaded.network, RRDBNet):
            raise CheckpointError(
                f"{checkpoint}: this is not a checkpoint of torch-sr; it contains one "
                f"{loaded.info.architecture}"
            )
        stage, metadata = loaded.info.stage, loaded.info.metadata
        save_generator(out, loaded.network, stage=stage, metadata=metadata)
        return
    network = RRDBNet(**read_hparams(checkpoint, state).generator_kwargs)
    network.load_state_dict(state["model_state_dict" if raw else "params_ema"])
    metadata = model_metadata(
        state["stage"],
        state["hparams"],
        state["progress"],
        state["metrics"],
        state.get("notes", {}),  # missing in older checkpoints
    )
    save_generator(out, network, stage=state["stage"], metadata=metadata)
