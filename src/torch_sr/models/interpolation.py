"""Network interpolation (ESRGAN, section 3.4): several models -> one.

Every parameter of the result is on the line between those of a PSNR-driven network and those of
a GAN-driven network that was trained from it: ``(1 - alpha) * psnr + alpha * esrgan``. A soup is
the same with more than two networks (Wortsman et al. 2022, "Model soups"). If a file also has the
average of its weights in training, the average is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import ModelError
from torch_sr.models.files.records import common_license
from torch_sr.models.info import ModelInfo
from torch_sr.models.model import Model, ModelLike
from torch_sr.models.network_weights import NetworkWeights, is_rrdbnet, to_numpy
from torch_sr.models.zoo import open_model
from torch_sr.networks.configs import RRDBConfig

_MAX_STEPS = 1000
_SUM_TOLERANCE = 1e-6


def interpolate(psnr: ModelLike, esrgan: ModelLike, alpha: float) -> Model:
    """Interpolate two networks, in float32 for every stored type.

    Args:
        psnr: the network at ``alpha`` 0: a name, a file, a model or an :class:`RRDBNet`.
        esrgan: the network at ``alpha`` 1.
        alpha: weight of the second, in [0, 1].

    Returns:
        a new model, exact at both ends; its records are the parents with their hashes and weights,
        ``alpha``, and the licenses and data sets of both.

    Raises:
        ModelError: ``alpha`` out of range, a file that cannot be read, or networks that differ.
        DownloadError: a model cannot be downloaded.

    >>> import torch_sr
    >>> model = torch_sr.interpolate("compact-x4", "compact-x4-real", 0.5)
    >>> model.scale_factor, model.info.metadata["alpha"]
    (4, '0.5')
    """
    check_alpha(alpha)
    return mix([psnr, esrgan], [1.0 - alpha, alpha], alpha=alpha)


def open_parents(
    models: Sequence[ModelLike], names: Sequence[str | None] | None = None
) -> list[Model]:
    """Load the models to be mixed, each once.

    Args:
        models: names, files, models or bare networks.
        names: the name of each that a mixture records; None keeps the name of the model.

    Raises:
        ModelError: a file that cannot be read, another architecture than RRDBNet, or networks that
            differ in their sizes.
        DownloadError: a model cannot be downloaded.
    """
    given = names or [None] * len(models)
    parents = [
        _open_parent(model, name, number)
        for number, (model, name) in enumerate(zip(models, given, strict=True), start=1)
    ]
    shown = [
        str(model) if isinstance(model, (str, Path)) else parent.info.origin
        for model, parent in zip(models, parents, strict=True)
    ]
    for name, parent in zip(shown, parents, strict=True):
        _check_alike(shown[0], _config_of(parents[0]), name, _config_of(parent))
    return parents


def mix(
    models: Sequence[ModelLike],
    weights: Sequence[float],
    *,
    names: Sequence[str | None] | None = None,
    alpha: float | None = None,
) -> Model:
    """Mix several networks of the same sizes, each with a weight; the weights add up to 1.

    Args:
        models, names: see :func:`open_parents`.
        weights: one in [0, 1] for each.
        alpha: recorded, if the two models are the ends of an interpolation.

    Returns:
        a new model with a record of its parents.

    Raises:
        ModelError: weights that do not add up, a file that cannot be read, or networks that differ.
        DownloadError: a model cannot be downloaded.
    """
    check_weights(len(models), weights)
    parents = open_parents(models, names)
    mixed = mix_states([_parameters_of(parent) for parent in parents], weights)
    config = _config_of(parents[0])
    info = ModelInfo(
        name=" + ".join(parent.info.name for parent in parents),
        architecture="RRDBNet",
        scale_factor=config.scale_factor,
        img_channels=config.img_channels,
        config=config,
        num_parameters=sum(value.size for value in mixed.values()),
        dtype="float32",
        stage="interpolation",
        metadata=_describe_mixture(parents, weights, alpha),
        tensor_types={"float32": len(mixed)},
    )
    return Model(NetworkWeights(config, mixed), info)


def _open_parent(model: ModelLike, name: str | None, number: int) -> Model:
    if is_rrdbnet(model):
        return Model.from_network(model, name=name or f"model {number}")
    opened = open_model(model) if isinstance(model, (str, Path)) else model
    assert isinstance(opened, Model)
    opened.require_weights("mix")
    return opened if name is None else opened.with_info(replace(opened.info, name=name))


def _describe_mixture(
    parents: Sequence[Model], weights: Sequence[float], alpha: float | None
) -> dict[str, str]:
    """The records of a mixture, as text."""
    found = [
        {"name": parent.info.name, "weight": weight, "weights_sha256": parent.weights_sha256}
        for parent, weight in zip(parents, weights, strict=True)
    ]
    metadata = {
        "parents": json.dumps(found),
        "license": common_license(parent.info.metadata.get("license") for parent in parents),
    }
    datasets = [p.info.metadata["dataset"] for p in parents if "dataset" in p.info.metadata]
    if datasets:
        metadata["dataset"] = "; ".join(dict.fromkeys(datasets))
    if alpha is not None:
        metadata["alpha"] = json.dumps(alpha)
    return metadata


def mix_states(
    states: Sequence[Mapping[str, Floats]], weights: Sequence[float]
) -> dict[str, Floats]:
    """The weighted sum of parameters of the same names and shapes, in float32.

    Raises:
        ModelError: names or shapes that differ.

    >>> mix_states([{"w": np.zeros(2)}, {"w": np.ones(2)}], [0.75, 0.25])["w"]
    array([0.25, 0.25], dtype=float32)
    """
    first, *others = states
    for other in others:
        for key in first.keys() ^ other.keys():
            raise ModelError(f"only one of the networks has {key}; they must be alike")
        for key, value in first.items():
            if value.shape != other[key].shape:
                raise ModelError(
                    f"{key} has the shape {tuple(value.shape)} in one network and "
                    f"{tuple(other[key].shape)} in another; they must be alike"
                )
    return {key: _weighted_sum([s[key] for s in states], weights) for key in first}


def parse_alphas(text: str, name: str = "alpha") -> list[float]:
    """One alpha, or a sweep ``first:last:step`` that includes both ends.

    Args:
        text: as a user writes it.
        name: its name in errors.

    Raises:
        ModelError: not such numbers, or some outside [0, 1].

    >>> parse_alphas("0.8"), parse_alphas("0:1:0.25")
    ([0.8], [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    try:
        first, *others = (float(part) for part in text.split(":"))
        if not others:
            alphas = [first]
        else:
            last, step = others
            count = round((last - first) / step)
            if not 1 <= count <= _MAX_STEPS or abs(first + count * step - last) > 1e-6:
                raise ValueError
            alphas = [round(first + i * step, 9) for i in range(count + 1)]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ModelError(
            f"{name} is {text!r}; write a number from 0 to 1, or first:last:step such as 0:1:0.1"
        ) from None
    for alpha in alphas:
        check_alpha(alpha, name)
    return alphas


def format_alphas(alphas: Sequence[float]) -> list[str]:
    """Alphas as text, with enough digits to distinguish them, at least six.

    >>> format_alphas([0.0, 0.25, 1 / 3]), format_alphas([0.5, 0.50000001])
    (['0', '0.25', '0.333333'], ['0.5', '0.50000001'])
    """
    texts = [f"{alpha:.6g}" for alpha in alphas]
    digits = 6
    while len(set(texts)) < len(set(alphas)) and digits < 17:
        digits += 1
        texts = [f"{alpha:.{digits}g}" for alpha in alphas]
    return texts


def sweep_paths(out_path: Path, alphas: Sequence[float]) -> list[Path]:
    """Where the networks of a sweep go: ``model.pth`` becomes ``model_0.25.pth``."""
    return [
        out_path.with_name(f"{out_path.stem}_{text}{out_path.suffix}")
        for text in format_alphas(alphas)
    ]


def check_alpha(alpha: float, name: str = "alpha") -> None:
    """Refuse an alpha outside [0, 1].

    Raises:
        ModelError: it is.
    """
    if not 0.0 <= alpha <= 1.0:  # NaN fails too
        raise ModelError(f"{name} is {alpha}; it must be between 0 and 1")


def check_weights(count: int, weights: Sequence[float]) -> None:
    """Refuse weights that do not fit a number of models.

    Raises:
        ModelError: fewer than two models, a different number of weights, weights outside [0, 1],
            or a sum other than 1.
    """
    if count < 2 or count != len(weights):
        raise ModelError(
            f"name two models or more, and a weight for each: there are {count} models and "
            f"{len(weights)} weights"
        )
    if not all(0.0 <= weight <= 1.0 for weight in weights):
        raise ModelError(f"weights are {_list(weights)}; each must be between 0 and 1")
    if not math.isclose(sum(weights), 1.0, abs_tol=_SUM_TOLERANCE):
        raise ModelError(
            f"weights {_list(weights)} add up to {sum(weights):.6g}; they must sum to 1"
        )


def _check_alike(name: str, config: RRDBConfig, other_name: str, other: RRDBConfig) -> None:
    others = other.to_dict()
    for key, value in config.to_dict().items():
        if others[key] != value:
            raise ModelError(
                f"{key} is {value} in {name} and {others[key]} in {other_name}; "
                "only identical architectures can be interpolated"
            )


def _weighted_sum(values: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Exact if one weight is 1: terms with weight 0 are left out."""
    used = [
        (value.astype(np.float32, copy=False), np.float32(weight))
        for value, weight in zip(values, weights, strict=True)
        if weight
    ]
    total: Floats = used[0][0] * used[0][1]
    for value, weight in used[1:]:
        total = total + value * weight
    return total


def _config_of(model: Model) -> RRDBConfig:
    """The hyper-parameters of a model that can be interpolated.

    Raises:
        ModelError: it is of another architecture.
    """
    if model.info.config is None:
        raise ModelError(
            f"{model.info.origin} is a {model.info.architecture}; only RRDBNet is interpolated"
        )
    return model.info.config


def _parameters_of(model: Model) -> Mapping[str, Floats]:
    """The parameters in float32, also of a network in another type."""
    weights = model.weights
    return to_numpy(model.network.state_dict()) if weights is None else weights.parameters


def _list(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
