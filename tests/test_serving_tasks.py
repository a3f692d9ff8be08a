"""Tasks and their queue: bounds, order, cancelling, time limits, and a graceful stop."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving_kit import (
    Gate,
    files_in,
    gate,
    image_bytes,
    start_service,
    submit,
    upload,
    wait_until,
)

from torch_sr.errors import DeviceMemoryError, ImageError, ModelError
from torch_sr.serving import computing
from torch_sr.serving.errors import RequestError
from torch_sr.serving.requests import UpscaleRequest

__all__ = ["gate", "start_service"]  # fixtures


def refuse(call, *arguments, **options):
    """The error of a call that is refused."""
    with pytest.raises(RequestError) as refusal:
        call(*arguments, **options)
    return refusal.value


def fail_with(monkeypatch, error):
    """Let all computations fail."""

    def fail(*_):
        raise error

    monkeypatch.setattr(computing, "write_result", fail)


def error_of(task):
    assert task.wait(10)
    assert task.state == "failed"
    return task.error


# --- The queue ------------------------------------------------------------------------------------


def test_a_task_is_computed_and_its_files_are_deleted(start_service):
    service = start_service()
    task = submit(service, "holiday.png")
    assert task.wait(10)
    assert (task.state, task.progress, task.error) == ("done", 1, None)
    assert task.result.name == "holiday_sr.png"
    assert task.result.stat().st_size > 0
    assert task.created <= task.started <= task.finished
    service.discard(task)
    assert files_in(service) == []


def test_a_full_queue_refuses_and_says_when_to_try_again(start_service, gate):
    service = start_service(queue=2, tasks_per_device=1)
    running = submit(service)
    gate.wait()
    waiting = [submit(service), submit(service)]
    assert [task.position for task in (running, *waiting)] == [0, 0, 1]
    assert service.obstacle == "the queue is full"
    assert service.fault is None
    before = files_in(service)
    error = refuse(submit, service)
    assert (error.status, error.title) == (429, "Too Many Requests")
    assert 1 <= error.retry_after <= 600
    assert "try again" in error.remedy
    assert files_in(service) == before
    gate.open()
    assert all(task.wait(10) and task.state == "done" for task in (running, *waiting))
    assert service.obstacle is None


def test_the_time_to_wait_follows_the_speed_so_far(start_service, gate):
    service = start_service(queue=1, tasks_per_device=1)
    submit(service)
    gate.wait()
    submit(service, content=image_bytes(40, 50))
    service._queue.count_speed(pixels=100, seconds=5)  # 20 pixels per second
    assert refuse(submit, service).retry_after == 50
    service._queue._pixels_per_second = 1e-9
    assert refuse(submit, service).retry_after == 600


def test_tasks_are_taken_in_the_order_in_which_they_came(start_service, gate):
    service = start_service(tasks_per_device=1)
    first = submit(service)
    gate.wait()
    rest = [submit(service, f"{n}.png") for n in range(4)]
    gate.open()
    for task in (first, *rest):
        assert task.wait(10)
    assert [task.started for task in rest] == sorted(task.started for task in rest)


def test_many_threads_submit_no_more_than_fit(start_service, gate):
    service = start_service(queue=3, tasks_per_device=1)
    submit(service)
    gate.wait()
    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(submit, service) for _ in range(16)]
    errors = [each.exception() for each in futures]
    accepted = [each for each in errors if each is None]
    assert len(accepted) == 3
    assert {each.status for each in errors if each} == {429}
    assert len(files_in(service)) == 2 * 4  # a folder and a file each


# --- Cancelling -----------------------------------------------------------------------------------


def test_a_waiting_task_is_cancelled_at_once(start_service, gate):
    service = start_service(tasks_per_device=1)
    submit(service)
    gate.wait()
    task, other = submit(service), submit(service)
    service.discard(task)
    assert task.state == "cancelled"
    assert not task.folder.exists()
    assert other.position == 0
    gate.open()
    assert other.wait(10)
    assert other.state == "done"


def test_a_running_task_is_cancelled_after_its_tile(start_service, gate):
    service = start_service()
    task = submit(service)
    gate.wait()
    assert task.state == "running"
    service.discard(task)
    assert task.wait(10)
    assert task.state == "cancelled"
    wait_until(lambda: not task.folder.exists())


def test_cancelling_a_finished_task_changes_nothing(start_service):
    task = submit(start_service())
    assert task.wait(10)
    task.cancel()
    task.cancel()
    assert task.state == "done"
    assert task.result.exists()


def test_a_task_is_cancelled_between_the_queue_and_its_start(start_service, gate, monkeypatch):
    service = start_service(tasks_per_device=1)
    start, go = service._queue.take, threading.Event()

    def take():
        task = start()
        go.wait(10)
        return task

    submit(service)
    gate.wait()
    monkeypatch.setattr(service._queue, "take", take)
    gate.open()
    task = submit(service)
    wait_until(lambda: len(service._queue) == 0)
    task.cancel()
    go.set()
    assert task.wait(10)
    assert (task.state, task.started) == ("cancelled", None)


def test_listeners_are_called_once_even_if_one_fails(start_service, gate):
    service, called = start_service(), []
    task = submit(service)
    gate.wait()
    task.call_when_finished(lambda: called.append(1))
    task.call_when_finished(lambda: called[99])
    task.call_when_finished(lambda: called.append(2))
    gate.open()
    assert task.wait(10)
    wait_until(lambda: len(called) == 2)
    task.call_when_finished(lambda: called.append(3))
    assert called == [1, 2, 3]
    again = submit(service)
    assert again.wait(10)


def test_the_progress_and_the_time_left_are_known_while_it_is_computed(start_service, gate):
    task = submit(start_service())
    assert task.seconds_left is None
    gate.wait()
    wait_until(lambda: task.progress == 0.25)
    assert 0 <= task.seconds_left < 30


# --- Failures -------------------------------------------------------------------------------------


def test_a_task_that_takes_too_long_fails_with_504(start_service, gate):
    task = submit(start_service(time_limit=0.05))
    error = error_of(task)
    assert error.status == 504
    assert "0.05 seconds" in error.detail
    assert "smaller" in error.remedy


def test_the_time_limit_does_not_depend_on_the_clock(start_service, gate, monkeypatch):
    task = submit(start_service(time_limit=30))
    gate.wait()
    monkeypatch.setattr("torch_sr.serving.tasks.time.time", lambda: 4e9)
    held = gate.held
    gate.open()
    assert held == 1
    assert task.wait(10)
    assert task.state == "done"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageError("the file is damaged"), 422),
        (DeviceMemoryError("lower --tile-size"), 503),
        (MemoryError(), 503),
        (ModelError("/secret/model.pth cannot be read"), 422),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 507),
        (ZeroDivisionError("a bug in /secret"), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_cause_has_its_status(start_service, monkeypatch, error, status):
    service = start_service()
    fail_with(monkeypatch, error)
    found = error_of(submit(service))
    assert found.status == status
    if status >= 500:
        assert "secret" not in str(found)
        assert "--" not in str(found)
    if status in (503, 507):
        assert found.retry_after > 0
    if status == 422:
        assert found.field == "image"


def test_a_full_disk_is_not_the_fault_of_the_image(start_service, monkeypatch):
    def full(_, job, *__):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ImageError(f"{job.target}: cannot be written") from error

    service = start_service()
    monkeypatch.setattr(computing, "write_result", full)
    error = error_of(submit(service))
    assert (error.status, error.field) == (507, None)
    assert str(service.settings.folder) not in str(error)


def test_a_full_disk_refuses_uploads(start_service, monkeypatch):
    service = start_service()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.touch", full)
    assert refuse(service.new_upload).status == 507
    monkeypatch.undo()
    monkeypatch.setattr("shutil.copyfile", full)
    assert refuse(lambda: service.copy_upload(Path(__file__))).status == 507
    assert not list((service.settings.folder / "uploads").iterdir())


def test_a_model_that_cannot_be_loaded_any_more_is_not_the_fault_of_the_client(
    start_service, monkeypatch
):
    service = start_service()

    def fail(*_, **__):
        raise ModelError("/secret/weights.pth: no such file")

    monkeypatch.setattr(service._computers[0].upscalers, "get", fail)
    error = error_of(submit(service))
    assert error.status == 500
    assert "secret" not in str(error)


def test_the_thread_survives_whatever_fails(start_service, monkeypatch):
    service = start_service(tasks_per_device=1)
    monkeypatch.setattr(service.metrics, "count_task", lambda *_: 1 / 0)
    assert submit(service).wait(10)
    monkeypatch.undo()
    task = submit(service)
    assert task.wait(10)
    assert task.state == "done"
    assert service.fault is None


def test_a_thread_that_has_ended_is_a_fault(start_service, monkeypatch):
    service = start_service()
    monkeypatch.setattr(service._workers[0]._threads[0], "is_alive", lambda: False)
    assert service.fault == service.obstacle == "a thread has ended"


# --- What is refused leaves nothing behind --------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "content", "status"),
    [
        ({}, b"", 415),
        ({}, b"not an image", 415),
        ({}, image_bytes()[:20], 422),
        ({}, image_bytes(60, 60), 413),
        ({"model": "other"}, None, 422),
        ({"model": "../../etc/passwd"}, None, 422),
        ({"model": "/models/model.safetensors"}, None, 422),
        ({"scale": 2, "width": 9}, None, 422),
        ({"scale": 64}, image_bytes(20, 20), 413),
        ({"width": 900_000}, None, 413),
        ({"width": 70_000, "height": 1, "format": "jpg"}, None, 422),
    ],
)
@pytest.mark.parametrize("way", ["submit", "submit_job"])
def test_refused_uploads_are_deleted(start_service, way, options, content, status):
    service = start_service(max_pixels=2000, max_enlargement=100)
    path = upload(service, content)
    error = refuse(getattr(service, way), path, "a.png", UpscaleRequest(**options))
    assert error.status == status
    assert str(service.settings.folder) not in str(error)
    assert files_in(service) == []


def test_a_video_is_refused_where_only_images_are_accepted(start_service):
    service = start_service()
    path = upload(service, b"\x1aE\xdf\xa3" + bytes(200))
    error = refuse(service.submit, path, "a.mkv", UpscaleRequest(), images_only=True)
    assert error.status == 415
    assert "/v1/jobs" in error.remedy
    assert files_in(service) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_unexpected_error_leaves_no_files(start_service, monkeypatch, error):
    service = start_service()

    def fail(*_):
        raise error

    monkeypatch.setattr("torch_sr.serving.intake.examine", fail)
    for way in (service.submit, service.submit_job):
        with pytest.raises(error):
            way(upload(service), "a.png", UpscaleRequest())
    assert files_in(service) == []


# --- The end --------------------------------------------------------------------------------------


def test_a_graceful_stop_lets_running_tasks_finish(start_service, gate):
    service = start_service(tasks_per_device=1)
    task = submit(service)
    gate.wait()
    waiting = submit(service)
    stopping = threading.Thread(target=service.stop, args=(10,))
    stopping.start()
    assert waiting.wait(10)
    assert (waiting.state, waiting.error.status) == ("failed", 503)
    assert refuse(submit, service).status == 503
    assert service.obstacle == "stopping"
    gate.open()
    stopping.join(10)
    assert (task.state, task.result.exists()) == ("done", True)


def test_after_the_grace_requests_fail_with_503(start_service, gate):
    service = start_service()
    task = submit(service)
    gate.wait()
    service.stop(grace=0.05)
    assert (task.state, task.error.status) == ("failed", 503)
    assert task.error.retry_after > 0


def test_a_service_stops_that_was_never_started(pair, tmp_path):
    from serving_kit import make_settings

    from torch_sr.serving.service import Service

    service = Service(make_settings(tmp_path / "serve"))
    assert service.obstacle == "starting"
    assert service.fault is None
    service.stop(0)
    service.stop(0)
    service.close()


def test_two_devices_share_the_queue(start_service, monkeypatch):
    service = start_service(devices=("cpu", "cpu"), tasks_per_device=1)
    gate = Gate(monkeypatch)
    tasks = [submit(service) for _ in range(3)]
    gate.wait(2)
    wait_until(lambda: sorted(task.state for task in tasks) == ["queued", "running", "running"])
    gate.open()
    assert all(task.wait(10) for task in tasks)


def test_the_models_that_were_not_used_for_longest_are_unloaded(start_service):
    service = start_service(loaded_models=2)
    for strength in (0.0, 0.5, 1.0, 0.5):
        task = submit(service, strength=strength)
        assert task.wait(10)
        assert task.state == "done", task.error
    assert service._computers[0].upscalers.num_loaded == 2


def test_strengths_are_different_images(start_service):
    service = start_service()
    results = []
    for strength in (None, 0.7, 0.0, 1.0):
        task = submit(service, strength=strength)
        assert task.wait(10)
        results.append(task.result.read_bytes())
    assert results[0] == results[1]
    assert len(set(results)) == 3
