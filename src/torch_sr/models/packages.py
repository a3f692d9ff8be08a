"""Models in installed packages: found by the packages' metadata, without importing any of them.

Some Python packages contain weights and hardly any code. ``pip`` installs and
verifies them where a model's own address cannot be reached.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path, PurePosixPath

from torch_sr.download import find_digest


@dataclass(frozen=True)
class PackagedModel:
    """A weights file in a package.

    Args:
        package: its name for ``pip``.
        extra: the extra of torch-sr that installs it.
        file: the file's path in the package's list of files; for an ncnn model the ``.param``, with
            the ``.bin`` beside it.
    """

    package: str
    extra: str
    file: str

    @property
    def install_command(self) -> str:
        """Installs the package."""
        return f"pip install 'torch-sr[{self.extra}]'"

    @property
    def version(self) -> str | None:
        """The installed version; None where the package is not installed."""
        found = self._distribution()
        return None if found is None else found.version

    def find(self) -> Path | None:
        """The file; None where the package is not installed, or a version of it lacks the file."""
        found = self._distribution()
        path = None if found is None else Path(str(found.locate_file(self.file)))
        return path if path is not None and path.is_file() else None

    def damaged_files(self) -> list[Path]:
        """The model's files that are missing or differ from the hashes in the package's list."""
        return [_locate(file) for file in self._listed_files() if not _is_right(file)]

    def _listed_files(self) -> list[PackagePath]:
        """The model's files that the package lists with a hash."""
        found = self._distribution()
        stem = PurePosixPath(self.file).with_suffix("")
        listed = [] if found is None else found.files or []
        return [file for file in listed if file.hash and file.with_suffix("") == stem]

    def _distribution(self) -> Distribution | None:
        try:
            return distribution(self.package)
        except PackageNotFoundError:
            return None


def _locate(file: PackagePath) -> Path:
    return Path(str(file.locate()))


def _is_right(file: PackagePath) -> bool:
    assert file.hash is not None
    expected = base64.urlsafe_b64decode(f"{file.hash.value}==").hex()
    path = _locate(file)
    return path.is_file() and find_digest(path, file.hash.mode) == expected
