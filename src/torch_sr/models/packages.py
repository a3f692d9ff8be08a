"""Find weights files in installed packages, without importing them.

Some Python packages contain weights and hardly any code. ``pip`` installs and verifies them where
a model's own address cannot be reached.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PackagePath, distribution
from pathlib import Path, PurePosixPath

from torch_sr.files import find_digest


@dataclass(frozen=True)
class PackagedModel:
    """A weights file in a package.

    Args:
        package: its name for ``pip``.
        extra: the extra of torch-sr that installs it.
        file: the file's path from the folder of all packages, or a pattern as for ``glob``; for an
            ncnn model the ``.param``, with the ``.bin`` in the same folder.
    """

    package: str
    extra: str
    file: str

    @property
    def install_command(self) -> str:
        """The command that installs the package."""
        return f"pip install 'torch-sr[{self.extra}]'"

    @property
    def version(self) -> str | None:
        """The installed version; None if the package is not installed."""
        found = self._distribution()
        return None if found is None else found.version

    def find(self) -> Path | None:
        """The file; None if the package, or this version of it, does not have it."""
        found = self._distribution()
        if found is None:
            return None
        folder = Path(str(found.locate_file("")))
        return next((path for path in sorted(folder.glob(self.file)) if path.is_file()), None)

    def damaged_files(self) -> list[Path]:
        """The model's files that are missing or differ from the hashes in the package's list."""
        return [_locate(file) for file in self._listed_files() if not _is_right(file)]

    def _listed_files(self) -> list[PackagePath]:
        """The model's files that the package lists with a hash."""
        found = self._distribution()
        pattern = str(PurePosixPath(self.file).with_suffix(".*"))
        listed = [] if found is None else found.files or []
        return [file for file in listed if file.hash and file.match(pattern)]

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
