"""Network interpolation (ESRGAN, section 3.4): a way between fidelity and texture.

Every parameter of the result lies on the line between those of a PSNR-driven network and those of
a GAN-driven network that was trained from it: ``(1 - alpha) * psnr + alpha * esrgan``. A soup is
the same with more than two networks (Wortsman et al. 2022, "Model soups"). Where a file holds the
average of its weights beside the weights in training, the average is taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from torch_sr.errors import ModelError
from torch_sr.models.files.records import common_licence, weights_sha256
from torch_sr.models.files.writing import check_target, save_generator
from torch_sr.models.inspection import stored_state
from torch_sr.models.loading import GeneratorInfo, LoadedGenerator, load_generator
from torch_sr.models.zoo import find_model, with_records
from torch_sr.networks.rrdb import RRDBNet

Model: TypeAlias = str | Path | RRDBNet
"""A network, or the name or file of one."""

_MOST_STEPS = 1000
_SUM_TOLERANCE = 1e-6


def interpolate(psnr: Model, esrgan: Model, alpha: float) -> RRDBNet:
    """Interpolate two networks, in float32 for every stored type.

    Args:
        psnr: the network at ``alpha`` 0.
        esrgan: the network at ``alpha`` 1.
        alpha: share of the second, in [0, 1].

    Raises:
        ModelError: ``alpha`` out of range, a file that cannot be read, or networks that differ.

    >>> import torch_sr
    >>> torch_sr.interpolate("compact-x4", "compact-x4", 0.5).scale_factor
    4
    """
    _check_alpha(alpha)
    return mix_networks([psnr, esrgan], [1.0 - alpha, alpha])


def load_network(model: Model) -> RRDBNet:
    """The network of a name or a file, or itself.

    Raises:
        ModelError: a file that cannot be read, or holds another architecture.
        DownloadError: one that cannot be fetched.
    """
    if isinstance(model, RRDBNet):
        return model
    return require_rrdbnet(load_generator(find_model(model)))


def mix_networks(models: Sequence[Model], weights: Sequence[float]) -> RRDBNet:
    """Mix several networks alike, each with a weight; the weights add up to 1.

    Raises:
        ModelError: weights that do not, a file that cannot be read, or networks that differ.
    """
    check_weights(len(models), weights)
    networks = [load_network(model) for model in models]
    with torch.device("meta"):  # no memory yet, and no random numbers drawn
        mixed = RRDBNet.from_config(networks[0].config)
    names = [_name_of(model) for model in models]
    for name, network in zip(names[1:], networks[1:], strict=True):
        _check_alike(names[0], networks[0], name, network)
    states = [network.state_dict() for network in networks]
    mixed.load_state_dict(mix_states(states, weights), assign=True)
    return mixed.eval()


def mix_states(
    states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]
) -> dict[str, Tensor]:
    """The weighted sum of state dicts of the same names and shapes, in float32.

    Raises:
        ModelError: names or shapes that differ.

    >>> import torch
    >>> mix_states([{"w": torch.zeros(2)}, {"w": torch.ones(2)}], [0.75, 0.25])["w"]
    tensor([0.2500, 0.2500])
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


@dataclass(frozen=True)
class Parent:
    """A model read to be mixed, with what is recorded of it.

    Args:
        name: as it is recorded.
        network: its weights.
        info: what loading found.
        weights_sha256: of the parameters as they are stored.
    """

    name: str
    network: RRDBNet
    info: GeneratorInfo
    weights_sha256: str


def read_parents(
    models: Sequence[str | Path], names: Sequence[str | None] | None = None
) -> list[Parent]:
    """Read models once, so that mixtures may be written over their files.

    Args:
        models: weights files or names of models.
        names: what to record of each; None takes the name that the file gives itself.

    Raises:
        ModelError: a file that cannot be read, or networks that differ in architecture.
        DownloadError: one that cannot be fetched.
    """
    parents = []
    for model, name in zip(models, names or [None] * len(models), strict=True):
        loaded = with_records(load_generator(find_model(model)))
        digest = weights_sha256(stored_state(loaded.info.path))
        network = require_rrdbnet(loaded)
        parents.append(Parent(name or loaded.info.name, network, loaded.info, digest))
    for model, parent in zip(models, parents, strict=True):
        _check_alike(str(models[0]), parents[0].network, str(model), parent.network)
    return parents


def write_mixture(
    models: Sequence[str | Path] | Sequence[Parent],
    weights: Sequence[float],
    out_path: str | Path,
    *,
    alpha: float | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Mix models and write the result with a record of its parents.

    Args:
        models: weights files, names of models, or what :func:`read_parents` gave.
        weights: as for :func:`mix_networks`.
        out_path: ends in ``.safetensors``, ``.pth`` or ``.pt``; it may be a parent's file.
        alpha: recorded, where the two models are the ends of an interpolation.
        dtype: type to store; float32 by default.

    Raises:
        ModelError: a file that cannot be read or written, or networks that differ.
    """
    check_weights(len(models), weights)
    check_target(out_path)
    parents = [model if isinstance(model, Parent) else read_parents([model])[0] for model in models]
    network = mix_networks([parent.network for parent in parents], weights)
    metadata: dict[str, Any] = {
        "parents": [
            {"name": parent.name, "weight": weight, "weights_sha256": parent.weights_sha256}
            for parent, weight in zip(parents, weights, strict=True)
        ],
        "licence": common_licence(parent.info.metadata.get("licence") for parent in parents),
    }
    datasets = [p.info.metadata["dataset"] for p in parents if "dataset" in p.info.metadata]
    if datasets:
        metadata["dataset"] = "; ".join(dict.fromkeys(datasets))
    if alpha is not None:
        metadata["alpha"] = alpha
    save_generator(out_path, network, stage="interpolation", metadata=metadata, dtype=dtype)


def interpolate_files(
    psnr_path: str | Path, esrgan_path: str | Path, alpha: float, out_path: str | Path
) -> None:
    """Interpolate two weights files of any layouts into a third; see :func:`write_mixture`.

    Raises:
        ModelError: a file that cannot be read or written, or networks that differ.
    """
    _check_alpha(alpha)
    write_mixture([psnr_path, esrgan_path], [1.0 - alpha, alpha], out_path, alpha=alpha)


def parse_alphas(text: str, name: str = "alpha") -> list[float]:
    """One alpha, or a sweep ``first:last:step`` that holds both ends.

    Args:
        text: as a person writes it.
        name: what errors call it.

    Raises:
        ModelError: no such numbers, or some beyond [0, 1].

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
            if not 1 <= count <= _MOST_STEPS or abs(first + count * step - last) > 1e-6:
                raise ValueError
            alphas = [round(first + i * step, 9) for i in range(count + 1)]
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ModelError(
            f"{name} is {text!r}; write a number from 0 to 1, or first:last:step such as 0:1:0.1"
        ) from None
    for alpha in alphas:
        _check_alpha(alpha, name)
    return alphas


def format_alphas(alphas: Sequence[float]) -> list[str]:
    """Alphas as text, with as many digits as keep them apart, six at least.

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


def _check_alpha(alpha: float, name: str = "alpha") -> None:
    if not 0.0 <= alpha <= 1.0:  # NaN fails too
        raise ModelError(f"{name} is {alpha}; it must be between 0 and 1")


def check_weights(count: int, weights: Sequence[float]) -> None:
    """Refuse weights that do not fit a number of models.

    Raises:
        ModelError: other than one for each of two models or more, outside [0, 1], or of a sum
            other than 1.
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


def _check_alike(name: str, network: RRDBNet, other_name: str, other: RRDBNet) -> None:
    others = other.config.to_dict()
    for key, value in network.config.to_dict().items():
        if others[key] != value:
            raise ModelError(
                f"{key} is {value} in {name} and {others[key]} in {other_name}; "
                "only identical architectures can be interpolated"
            )


def _weighted_sum(values: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Exact where one weight is 1: what has the weight 0 is left out."""
    used = [(v.float(), w) for v, w in zip(values, weights, strict=True) if w]
    total = used[0][0] * used[0][1]
    for value, weight in used[1:]:
        total = total + value * weight
    return total


def require_rrdbnet(loaded: LoadedGenerator) -> RRDBNet:
    """The network of a model that can be interpolated.

    Raises:
        ModelError: it is of another architecture.
    """
    if not isinstance(loaded.network, RRDBNet):
        raise ModelError(
            f"{loaded.info.path} is a {loaded.info.architecture}; only RRDBNet is interpolated"
        )
    return loaded.network


def _name_of(model: Model) -> str:
    return "one network" if isinstance(model, RRDBNet) else str(model)


def _list(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:g}" for weight in weights)
