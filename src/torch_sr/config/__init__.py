"""Hyper-parameters of a training, as typed and validated models: the sections of its JSON.

The models of :mod:`~torch_sr.config.sections` are the only schema. Missing keys have their
defaults. Unknown keys and wrong values raise :class:`~torch_sr.errors.ConfigError`, one line with
the full path of the key. Settings of a run (devices, folders, intervals) are not here: they are
options of the commands.

    >>> parse_config({"batch_size": 8}, overrides=["generator.num_basic_blocks=23"]).batch_size
    8

``python -m torch_sr.config > configs/schema.json`` writes the JSON Schema, with which editors
complete and check a file that names it in a ``"$schema"`` key.
"""

from torch_sr.config.degradation import (
    BlurConfig,
    DegradationConfig,
    RoundConfig,
    SecondRoundConfig,
)
from torch_sr.config.overrides import to_overrides
from torch_sr.config.reading import json_schema, load_config, parse_config
from torch_sr.config.sections import (
    SSIM_WINDOW,
    ContentLossConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    Hyperparameters,
    PerceptualLossConfig,
    WatchConfig,
)
from torch_sr.config.stages import (
    GAN_STAGE,
    PSNR_STAGE,
    STAGES,
    AugmentationConfig,
    ExtraLossesConfig,
    GANAugmentationConfig,
    GANExtraLossesConfig,
    PretrainingConfig,
    TrainingConfig,
)

__all__ = [
    "GAN_STAGE",
    "PSNR_STAGE",
    "SSIM_WINDOW",
    "STAGES",
    "AugmentationConfig",
    "BlurConfig",
    "ContentLossConfig",
    "DegradationConfig",
    "DiscriminatorConfig",
    "ExtraLossesConfig",
    "GANAugmentationConfig",
    "GANExtraLossesConfig",
    "GeneratorConfig",
    "Hyperparameters",
    "PerceptualLossConfig",
    "PretrainingConfig",
    "RoundConfig",
    "SecondRoundConfig",
    "TrainingConfig",
    "WatchConfig",
    "json_schema",
    "load_config",
    "parse_config",
    "to_overrides",
]
