"""A process of a cluster that computes tasks. It keeps nothing: files of a task end with it."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from torch_sr._version import __version__
from torch_sr.cluster.connection import check_version
from torch_sr.inference.files.jobs import Job
from torch_sr.models.loading import ModelChoice
from torch_sr.models.model import Model
from torch_sr.serving.cluster.messages import Done, Message, Order
from torch_sr.serving.computing import DeviceComputer, explain
from torch_sr.serving.errors import RequestError
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.settings import ServiceSettings
from torch_sr.serving.tasks import StoppedError, Work

BYTES_PER_PART = 4_000_000
_SECONDS_BETWEEN_REPORTS = 0.2
_SECONDS_TO_LOCK = 60.0  # a new folder
_FOLDERS = "torch-sr-replica-"

_log = logging.getLogger(__name__)


class Replica:
    """Computes orders with one device.

    Args:
        settings: of the service, without its folder.
        choice: the model to load at once.
        model: that one, if it is not on this machine by its name.
        version: of the service.
        get: returns what a part of a source or a model stands for, such as ``ray.get``.

    Raises:
        ConfigError: the service has another version.
        ModelError, DeviceError: the model cannot be loaded.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        choice: ModelChoice | None = None,
        model: Any = None,
        version: str = __version__,
        get: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        check_version(version)
        self._time_limit = settings.limits.time_limit
        self._get = get
        self._models: dict[str | Path, Any] = {}
        self._computer = DeviceComputer(
            settings, settings.devices[0], ServiceMetrics(), find_model=self._find_model
        )
        self._threads = ThreadPoolExecutor(settings.tasks_per_device, "upscaling")
        self._folder, self._lock = _make_folder(Path(tempfile.gettempdir()))
        if choice is not None:
            self._know(choice, model)
            self._computer.start(choice)

    def close(self) -> None:
        """Delete its temporary files."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    async def compute(
        self, order: Order, source: Iterable[Any], model: Any = None
    ) -> AsyncIterator[Message]:
        """Compute an order; closing the iterator ends that after the current tile.

        Args:
            order: what to compute.
            source: the parts of the source, or what stands for them.
            model: of the order, if it is not on this machine by its name.
        """
        self._know(order.choice, model)
        loop = asyncio.get_running_loop()
        reports: asyncio.Queue[float | None] = asyncio.Queue()
        stopped = threading.Event()
        folder = Path(tempfile.mkdtemp(dir=self._folder))

        def report(part: float | None) -> None:
            loop.call_soon_threadsafe(reports.put_nowait, part)

        computing = self._threads.submit(self._compute, order, source, folder, report, stopped)
        try:
            while (part := await reports.get()) is not None:
                yield part
            outcome = await asyncio.wrap_future(computing)
            if isinstance(outcome, Done):
                with (folder / order.target).open("rb") as file:
                    while data := await asyncio.to_thread(file.read, BYTES_PER_PART):
                        yield data
            yield outcome
        finally:
            stopped.set()
            computing.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))

    def _compute(
        self,
        order: Order,
        source: Iterable[Any],
        folder: Path,
        report: Callable[[float | None], None],
        stopped: threading.Event,
    ) -> Done | RequestError:
        """Write the result of an order; reports None at the end."""
        job = Job(folder / order.source, folder / order.target, pixels=order.pixels)
        work = Work(job, order.options, order.choice, order.tta)
        start = reported = time.monotonic()

        def on_progress(part: float) -> None:
            nonlocal reported
            now = time.monotonic()
            if stopped.is_set() or now - start > self._time_limit:  # also if the service has ended
                raise StoppedError
            if now - reported > _SECONDS_BETWEEN_REPORTS:
                reported = now
                report(part)

        try:
            with job.source.open("wb") as file:
                for each in source:
                    file.write(self._get(each))
            return Done(self._computer.compute(work, on_progress))
        except StoppedError:
            return RequestError("stopped")  # nobody waits for it
        except Exception as error:
            if not isinstance(error, RequestError):
                _log.exception("%s", order.source)
            return explain(error)
        finally:
            report(None)

    def _know(self, choice: ModelChoice, model: Any) -> None:
        if model is not None:
            self._models[choice.model] = model

    def _find_model(self, name: str | Path) -> str | Path | Model:
        model: str | Path | Model = self._get(self._models.get(name, name))
        return model


def _make_folder(parent: Path) -> tuple[Path, FileLock]:
    """A folder for temporary files, and its lock; deletes those of replicas that were killed."""
    for other in parent.glob(f"{_FOLDERS}*"):
        lock = FileLock(other / "lock")
        try:
            if other.is_symlink() or time.time() - other.stat().st_mtime < _SECONDS_TO_LOCK:
                continue
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue  # it is used, or belongs to another user
        shutil.rmtree(other, ignore_errors=True)
        lock.release()
    folder = Path(tempfile.mkdtemp(prefix=_FOLDERS, dir=parent))
    lock = FileLock(folder / "lock")
    lock.acquire()
    return folder, lock
