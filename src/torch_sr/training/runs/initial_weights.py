"""Initialize a generator with the weights of a model, all or those that fit."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from torch_sr.config import to_overrides
from torch_sr.errors import CheckpointError, ModelError
from torch_sr.models.files.hparams import TOP_LEVEL, nest_hparams
from torch_sr.models.model import Model
from torch_sr.models.weights import SHIPPED, shipped_path
from torch_sr.models.zoo import name_of, open_model
from torch_sr.networks.configs import RRDBConfig
from torch_sr.networks.rrdb import RRDBNet


def like_overrides(name_or_path: str | Path) -> list[str]:
    """The generator's sizes in a model, as overrides of a configuration.

    Args:
        name_or_path: see :func:`~torch_sr.models.zoo.find_model`.

    Returns:
        ``scale_factor=4``, ``generator.num_basic_blocks=23`` and so on, for all sizes.

    Raises:
        ModelError: the model cannot be read, or its architecture cannot be trained.
        DownloadError: it cannot be downloaded.
    """
    loaded = open_model(name_or_path)
    loaded.require_weights("train")
    if not isinstance(loaded.network, RRDBNet):
        raise ModelError(
            f"{name_or_path}: choose an RRDBNet (ESRGAN) model, the only architecture that can be "
            f"trained; this is a {loaded.info.architecture}"
        )
    network = loaded.network
    nested = nest_hparams(network.config)
    nested["generator"]["pixel_unshuffle"] = network.pixel_unshuffle
    return to_overrides(nested)


def find_differences(model: RRDBConfig, config: RRDBConfig) -> dict[str, tuple[Any, Any]]:
    """The sizes in which a model differs from a configuration.

    Args:
        model, config: the hyper-parameters of both.

    Returns:
        both values, by the key of the configuration; differences without an effect on the network
        are left out.
    """
    ignored = set()
    if model.num_residual_blocks == config.num_residual_blocks == 1:
        ignored.add("growth_channels")
    if model.enlargement == config.enlargement == 1:
        ignored.add("use_subpixel_conv")
    wanted = config.to_dict()
    return {
        key if key in TOP_LEVEL else f"generator.{key}": (value, wanted[key])
        for key, value in model.to_dict().items()
        if key not in ignored and value != wanted[key]
    }


def check_fit(model: Model, config: RRDBConfig, *, partial: bool = False) -> None:
    """Refuse a model from which a training cannot start.

    Args:
        model: the model to start from.
        config: the hyper-parameters of the training.
        partial: whether other sizes are allowed.

    Raises:
        CheckpointError: it has other sizes or another architecture.
    """
    name = model_label(model)
    if not isinstance(model.network, RRDBNet):
        raise CheckpointError(
            f"{name}: start from an RRDBNet (ESRGAN) model, the only architecture that can be "
            f"trained; this is a {model.info.architecture}"
        )
    differences = find_differences(model.network.config, config)
    if differences and not partial:
        changes = (f"{key}={json.dumps(there)}" for key, (there, _) in differences.items())
        fixes = " ".join(f"--set {change}" for change in changes)
        raise CheckpointError(
            f"{name}: add --like {shlex.quote(name)}, or {fixes}, or --partial to take what fits; "
            f"the model has {_list_sizes(differences)}"
        )


def take_what_fits(network: RRDBNet, model: Model) -> list[str]:
    """Copy the parameters that have the same name and shape in a model.

    Returns:
        lines of text: how many were copied, the sizes that differ, which parameters of the model
        were not copied, and which ones of the network keep their initial values.

    Raises:
        CheckpointError: no convolution fits.
    """
    assert isinstance(model.network, RRDBNet)  # checked by check_fit
    stored, wanted = model.network.state_dict(), network.state_dict()
    name = model_label(model)
    fitting = {
        key: value
        for key, value in stored.items()
        if key in wanted and value.shape == wanted[key].shape
    }
    if not any(value.dim() > 1 for value in fitting.values()):
        raise CheckpointError(
            f"{name}: no weights fit the configuration; take the sizes with "
            f"--like {shlex.quote(name)} in place of --partial"
        )
    network.load_state_dict(fitting, strict=False)
    differences = find_differences(model.network.config, network.config)
    return [
        f"took {len(fitting)} of {len(wanted)} tensors from {name}",
        *([f"the model has {_list_sizes(differences)}"] if differences else []),
        *_describe("not taken from the model", stored, fitting, wanted),
        *_describe("not in the model, randomly initialized", wanted, fitting, stored),
    ]


def _list_sizes(differences: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(
        f"{key} {json.dumps(there)} (here {json.dumps(here)})"
        for key, (there, here) in differences.items()
    )


def model_label(model: Path | Model) -> str:
    """The name of a model, or its path if it has none."""
    if isinstance(model, Model):
        if model.info.path is None:
            return model.info.name
        model = model.info.path
    shipped = (name for name in SHIPPED if shipped_path(name) == model)
    return next(shipped, None) or name_of(model) or str(model)


def _describe(
    subject: str,
    tensors: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
) -> Iterator[str]:
    """One line that lists the tensors that do not fit, grouped by the blocks of the trunk."""
    left: dict[str, int] = {}
    for key, value in tensors.items():
        if key in fitting:
            continue
        name = key
        if key.startswith("body."):
            name = ".".join(key.split(".")[:2])
        elif key in others:
            name = f"{key} {tuple(value.shape)} instead of {tuple(others[key].shape)}"
        left[name] = left.get(name, 0) + 1
    if left:
        named = (f"{name} ({count} tensors)" if count > 1 else name for name, count in left.items())
        yield f"{subject}: {', '.join(named)}"
