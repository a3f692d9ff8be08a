"""Open the data of a stage: its crops, its validation images, its length."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from torch_sr.aliases import Progress
from torch_sr.config import Hyperparameters
from torch_sr.data.crops.random_crops import RandomCrops, training_loader
from torch_sr.data.crops.sampler import EpochSampler
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.sets.resolve import train_and_val_specs
from torch_sr.data.sets.table import Purpose
from torch_sr.data.ssim_size import refuse_small
from torch_sr.errors import DataError
from torch_sr.evaluation.metric_table import MetricFunction
from torch_sr.machine import usable_cpus
from torch_sr.training.context import RunContext
from torch_sr.training.runs.export import run_notes
from torch_sr.training.settings import RunSettings, StageLimits
from torch_sr.training.validation import Validation

if TYPE_CHECKING:
    from torch_sr.data.degradation import Degradation

_WORKERS = 4  # they cut crops far faster than any GPU trains on them
_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Opener: TypeAlias = Callable[Concatenate[str, Hyperparameters, P], T]


@dataclass(frozen=True)
class StageData:
    """The data of a stage, and its length.

    Args:
        loader, sampler: the training batches, see
            :func:`torch_sr.data.crops.random_crops.training_loader`.
        validation: measures whole images; may have no images.
        notes: records for models and checkpoints.
        limits: the length of the stage.
    """

    loader: DataLoader[tuple[Tensor, Tensor]]
    sampler: EpochSampler
    validation: Validation
    notes: dict[str, Any]
    limits: StageLimits

    @property
    def total_steps(self) -> int:
        """Number of mini-batches of the whole stage."""
        return self.limits.total_steps(self.sampler.batches)


def open_stage_data(
    name: str,
    context: RunContext,
    extra_metrics: Mapping[str, MetricFunction],
    progress: Progress | None = None,
) -> StageData:
    """Open the training and validation data of a stage.

    Args:
        name: the stage.
        context: the context of the run.
        extra_metrics: other metrics of validations, by the names under which they are logged.
        progress: called while images are decoded for the first time.

    Raises:
        DataError, ImageError: the data are missing or unfit.
    """
    fabric, config, settings = context.fabric, context.config, context.settings
    crops = open_crops(name, config, settings, progress)
    validation = open_validation(name, config, settings, progress)
    section = config.stages[name]
    loader, sampler = training_loader(
        crops,
        config.batch_size,
        _count_workers(settings, fabric.device),
        fabric.world_size,
        fabric.global_rank,
    )
    limits = StageLimits(section.num_epoch, section.num_steps)
    notes = run_notes(crops.pairs, settings.license)
    return StageData(loader, sampler, Validation(validation, extra_metrics), notes, limits)


def _count_workers(settings: RunSettings, device: torch.device) -> int:
    if settings.num_workers is not None:
        return settings.num_workers
    return 0 if device.type == "cpu" else min(_WORKERS, usable_cpus())


def _naming(key: str) -> Callable[[Opener[P, T]], Opener[P, T]]:
    """Prefix errors about data sets with the key that names them, and how to set it."""

    def decorate(function: Opener[P, T]) -> Opener[P, T]:
        @wraps(function)
        def opener(name: str, config: Hyperparameters, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(name, config, *args, **kwargs)
            except DataError as error:
                where = _name_key(name, key, config)
                raise type(error)(f"{where}: {error}") from error

        return opener

    return decorate


def _name_key(stage: str, key: str, config: Hyperparameters) -> str:
    """A key, and how to set it if it has its default."""
    stages = config.stages
    if key in stages[stage].model_fields_set:
        return f"{stage}.{key}"
    everywhere = all(key not in section.model_fields_set for section in stages.values())
    option = key if everywhere else f"{stage}.{key}"  # without the section, it sets both
    none = ", or [] for none" if key == "val_datasets" else ""
    sides = dict(
        zip(("train_datasets", "val_datasets"), train_and_val_specs(stages[stage]), strict=True)
    )
    default = json.dumps(sides[key])
    return f"add --set {option}=FOLDER{none}: {stage}.{key} is not set and defaults to {default}"


@_naming("train_datasets")
def open_crops(
    name: str,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None = None,
    *,
    decode: bool = True,
) -> RandomCrops:
    """The training crops of a stage.

    Args:
        name: the stage.
        config: all hyper-parameters.
        settings: the settings of the run.
        progress, decode: see :func:`~torch_sr.data.image_pairs.open_pairs`.

    Raises:
        DataError, ImageError: the data are missing or unfit.
    """
    section = config.stages[name]
    specs, _ = train_and_val_specs(section)
    pairs = _open(specs, "train", config, settings, progress, decode)
    return RandomCrops(
        pairs,
        section.cr_patch_size,
        config.seed,
        **section.augmentation.model_dump(),
        degradation=_build_degradation(config, pairs),
    )


def _build_degradation(config: Hyperparameters, pairs: ImagePairs) -> Degradation | None:
    """The degradation of the crops, if the configuration has one."""
    if not config.degradation.probability:
        return None
    from torch_sr.data.degradation import Degradation  # imports OpenCV

    own = len(pairs) - pairs.num_made
    if own:
        _log.warning(
            "degradation: %d of %d training images have their own low resolution, which is not "
            "degraded; to degrade them too, name only the sub-folder of high resolution, such as "
            "FOLDER:HR",
            own,
            len(pairs),
        )
    return Degradation(config.degradation, config.scale_factor)


@_naming("val_datasets")
def open_validation(
    name: str,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None = None,
    *,
    decode: bool = True,
) -> ImagePairs:
    """The validation images of a stage; the arguments are those of :func:`open_crops`.

    Raises:
        DataError, ImageError: they are missing, unfit, or too small to measure.
    """
    section = config.stages[name]
    _, specs = train_and_val_specs(section)
    if specs != section.val_datasets:
        held = ", ".join(specs)
        _log.warning("val_datasets is not set: validating on %s, which is not trained on", held)
    pairs = _open(specs, "val", config, settings, progress, decode)
    refuse_small(pairs)
    return pairs


def _open(
    specs: Sequence[str],
    purpose: Purpose,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None,
    decode: bool,
) -> ImagePairs:
    return open_pairs(
        specs,
        purpose=purpose,
        data_root=settings.data_root,
        scale_factor=config.scale_factor,
        channels=config.img_channels,
        cache_dir=settings.cache_dir,
        progress=progress,
        decode=decode,
        download=settings.download,
    )
