"""Everything torch-sr raises on purpose.

::

    TorchSRError              a person can mend this: the message names what, its value, the remedy
    ├── ConfigError           hyper-parameters: unknown key, wrong type, impossible value
    ├── DataError             data sets: missing folder, unpaired or too small images
    │   └── MissingDatasetError   one of those known by name, which could be fetched
    ├── ImageError            one image file that cannot be read or written
    ├── ModelError            a weights file that cannot be read, or does not fit
    ├── CheckpointError       a training checkpoint that cannot be read, written or resumed from
    ├── TrainingError         a training that does not learn any more
    ├── LogError              logs of a training that cannot be written or sent
    ├── DownloadError         a file that cannot be fetched, or is not what it should be
    ├── DeviceError           a device or precision that this machine does not have
    │   └── DeviceMemoryError     one that has not memory enough
    └── MissingExtraError     an optional package that is not installed
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DeviceMemoryError",
    "DownloadError",
    "ImageError",
    "LogError",
    "MissingDatasetError",
    "MissingExtraError",
    "ModelError",
    "TorchSRError",
    "TrainingError",
]


class TorchSRError(Exception):
    """Base class: its text is one line a user can act on."""


class ConfigError(TorchSRError):
    """A hyper-parameter is unknown, of the wrong type, or impossible."""


class DataError(TorchSRError):
    """A data set is missing, empty, unpaired or unfit."""


class MissingDatasetError(DataError):
    """A data set known by name does not lie below the data root."""


class ImageError(TorchSRError):
    """An image file cannot be read or written."""


class ModelError(TorchSRError):
    """A weights file cannot be read, is unsafe, or does not describe a known network."""


class CheckpointError(TorchSRError):
    """A training checkpoint cannot be read, written, or continued."""


class TrainingError(TorchSRError):
    """A training has gone wrong and cannot mend itself."""


class LogError(TorchSRError):
    """The logs of a training cannot be written, or not be sent to a service."""


class DownloadError(TorchSRError):
    """A file cannot be fetched from the internet, or is not the one that was asked for."""


class DeviceError(TorchSRError):
    """The device or precision asked for is not available here."""


class DeviceMemoryError(DeviceError):
    """A device has not enough memory for what it was given."""


class MissingExtraError(TorchSRError):
    """An optional package is missing.

    Args:
        package: what could not be imported.
        extra: the extra of torch-sr that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'torch-sr[{extra}]'")
