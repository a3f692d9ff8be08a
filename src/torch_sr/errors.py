"""The errors that torch-sr raises on purpose.

::

    TorchSRError              a user can fix this: the message names the value and the remedy
    ├── ConfigError           hyper-parameters: unknown key, wrong type, impossible value
    ├── DataError             data sets: missing folder, unpaired or too small images
    │   └── MissingDatasetError   a known data set that could be downloaded
    ├── ImageError            one image file that cannot be read or written
    ├── ModelError            a weights file that cannot be read, or does not fit
    ├── CheckpointError       a training checkpoint that cannot be read, written or resumed from
    ├── TrainingError         a training that no longer learns
    ├── LogError              logs of a training that cannot be written or sent
    ├── DownloadError         a file that cannot be downloaded, or is not the expected one
    ├── DeviceError           a device or precision that this machine does not have
    │   └── DeviceMemoryError     a device without enough memory
    ├── ServiceError          a service that cannot be reached, refuses a request or fails
    ├── ClusterError          a cluster that fails, or cannot compute what is asked
    └── MissingExtraError     an optional package that is not installed
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ClusterError",
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
    "ServiceError",
    "TorchSRError",
    "TrainingError",
]


class TorchSRError(Exception):
    """Base class: its text is one line a user can act on."""


class ConfigError(TorchSRError):
    """A hyper-parameter is unknown, of the wrong type, or impossible."""


class DataError(TorchSRError):
    """A data set is missing, empty, unpaired or unsuitable."""


class MissingDatasetError(DataError):
    """A known data set is missing in the data root."""


class ImageError(TorchSRError):
    """An image file cannot be read or written."""


class ModelError(TorchSRError):
    """A weights file cannot be read, is unsafe, or does not describe a known network."""


class CheckpointError(TorchSRError):
    """A training checkpoint cannot be read, written, or resumed from."""


class TrainingError(TorchSRError):
    """A training no longer learns and cannot recover."""


class LogError(TorchSRError):
    """The logs of a training cannot be written, or cannot be sent to a service."""


class DownloadError(TorchSRError):
    """A file cannot be downloaded, or is not the expected one."""


class DeviceError(TorchSRError):
    """The requested device or precision is not available here."""


class DeviceMemoryError(DeviceError):
    """A device does not have enough memory for the computation."""


class ServiceError(TorchSRError):
    """A service cannot be reached, refuses a request, or fails.

    Args:
        detail: what is wrong, in one line.
        status: of HTTP; None if there was no response.
        field: the parameter or header that is wrong.
        value: what it was.
        remedy: what to do instead.
        retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        field: str | None = None,
        value: str | float | None = None,
        remedy: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(f"{detail}; {remedy}" if remedy else detail)
        self.detail = detail
        self.status = status
        self.field = field
        self.value = value
        self.remedy = remedy
        self.retry_after = retry_after


class ClusterError(TorchSRError):
    """A cluster fails, or its machines cannot compute what is asked."""


class MissingExtraError(TorchSRError):
    """An optional package is missing.

    Args:
        package: what could not be imported.
        extra: the extra of torch-sr that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'torch-sr[{extra}]'")
