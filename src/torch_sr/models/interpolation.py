"""Network interpolation (ESRGAN, section 3.4): a way between fidelity and texture.

Every parameter of the result lies on the line between those of a PSNR-driven network and those of
a GAN-driven network that was trained from it: ``(1 - alpha) * psnr + alpha * esrgan``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from torch_sr.errors import ModelError
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import save_generator


def interpolate(
    psnr_state: Mapping[str, Tensor], esrgan_state: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """Interpolate two state dicts of the same names and shapes, in float32.

    Args:
        psnr_state: parameters at ``alpha`` 0.
        esrgan_state: parameters at ``alpha`` 1.
        alpha: share of the second, in [0, 1].

    Raises:
        ModelError: ``alpha`` out of range, or names or shapes that differ.

    >>> import torch
    >>> interpolate({"w": torch.zeros(2)}, {"w": torch.ones(2)}, 0.25)["w"]
    tensor([0.2500, 0.2500])
    """
    if not 0.0 <= alpha <= 1.0:  # NaN fails too
        raise ModelError(f"alpha is {alpha}; it must be between 0 and 1")
    for key in psnr_state.keys() ^ esrgan_state.keys():
        raise ModelError(f"only one of the two networks has {key}; they must be alike")
    return {key: _mix(key, psnr, esrgan_state[key], alpha) for key, psnr in psnr_state.items()}


def interpolate_files(
    psnr_path: str | Path, esrgan_path: str | Path, alpha: float, out_path: str | Path
) -> None:
    """Interpolate two weights files, of any layouts, and write the result with its parents' names.

    Raises:
        ModelError: a file that cannot be read or written, or networks that differ.
    """
    network = interpolate_networks(psnr_path, esrgan_path, alpha)
    parents = {"psnr": Path(psnr_path).name, "esrgan": Path(esrgan_path).name}
    save_generator(
        out_path, network, stage="interpolation", metadata={"alpha": alpha, "parents": parents}
    )


def interpolate_networks(psnr_path: str | Path, esrgan_path: str | Path, alpha: float) -> RRDBNet:
    """Interpolate the networks of two weights files, of any layouts.

    Raises:
        ModelError: a file that cannot be read, or networks that differ.
    """
    if not 0.0 <= alpha <= 1.0:  # before the files are read
        raise ModelError(f"alpha is {alpha}; it must be between 0 and 1")
    psnr, esrgan = _load_rrdbnet(psnr_path), _load_rrdbnet(esrgan_path)
    for name, value in psnr.hparams.items():
        if esrgan.hparams[name] != value:
            raise ModelError(
                f"{name} is {value} in {psnr_path} and {esrgan.hparams[name]} in {esrgan_path}; "
                "only networks alike can be interpolated"
            )
    psnr.load_state_dict(interpolate(psnr.state_dict(), esrgan.state_dict(), alpha))
    return psnr


def _load_rrdbnet(path: str | Path) -> RRDBNet:
    loaded = load_generator(path)
    if not isinstance(loaded.network, RRDBNet):
        raise ModelError(f"{path} is a {loaded.info.architecture}; only RRDBNet is interpolated")
    return loaded.network


def _mix(key: str, psnr: Tensor, esrgan: Tensor, alpha: float) -> Tensor:
    if psnr.shape != esrgan.shape:
        raise ModelError(
            f"{key} has the shape {tuple(psnr.shape)} in one network and {tuple(esrgan.shape)} "
            "in the other; they must be alike"
        )
    return (1.0 - alpha) * psnr.float() + alpha * esrgan.float()
