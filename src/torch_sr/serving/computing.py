"""What computes tasks: the interface, and a device of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol

from torch_sr.errors import DeviceMemoryError, TorchSRError
from torch_sr.inference.files.batch import write_result
from torch_sr.inference.files.jobs import Job
from torch_sr.models.loading import ModelChoice
from torch_sr.serving.errors import RequestError, internal_error, is_disk_full, no_room
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.offers import FindModel, Upscalers
from torch_sr.serving.settings import ServiceSettings
from torch_sr.serving.tasks import Work
from torch_sr.serving.uploads import unreadable

OnProgress = Callable[[float], None]
"""Called with the part that is computed, in [0, 1], from time to time.

What it raises ends the computation and is raised again.
"""


class Computer(Protocol):
    """Computes tasks; several threads call it at once."""

    @property
    def tasks_at_once(self) -> int:
        """How many tasks it computes at the same time."""
        ...

    def start(self, choice: ModelChoice) -> None:
        """Get ready, and load a model.

        Raises:
            ModelError, DeviceError, ConfigError: it cannot be used.
        """
        ...

    def compute(self, work: Work, on_progress: OnProgress) -> tuple[str, ...]:
        """Write the result of a task.

        Args:
            work: the files, whose folders exist, and the options.
            on_progress: see :data:`OnProgress`.

        Returns:
            what the result could not keep of the source.

        Raises:
            RequestError: it cannot be computed, for a reason that the client may know.
            Exception: anything else; see :func:`explain`.
        """
        ...

    def stop(self) -> None:
        """Release what it holds, when no task is computed any more."""
        ...


MakeComputers = Callable[[ServiceSettings, ServiceMetrics], Sequence[Computer]]
"""Makes what computes the tasks of a service, which is started and stopped with it."""


class DeviceComputer:
    """A device of this machine.

    Args:
        settings: of the service.
        name: of the device.
        metrics: where its calls of engines are counted.
        find_model: see :class:`~torch_sr.serving.offers.Upscalers`.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        name: str,
        metrics: ServiceMetrics,
        find_model: FindModel = lambda name: name,
    ) -> None:
        self.tasks_at_once = settings.tasks_per_device
        self.upscalers = Upscalers(settings, name, metrics.count_batch, find_model)

    def start(self, choice: ModelChoice) -> None:
        """Load a model."""
        self.upscalers.get(choice)

    def compute(self, work: Work, on_progress: OnProgress) -> tuple[str, ...]:
        """Write the result of a task; see :meth:`Computer.compute`."""
        upscaler, notes = self.upscalers.get(work.choice, tta=work.tta), list[str]()

        def on_tile(_: Job, done: int, total: int) -> None:
            on_progress(done / max(total, done, 1))

        try:
            write_result(upscaler, work.job, work.options, on_tile, notes.append)
        except (RequestError, DeviceMemoryError):
            raise
        except TorchSRError as error:
            if is_disk_full(error):
                raise
            raise unreadable(work.job, str(error)) from error
        return tuple(notes)

    def stop(self) -> None:
        """Nothing is held."""


def use_devices(settings: ServiceSettings, metrics: ServiceMetrics) -> list[DeviceComputer]:
    """The devices of this machine that the settings name."""
    computers = [DeviceComputer(settings, name, metrics) for name in settings.devices]
    metrics.watch(
        "torch_sr_models_loaded",
        "Models that are loaded, on all devices together.",
        lambda: sum(computer.upscalers.num_loaded for computer in computers),
    )
    return computers


def explain(error: Exception) -> RequestError:
    """Why a task failed, for the client."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, (DeviceMemoryError, MemoryError)):
        return RequestError(
            "the server has not enough memory for this image now",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            remedy="try again later, or send a smaller image",
            retry_after=30,
        )
    if is_disk_full(error):
        return no_room("for the result")
    return internal_error()
