"""The sections of the two stages: what they learn from, for how long, and how fast."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from torch_sr.aliases import StageName
from torch_sr.config.values import (
    Betas,
    Count,
    CountOrNone,
    CountOrZero,
    Crop,
    Datasets,
    DatasetsOrNone,
    Decay,
    Factor,
    Milestones,
    NotNegative,
    Positive,
    PositiveOrNone,
    Probability,
    Section,
    must_be,
)

PSNR_STAGE: Final = "pretraining"
"""The name of the first stage, which is that of its section."""
GAN_STAGE: Final = "training"
"""The name of the second stage, likewise."""
STAGES: tuple[StageName, ...] = (PSNR_STAGE, GAN_STAGE)
"""The names of all stages, in their order."""


def _read_old_name(value: object) -> object:
    """Earlier files have another name for the same transforms."""
    return "flip_or_transpose" if value == "described" else value


Spatial = Annotated[
    Literal["flip_or_transpose", "dihedral", "none"], BeforeValidator(_read_old_name)
]


class AugmentationConfig(Section):
    """Random changes of the crops of the first stage. Not in enhanced-srgan's table."""

    spatial: Spatial = "flip_or_transpose"
    """How both crops are turned. 'flip_or_transpose': half of the crops stay as they are; of the
    others, three quarters are transposed, and a quarter is flipped: rows, columns or both.
    'dihedral': each of the eight flips and rotations is equally likely. Whole images are never
    turned."""
    compression: Probability = 0.25
    """Probability of a JPEG compression of the low-resolution crop."""
    coarse_dropout: Probability = 0.25
    """Probability that small squares of the low-resolution crop are blanked."""
    pipeline: Annotated[str | None, must_be("the path of a JSON or YAML file, or null")] = None
    """File written by albumentations.save, as JSON or YAML: custom transforms of the low-resolution
    crop, applied after those above. They must not change its shape or move its pixels."""


class GANAugmentationConfig(AugmentationConfig):
    """Random changes of the crops of the second stage. Not in enhanced-srgan's table."""

    compression: Probability = 0.0
    """Probability of a JPEG compression of the low-resolution crop."""
    coarse_dropout: Probability = 0.0
    """Probability that small squares of the low-resolution crop are blanked."""


class ExtraLossesConfig(Section):
    """Weights of the losses added to those of the stage; 0 for none."""

    ms_ssim: NotNegative = 0.0
    """1 - MS-SSIM, the structural similarity at several scales (Wang et al. 2003)."""
    focal_frequency: NotNegative = 0.0
    """Focal frequency loss, the distance of spectra (Jiang et al. 2021)."""


class PSNRExtraLossesConfig(ExtraLossesConfig):
    """Weights of losses besides the content loss; 0 for none. Not in enhanced-srgan's table."""

    perceptual: NotNegative = 0.0
    """The distance of features, configured in the section perceptual_loss. It gives sharper results
    without a discriminator, at the cost of PSNR."""


class GANExtraLossesConfig(ExtraLossesConfig):
    """Weights of losses besides those of the paper; 0 for none. Not in enhanced-srgan's table."""

    ldl: NotNegative = 0.0
    """Locally discriminative learning: pixels that are likely to be artifacts count more (Liang et
    al. 2022). Needs ema_decay, because it compares with the result of the averaged weights."""


# The fields of a section come in the order of the classes from the last base to the first. Files
# are written in that order: the length of a stage, its learning rates, then what both share.


class _LengthConfig(Section):
    num_epoch: CountOrZero
    """Epochs, passes over the training data; 0 leaves the stage out."""
    cr_patch_size: Crop = (128, 128)
    """Height and width of the crops from high-resolution images, in pixels, multiples of
    scale_factor. null takes whole images, for which batch_size must be 1."""


class _PSNRRatesConfig(_LengthConfig):
    lr: Positive = 2e-4
    """Learning rate of the optimizer."""
    sched_step: Count = 200000
    """Mini-batches between two decays of the learning rate."""
    sched_gamma: Factor = 0.5
    """Factor by which each decay multiplies the learning rate."""
    scheduler: Literal["step", "cosine"] = "step"
    """How the learning rate falls: 'step' multiplies it by sched_gamma every sched_step
    mini-batches; 'cosine' lets it fall smoothly to 0 over the whole stage."""


class _GANRatesConfig(_LengthConfig):
    g_lr: Positive = 1e-4
    """Learning rate of the generator's optimizer."""
    d_lr: Positive = 1e-4
    """Learning rate of the discriminator's optimizer."""
    g_sched_steps: Milestones = (50000, 100000, 200000, 300000)
    """Mini-batches, counted in this stage, at which the generator's learning rate decays."""
    g_sched_gamma: Factor = 0.5
    """Factor by which each decay multiplies the generator's learning rate."""
    d_sched_steps: Milestones = (50000, 100000, 200000, 300000)
    """Mini-batches, counted in this stage, at which the discriminator's learning rate decays."""
    d_sched_gamma: Factor = 0.5
    """Factor by which each decay multiplies the discriminator's learning rate."""
    g_adversarial_loss_scaling: NotNegative = 0.005
    """Weight of the adversarial loss in the generator's total loss."""
    g_content_loss_scaling: NotNegative = 0.01
    """Weight of the content loss in the generator's total loss."""


class _StageConfig(Section):
    train_datasets: Datasets = ("div2k",)
    """Data sets to learn from: 'div2k', 'bsds500', 'set5', 'set14', a folder below the data root
    or an absolute path; ':split' or ':split+split' after a name chooses parts of it."""
    val_datasets: DatasetsOrNone = ("div2k",)
    """Data sets to validate on, written like train_datasets; an empty list trains without
    validation and stores no best model. If this key is not set and train_datasets names folders,
    about a tenth of their images is set aside for validation."""
    betas: Betas = (0.9, 0.99)
    """Decay rates of the two running averages of each optimizer."""
    num_steps: CountOrNone = None
    """Mini-batches after which the stage ends, unless num_epoch ends it before; null for no
    limit."""
    warmup_steps: CountOrZero = 0
    """Mini-batches at the start of the stage over which the learning rates rise linearly."""
    ema_decay: Decay = 0.999
    """Decay, per mini-batch, of the running average of the generator's weights; 0 switches the
    average off."""
    gradient_clip: PositiveOrNone = None
    """Largest norm of a network's gradient; larger gradients are scaled down to it. null for no
    limit."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """'adam' adds weight_decay times the weights to the gradient (L2 regularization); 'adamw'
    shrinks the weights themselves (Loshchilov and Hutter 2019). With weight_decay 0 both do the
    same."""
    weight_decay: NotNegative = 0.0
    """Strength of the weight decay of the networks; 0 for none."""


class PretrainingConfig(_StageConfig, _PSNRRatesConfig):
    """The first stage: the generator alone learns from the content loss (PSNR-driven).

    Not in enhanced-srgan's table: scheduler, and all keys from betas on.
    """

    num_epoch: CountOrZero = 10000
    """Epochs, passes over the training data; 0 leaves the stage out."""
    extra_losses: PSNRExtraLossesConfig = Field(default_factory=PSNRExtraLossesConfig)
    """Losses added to those of the stage."""
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig)
    """Random changes of the crops of this stage."""

    @property
    def generator_lr(self) -> float:
        """The learning rate of the generator's optimizer; all stages have it."""
        return self.lr


class TrainingConfig(_StageConfig, _GANRatesConfig):
    """The second stage: the generator against the discriminator (GAN-driven).

    Not in enhanced-srgan's table: all keys from betas on.
    """

    num_epoch: CountOrZero = 8000
    """Epochs, passes over the training data; 0 leaves the stage out."""
    extra_losses: GANExtraLossesConfig = Field(default_factory=GANExtraLossesConfig)
    """Losses added to those of the stage."""
    augmentation: GANAugmentationConfig = Field(default_factory=GANAugmentationConfig)
    """Random changes of the crops of this stage."""

    @property
    def generator_lr(self) -> float:
        """The learning rate of the generator's optimizer; all stages have it."""
        return self.g_lr
