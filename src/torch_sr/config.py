"""Hyper-parameters of a training, as typed and validated models: the sections of its JSON.

The models below are the only schema. Names and defaults are those of the description's table of
hyper-parameters; keys beyond that table say so. What is left out of a file has its default; what
is unknown, of the wrong type or impossible is refused by :class:`~torch_sr.errors.ConfigError` in
one line with the key's full path. Settings of a run (devices, folders, intervals) are not here:
they are options of the commands.

    >>> parse_config({"batch_size": 8}, overrides=["generator.num_basic_blocks=23"]).batch_size
    8

``python -m torch_sr.config > configs/schema.json`` writes the JSON Schema, by which an editor
completes and checks a file that names it in a ``"$schema"`` key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from torch_sr.errors import ConfigError

__all__ = [
    "AugmentationConfig",
    "ContentLossConfig",
    "DiscriminatorConfig",
    "GANAugmentationConfig",
    "GeneratorConfig",
    "Hyperparameters",
    "PerceptualLossConfig",
    "PretrainingConfig",
    "TrainingConfig",
    "json_schema",
    "load_config",
    "parse_config",
    "vgg_layers",
]

VGG_CONVS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""The number of convolutions in each block (Simonyan and Zisserman 2015, table 1: A, B, D, E)."""


def vgg_layers(vgg_type: str) -> list[str]:
    """Name the convolutions of a VGG network: ``conv{block}_{number}``, both from 1."""
    blocks = enumerate(VGG_CONVS[vgg_type], start=1)
    return [f"conv{block}_{n}" for block, convs in blocks for n in range(1, convs + 1)]


# --- the types of the values, each with the words that refuse another --------------------------


class _Fault(ValueError):  # noqa: N818
    """What a value must be; with the way to the value where it lies below the checked one."""

    def __init__(self, remedy: str, path: tuple[str, ...] = (), value: object = None) -> None:
        super().__init__(remedy)
        self.path = path
        self.value = value


def _must_be(words: str) -> WrapValidator:
    """Say these words in place of pydantic's; written last, it covers all that is before it."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise _Fault(f"it must be {words}") from None

    return WrapValidator(check)


def _whole(value: object) -> object:
    if type(value) is not int:  # a Literal compares: True and 1.0 would pass for 1
        raise ValueError
    return value


def _rising(steps: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise _Fault("each number must be above the one before it")
    return steps


_PAIR = Field(strict=False)  # a tuple takes a list too; its items stay strict
_LIST = Field(strict=False, min_length=1)
_DATASET = r"^([A-Za-z]:[\\/])?[^:]*[^:\s](:[^:+\s]+(\+[^:+\s]+)*)?$"

Count = Annotated[int, Field(ge=1), _must_be("a whole number, 1 or more")]
CountOrZero = Annotated[int, Field(ge=0), _must_be("a whole number, 0 or more")]
CountOrNone = Annotated[Count | None, _must_be("a whole number, 1 or more, or null")]
Seed = Annotated[int, Field(ge=0, lt=2**32), _must_be("a whole number from 0 to 4294967295")]
Positive = Annotated[float, Field(gt=0), _must_be("a number above 0")]
NotNegative = Annotated[float, Field(ge=0), _must_be("a number, 0 or more")]
Factor = Annotated[float, Field(gt=0, le=1), _must_be("a number above 0 and at most 1")]
Decay = Annotated[float, Field(ge=0, lt=1), _must_be("a number from 0 to below 1")]
Probability = Annotated[float, Field(ge=0, le=1), _must_be("a number from 0 to 1")]
Switch = Annotated[bool, _must_be("true or false")]
Scale = Annotated[Literal[1, 2, 3, 4, 8], BeforeValidator(_whole), _must_be("1, 2, 3, 4 or 8")]
Channels = Annotated[Literal[1, 3, 4], BeforeValidator(_whole), _must_be("1, 3 or 4")]
Crop = Annotated[
    Annotated[tuple[Count, Count], _PAIR] | None,
    _must_be("[height, width] in whole pixels, or null for whole images"),
]
Betas = Annotated[
    tuple[Decay, Decay], _PAIR, _must_be("[beta1, beta2], two numbers from 0 to below 1")
]
Counts = Annotated[tuple[Count, ...], _LIST]
Milestones = Annotated[tuple[Count, ...], _LIST, AfterValidator(_rising)]
Dataset = Annotated[
    str,
    Field(pattern=_DATASET),
    _must_be("a data set's name or folder, and perhaps its splits: 'set5', 'bsds500:train+test'"),
]
Datasets = Annotated[tuple[Dataset, ...], _LIST]
Weights = Annotated[dict[str, Positive], Field(min_length=1)]


# --- the sections; the text below a key is its description -------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class AugmentationConfig(_Section):
    """What is done at random to the crops of the first stage. Beyond the description's table."""

    spatial: Literal["described", "dihedral", "none"] = "described"
    """How both crops are turned. 'described': half of them are not, and one of two things is done
    to the others, a flip of rows, of columns or of both with 0.25 probability, or a transpose with
    0.75. 'dihedral': each of the eight flips and rotations is equally likely. Whole images are
    never turned."""
    compression: Probability = 0.25
    """Probability of a JPEG compression of the low-resolution crop."""
    coarse_dropout: Probability = 0.25
    """Probability that small squares of the low-resolution crop are blanked."""
    pipeline: Annotated[str | None, _must_be("the path of a JSON or YAML file, or null")] = None
    """File written by albumentations.save, JSON or, by its name, YAML: transforms of your own that
    spoil the low-resolution crop after the above and leave its shape and its pixels' places."""


class GANAugmentationConfig(AugmentationConfig):
    """What is done at random to the crops of the second stage. Beyond the description's table."""

    compression: Probability = 0.0
    """Probability of a JPEG compression of the low-resolution crop."""
    coarse_dropout: Probability = 0.0
    """Probability that small squares of the low-resolution crop are blanked."""


class PretrainingConfig(_Section):
    """The first stage: the generator alone learns from the content loss (PSNR-driven)."""

    num_epoch: CountOrZero = 10000
    """Epochs, passes over the training data; 0 leaves the stage out."""
    cr_patch_size: Crop = (128, 128)
    """Height and width of the crops from high-resolution images, in pixels, multiples of
    scale_factor. null takes whole images, for which batch_size must be 1."""
    lr: Positive = 2e-4
    """Learning rate of Adam."""
    sched_step: Count = 200000
    """Mini-batches from one decay of the learning rate to the next."""
    sched_gamma: Factor = 0.5
    """What each decay multiplies the learning rate by."""
    train_datasets: Datasets = ("div2k",)
    """Data sets to learn from: 'div2k', 'bsds500', 'set5', 'set14', a folder below the data root
    or an absolute path; ':split' or ':split+split' behind it takes parts of it."""
    val_datasets: Datasets = ("div2k",)
    """Data sets to validate on, written like train_datasets."""
    betas: Betas = (0.9, 0.99)
    """Decay rates of Adam's two running averages. Beyond the description's table."""
    num_steps: CountOrNone = None
    """Mini-batches after which the stage ends, unless num_epoch ended it before; null sets no such
    end. Beyond the description's table."""
    scheduler: Literal["step", "cosine"] = "step"
    """How the learning rate falls: 'step' by sched_step and sched_gamma; 'cosine' smoothly to 0
    over the whole stage, without those two. Beyond the description's table."""
    warmup_steps: CountOrZero = 0
    """Mini-batches over which the learning rate first rises in a straight line; 0 for none. Beyond
    the description's table."""
    ema_decay: Decay = 0.999
    """Decay, per mini-batch, of the running average of the generator's weights; 0 switches the
    average off. Beyond the description's table."""
    augmentation: AugmentationConfig = Field(default_factory=AugmentationConfig)
    """What is done at random to the crops of this stage. Beyond the description's table."""


class TrainingConfig(_Section):
    """The second stage: the generator against the discriminator (GAN-driven)."""

    num_epoch: CountOrZero = 8000
    """Epochs, passes over the training data; 0 leaves the stage out."""
    cr_patch_size: Crop = (128, 128)
    """Height and width of the crops from high-resolution images, in pixels, multiples of
    scale_factor. null takes whole images, for which batch_size must be 1."""
    g_lr: Positive = 1e-4
    """Learning rate of the generator's Adam."""
    d_lr: Positive = 1e-4
    """Learning rate of the discriminator's Adam."""
    g_sched_steps: Milestones = (50000, 100000, 200000, 300000)
    """Mini-batches, counted in this stage, at which the generator's learning rate decays."""
    g_sched_gamma: Factor = 0.5
    """What each decay multiplies the generator's learning rate by."""
    d_sched_steps: Milestones = (50000, 100000, 200000, 300000)
    """Mini-batches, counted in this stage, at which the discriminator's learning rate decays."""
    d_sched_gamma: Factor = 0.5
    """What each decay multiplies the discriminator's learning rate by."""
    g_adversarial_loss_scaling: NotNegative = 0.005
    """Weight of the adversarial loss in the generator's total loss."""
    g_content_loss_scaling: NotNegative = 0.01
    """Weight of the content loss in the generator's total loss."""
    train_datasets: Datasets = ("div2k",)
    """Data sets to learn from, written like those of the pretraining section."""
    val_datasets: Datasets = ("div2k",)
    """Data sets to validate on, written likewise."""
    betas: Betas = (0.9, 0.99)
    """Decay rates of both Adams' two running averages. Beyond the description's table."""
    num_steps: CountOrNone = None
    """Mini-batches after which the stage ends, unless num_epoch ended it before; null sets no such
    end. Beyond the description's table."""
    ema_decay: Decay = 0.999
    """Decay, per mini-batch, of the running average of the generator's weights; 0 switches the
    average off. Beyond the description's table."""
    augmentation: GANAugmentationConfig = Field(default_factory=GANAugmentationConfig)
    """What is done at random to the crops of this stage. Beyond the description's table."""


class GeneratorConfig(_Section):
    """The size of RRDBNet, by its keywords."""

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
    """What every residual is multiplied by before it is added."""
    use_subpixel_conv: Switch = False
    """Up-scale by sub-pixel convolution in place of interpolation and convolution."""


class DiscriminatorConfig(_Section):
    """Kind and size of the discriminator."""

    vgg_blk_ch: Counts = (64, 64, 128, 128, 256, 256, 512, 512)
    """Output channels of each convolution; one that repeats the channels of the convolution before
    it halves the height and width."""
    fc_features: Counts = (100,)
    """Outputs of each hidden fully connected layer."""
    kind: Literal["vgg", "unet"] = "vgg"
    """'vgg' judges whole images and has the two sizes above; 'unet' judges every pixel, under
    spectral normalisation, and has unet_channels. Beyond the description's table."""
    unet_channels: Count = 64
    """Channels of the finest level of the 'unet' kind. Beyond the description's table."""


class ContentLossConfig(_Section):
    """The distance between the pixels of two images."""

    loss_f: Literal["l1", "l2", "mse"] = "l1"
    """'l1' is the mean absolute error; 'l2' and 'mse' are the mean squared error."""


class PerceptualLossConfig(_Section):
    """The distance between the VGG features of two images, before activation."""

    layer_weights: Weights = {"conv5_4": 1.0}
    """Weight of each VGG layer, by its name: conv{block}_{convolution in the block}, from 1."""
    vgg_type: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg19"
    """The VGG network that extracts the features."""
    criterion: Literal["l1", "l2"] = "l1"
    """Distance between features: 'l1' mean absolute error, 'l2' mean squared error."""
    normalize_input: Switch = True
    """Normalise the images, which are in [0, 1], by the mean and standard deviation that the VGG
    network was trained with."""
    normalize_loss: Switch = False
    """Divide the loss by the sum of the layers' weights."""
    weights: Annotated[str | None, _must_be("the path of a weights file, or null")] = None
    """File of the VGG network's weights; null takes those of torchvision, trained on ImageNet,
    fetching them at first use. Beyond the description's table."""

    @model_validator(mode="after")
    def _check_layers(self) -> PerceptualLossConfig:
        layers = vgg_layers(self.vgg_type)
        for name, weight in self.layer_weights.items():
            if name not in layers:
                remedy = f"{self.vgg_type} has no such layer, {_suggest(name, layers)}"
                raise _Fault(remedy, ("layer_weights", name), weight)
        return self


class Hyperparameters(_Section):
    """All that defines a training and its networks.

    Built in Python the models are checked too, but raise pydantic's ValidationError.
    """

    scale_factor: Scale = 4
    """How many times higher and wider a high-resolution image is than its low-resolution one."""
    batch_size: Count = 16
    """Crops in a mini-batch."""
    img_channels: Channels = 3
    """Channels of an image: 1 for gray, 3 for RGB, 4 for RGB and alpha."""
    seed: Seed = 0
    """Where all random numbers start. Beyond the description's table."""
    pretraining: PretrainingConfig = Field(default_factory=PretrainingConfig)
    """The PSNR-driven stage."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """The GAN-driven stage."""
    generator: GeneratorConfig = Field(default_factory=GeneratorConfig)
    """The network that super-resolves, an RRDBNet."""
    discriminator: DiscriminatorConfig = Field(default_factory=DiscriminatorConfig)
    """The network that tells real images from super-resolved ones."""
    content_loss: ContentLossConfig = Field(default_factory=ContentLossConfig)
    """The loss between pixels."""
    perceptual_loss: PerceptualLossConfig = Field(default_factory=PerceptualLossConfig)
    """The loss between VGG features."""

    @model_validator(mode="after")
    def _check_crops(self) -> Hyperparameters:
        if self.pretraining.num_epoch:
            self._check_crop("pretraining", self.pretraining.cr_patch_size)
        if self.training.num_epoch:
            self._check_crop("training", self.training.cr_patch_size)
            if self.training.cr_patch_size is None and self.discriminator.kind == "vgg":
                remedy = "it must be [height, width], or discriminator.kind 'unet'"
                raise _Fault(remedy, ("training", "cr_patch_size"), None)
        return self

    def _check_crop(self, stage: str, crop: tuple[int, int] | None) -> None:
        scale = self.scale_factor
        if crop is None:
            if self.batch_size > 1:
                where = f"{stage}.cr_patch_size"
                remedy = f"it must be 1 where {where} is null, as whole images differ in size"
                raise _Fault(remedy, ("batch_size",), self.batch_size)
        elif crop[0] % scale or crop[1] % scale:
            nearest = [max(scale, (side + scale // 2) // scale * scale) for side in crop]
            remedy = f"it must be a multiple of scale_factor {scale}, the nearest is {nearest}"
            raise _Fault(remedy, (stage, "cr_patch_size"), crop)

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


# --- reading -----------------------------------------------------------------------------------


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Hyperparameters:
    """Read the JSON file of a training, in UTF-8.

    Keys left out have their defaults, and ``"$schema"`` is ignored; ``overrides`` as in
    :func:`parse_config`. What cannot be read or is wrong raises ConfigError, in one line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        data = json.loads(text, object_pairs_hook=_keep_repeated)
    except OSError as error:
        raise _refusal(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refusal(str(path), f"is not UTF-8 text: byte {error.start} is none") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _refusal(str(path), f"is not JSON: {where}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _refusal(str(path), f"is not JSON that can be read: {error}") from error
    if not isinstance(data, dict):
        raise _refusal(str(path), f"holds {_show(data)}; it must hold an object in braces")
    return parse_config(data, str(path), overrides)


def parse_config(
    data: Mapping[str, object], source: str = "configuration", overrides: Sequence[str] = ()
) -> Hyperparameters:
    """Check hyper-parameters, fill in the defaults, or raise ConfigError in one line.

    Args:
        data: the sections, as JSON has them; ``"$schema"`` is ignored, nothing is changed.
        source: what an error calls the data: the name of its file.
        overrides: changes such as ``generator.num_basic_blocks=8``, the last one winning. A value
            is JSON, or else plain text: ``pretraining.scheduler=cosine``.

    """
    changed = {key: value for key, value in data.items() if key != "$schema"}
    for override in overrides:
        _apply(changed, override)
    try:
        return Hyperparameters.model_validate(changed)
    except ValidationError as invalid:
        first, *more = invalid.errors(include_url=False)
        also = f" (and {len(more)} more)" if more else ""
        source += " with overrides" if overrides else ""
        raise _refusal(source, _explain(first) + also) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a configuration file, for editors."""
    wrapped = json.dumps(Hyperparameters.model_json_schema())
    schema = json.loads(wrapped.replace("\\n", " "))  # only the descriptions have line breaks
    pointer = {"type": "string", "description": "Where this schema is; for editors only."}
    schema["properties"] = {"$schema": pointer, **schema["properties"]}
    schema["title"] = "Hyper-parameters of torch-sr"
    schema["description"] = "All that defines a training and its networks."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _apply(data: dict[str, Any], override: str) -> None:
    """Set one value; what is on the way to it is copied, or filled from the defaults."""
    path, equals, text = override.partition("=")
    if not equals:
        raise _refusal(f"override {_show(override)}", "it must be written as key.key=value")
    try:
        value = json.loads(text, object_pairs_hook=_keep_repeated)
    except (ValueError, RecursionError):
        value = text
    *parents, last = path.strip().split(".")
    default: Any = Hyperparameters().to_dict()
    for depth, key in enumerate(parents, start=1):
        default = default.get(key, {}) if isinstance(default, dict) else {}
        inner = data.get(key, default)
        if not isinstance(inner, Mapping):
            where = _dotted(parents[:depth])
            raise _refusal(f"override {_show(override)}", f"there is nothing below {where}")
        data[key] = dict(inner)
        data = data[key]
    data[last] = value


class _Repeated:
    """The values of a key that is there more than once: of no type that a field allows."""

    def __init__(self, *values: object) -> None:
        self.values = values


def _keep_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        found[key] = _Repeated(found[key], value) if key in found else value
    return found


# --- the words of an error ---------------------------------------------------------------------

_PLAIN = {
    "model_type": "it must be an object in braces",
    "dict_type": "it must be an object in braces",
    "tuple_type": "it must be a list in brackets",
    "too_short": "it must not be empty",
    "invalid_key": "a key must be text",
}


def _refusal(source: str, text: str) -> ConfigError:
    """Build the error, on one line whatever the file's name and values hold."""
    line = f"{source}: {text}"
    return ConfigError(
        "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    )


def _explain(error: Mapping[str, Any]) -> str:
    path, value = error["loc"], error["input"]
    fault = error.get("ctx", {}).get("error")
    if isinstance(value, _Repeated):
        remedy = "a key may be there only once"
    elif error["type"] == "extra_forbidden":
        remedy = _no_such_key(path)
    elif isinstance(fault, _Fault):
        remedy = str(fault)
        if fault.path:
            path, value = (*path, *fault.path), fault.value
    else:
        remedy = _PLAIN.get(error["type"], error["msg"].replace("Input should", "it must"))
    return f"{_dotted(path)} is {_show(value)}; {remedy}"


def _no_such_key(path: Sequence[str]) -> str:
    *parents, key = path
    section: Any = Hyperparameters
    for parent in parents:
        section = section.model_fields[parent].annotation
    return f"there is no such key, {_suggest(key, list(section.model_fields))}"


def _suggest(name: str, names: Sequence[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _dotted(path: Iterable[str | int]) -> str:
    """Write a way into the data as ``training.g_sched_steps[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part if part.isidentifier() else json.dumps(part)}"
    return text.removeprefix(".")


def _show(value: object, longest: int = 60) -> str:
    """Write a value as JSON has it, cut where it is long."""
    if isinstance(value, _Repeated):
        return " and ".join(_show(each) for each in value.values)
    text = json.dumps(value, default=_show, ensure_ascii=False, skipkeys=True)
    return text if len(text) <= longest else f"{text[:longest]}…"


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
