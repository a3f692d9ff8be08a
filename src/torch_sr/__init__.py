"""torch-sr: train, test and use ESRGAN super-resolution networks.

Every public name is below. Except for the errors, they are imported when they are first used,
because importing PyTorch takes a second and ``torch-sr --help`` should not need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch_sr import errors
from torch_sr._version import __version__
from torch_sr.errors import *  # noqa: F403 - all of them, by its __all__

if TYPE_CHECKING:
    from torch_sr.client import Client as Client
    from torch_sr.client import RemoteJob as RemoteJob
    from torch_sr.config import DegradationConfig as DegradationConfig
    from torch_sr.config import Hyperparameters as Hyperparameters
    from torch_sr.config import load_config as load_config
    from torch_sr.config.importing.conversion import ImportedOptions as ImportedOptions
    from torch_sr.config.importing.conversion import import_options as import_options
    from torch_sr.data.degradation.writing import NoiseAndJPEG as NoiseAndJPEG
    from torch_sr.data.degradation.writing import degrade_set as degrade_set
    from torch_sr.data.photos.selection import ChosenImages as ChosenImages
    from torch_sr.data.photos.selection import choose_images as choose_images
    from torch_sr.evaluation.compare import Comparison as Comparison
    from torch_sr.evaluation.compare import ImageScore as ImageScore
    from torch_sr.evaluation.evaluate import Evaluation as Evaluation
    from torch_sr.evaluation.evaluate import evaluate as evaluate
    from torch_sr.evaluation.method import Method as Method
    from torch_sr.exporting.export import ExportedModel as ExportedModel
    from torch_sr.exporting.export import export as export
    from torch_sr.images import Header as Header
    from torch_sr.images import Image as Image
    from torch_sr.images import Metadata as Metadata
    from torch_sr.images import ValueRange as ValueRange
    from torch_sr.images import WriteOptions as WriteOptions
    from torch_sr.inference.engines import Engine as Engine
    from torch_sr.inference.upscaler import Upscaler as Upscaler
    from torch_sr.metrics import psnr as psnr
    from torch_sr.metrics import ssim as ssim
    from torch_sr.models.conversion import convert as convert
    from torch_sr.models.info import ModelInfo as ModelInfo
    from torch_sr.models.interpolation import interpolate as interpolate
    from torch_sr.models.loading import load as load
    from torch_sr.models.model import Model as Model
    from torch_sr.models.network_weights import NetworkWeights as NetworkWeights
    from torch_sr.models.onnx.network import OnnxNetwork as OnnxNetwork
    from torch_sr.networks.configs import CompactConfig as CompactConfig
    from torch_sr.networks.configs import RRDBConfig as RRDBConfig
    from torch_sr.networks.rrdb import RRDBNet as RRDBNet
    from torch_sr.training.loggers.base import Logger as Logger
    from torch_sr.training.run import train as train
    from torch_sr.training.runs.result import Scores as Scores
    from torch_sr.training.runs.result import StageResult as StageResult
    from torch_sr.training.runs.result import TrainingResult as TrainingResult
    from torch_sr.training.runs.starting_point import StartingPoint as StartingPoint
    from torch_sr.training.settings import Every as Every
    from torch_sr.training.settings import Intervals as Intervals
    from torch_sr.training.settings import RunSettings as RunSettings

_MODULES = {
    "client": ("Client", "RemoteJob"),
    "config": ("DegradationConfig", "Hyperparameters", "load_config"),
    "config.importing.conversion": ("ImportedOptions", "import_options"),
    "data.degradation.writing": ("NoiseAndJPEG", "degrade_set"),
    "data.photos.selection": ("ChosenImages", "choose_images"),
    "evaluation.compare": ("Comparison", "ImageScore"),
    "evaluation.evaluate": ("Evaluation", "evaluate"),
    "evaluation.method": ("Method",),
    "exporting.export": ("ExportedModel", "export"),
    "images": ("Header", "Image", "Metadata", "ValueRange", "WriteOptions"),
    "inference.engines": ("Engine",),
    "inference.upscaler": ("Upscaler",),
    "metrics": ("psnr", "ssim"),
    "models.conversion": ("convert",),
    "models.info": ("ModelInfo",),
    "models.interpolation": ("interpolate",),
    "models.loading": ("load",),
    "models.model": ("Model",),
    "models.network_weights": ("NetworkWeights",),
    "models.onnx.network": ("OnnxNetwork",),
    "networks.configs": ("CompactConfig", "RRDBConfig"),
    "networks.rrdb": ("RRDBNet",),
    "training.loggers.base": ("Logger",),
    "training.run": ("train",),
    "training.runs.result": ("Scores", "StageResult", "TrainingResult"),
    "training.runs.starting_point": ("StartingPoint",),
    "training.settings": ("Every", "Intervals", "RunSettings"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = ["__version__", *errors.__all__, *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"torch_sr.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # so that the next use does not call this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
