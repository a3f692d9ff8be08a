"""Load a model by name or file; mix a pair of models by strength.

A pair (:data:`torch_sr.models.weights.PAIRS`) is two networks of one architecture, the second
fine-tuned from the first on degraded photographs. Their weights are interpolated as in section 3.4
of ESRGAN: strength 0 is the first network, 1 the second, and both ends are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch_sr.aliases import OpenProgress
from torch_sr.errors import ModelError
from torch_sr.models import weights
from torch_sr.models.interpolation import mix
from torch_sr.models.model import Model
from torch_sr.models.weights import DEFAULT_MODEL, canonical_name, find_pair
from torch_sr.models.zoo import open_model


@dataclass(frozen=True)
class ModelChoice:
    """A model and its strength; :func:`load` takes the two.

    Args:
        model: a name or a file.
        strength: in [0, 1]; None for a model without a partner.
    """

    model: str | Path
    strength: float | None = None


def choose_model(model: str | Path | None = None, strength: float | None = None) -> ModelChoice:
    """Complete and check a choice; nothing is read or downloaded.

    Args:
        model: a name or a file; None for the default model.
        strength: see :func:`load`. By default, a named model is used unchanged, and the default
            model has the default strength of its pair.

    Raises:
        ModelError: ``strength`` is outside [0, 1] or NaN, or the model has no partner.
    """
    named = DEFAULT_MODEL if model is None else model
    pair = find_pair(named)
    if pair is None:
        if strength is not None:
            raise ModelError(_no_partner(named, strength))
        return ModelChoice(named)
    if strength is None:
        strength = (
            pair.default_strength
            if model is None
            else float(canonical_name(str(named)) == pair.restoring)
        )
    if not 0.0 <= strength <= 1.0:  # NaN fails too
        raise ModelError(
            f"strength is {strength}; it must be between 0 ({pair.faithful}) and 1 "
            f"({pair.restoring})"
        )
    return ModelChoice(named, float(strength))


def load(
    name_or_path: str | Path | None = None,
    *,
    strength: float | None = None,
    progress: OpenProgress | None = None,
) -> Model:
    """Load a model by name, downloading it if needed, or from any weights file or ONNX file.

    Args:
        name_or_path: a name that ``torch-sr models list`` shows, or a file; None for the default
            pair at its default strength.
        strength: for the two models of a pair, no matter which of them is named: 0 is the faithful
            network, 1 the restoring one; in between, the weights are interpolated. By default the
            named model.
        progress: called with the bytes downloaded and the total, if known.

    Raises:
        ModelError: unknown name; the file cannot be read, is unsafe, or has no usable generator;
            ``strength`` is outside [0, 1], or the model has no partner.
        DownloadError: the model cannot be downloaded.

    >>> import torch_sr
    >>> model = torch_sr.load("compact-x4")
    >>> model.scale_factor, model.info.architecture
    (4, 'RRDBNet')
    >>> torch_sr.load("compact-x4", strength=0.7).info.strength
    0.7
    """
    choice = choose_model(name_or_path, strength)
    pair = find_pair(choice.model)
    if pair is None or choice.strength is None:
        return open_model(choice.model, progress)
    if choice.strength in (0.0, 1.0):
        model = open_model(pair.restoring if choice.strength else pair.faithful, progress)
    else:
        ends = [open_model(name, progress) for name in (pair.faithful, pair.restoring)]
        model = mix(ends, [1.0 - choice.strength, choice.strength], alpha=choice.strength)
        model.info = replace(model.info, name=pair.faithful)
    model.info = replace(model.info, strength=choice.strength)
    return model


def _no_partner(model: str | Path, strength: float) -> str:
    pairs = [f"{pair.faithful} and {pair.restoring}" for pair in weights.PAIRS]
    known = f"strength is for {', '.join(pairs)}; " if pairs else ""
    return (
        f"strength {strength:g}: leave it out, {model} has no partner; {known}"
        "`torch-sr interpolate` mixes any two models of one architecture"
    )
