"""Jobs survive restarts, crashes and ``kill -9``; each is computed once, or its failure is kept."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving_kit import (
    files_in,
    gate,
    image_bytes,
    make_settings,
    start_service,
    submit_job,
    upload,
    wait_for_job,
    wait_until,
)

from torch_sr.errors import ConfigError
from torch_sr.serving import jobs as jobs_module
from torch_sr.serving.errors import RequestError
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.service import Service
from torch_sr.serving.store import JobStore

__all__ = ["gate", "start_service"]  # fixtures


def refuse(call, *arguments, **options):
    with pytest.raises(RequestError) as refusal:
        call(*arguments, **options)
    return refusal.value


def crash(service):
    """Let go of the folder as a process that ends at once; its threads must be held."""
    service._folders.release()


def rows_of(service):
    return sqlite3.connect(service.settings.folder / "jobs.sqlite").execute(
        "SELECT id, state, attempts FROM jobs"
    )


# --- A job's life ---------------------------------------------------------------------------------


def test_a_job_is_computed_and_kept_until_it_is_deleted(start_service):
    service = start_service()
    job = submit_job(service, "holiday.png")
    assert job.state in ("queued", "running")
    done = wait_for_job(service, job.id)
    assert (done.state, done.name, done.progress, done.position) == ("done", "holiday.png", 1, 0)
    assert done.result.name == "holiday_sr.png"
    assert done.created <= done.started <= done.finished
    assert done.error is None
    service.remove_job(job.id)
    assert files_in(service) == []
    error = refuse(service.find_job, job.id)
    assert (error.status, error.field, error.value) == (404, "job_id", job.id)
    assert refuse(service.remove_job, job.id).status == 404


def test_the_reason_of_a_failure_is_kept(start_service):
    service = start_service()
    damaged = image_bytes(200, 200, "JPEG")[:3000]
    job = wait_for_job(service, submit_job(service, "a.jpg", damaged).id)
    assert job.state == "failed"
    assert (job.error.status, job.error.field, job.error.value) == (422, "image", "a.jpg")
    assert job.error.detail.startswith("a.jpg: ")
    assert job.result is None


def test_notes_are_kept(start_service):
    service = start_service()
    job = submit_job(service, "a.gif", image_bytes(kind="GIF"), format="jpg")
    assert wait_for_job(service, job.id).notes == ()
    from PIL import Image

    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    path = service.new_upload()
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    job = service.submit_job(path, "a.gif", UpscaleRequest(format="jpg"))
    (note,) = wait_for_job(service, job.id).notes
    assert "1 frame" in note or "one frame" in note


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_job_is_cancelled_by_deleting_it(start_service, gate, state):
    service = start_service(tasks_per_device=1)
    running = submit_job(service)
    gate.wait()
    waiting = submit_job(service)
    assert service.find_job(waiting.id).state == "queued"
    chosen = {"queued": waiting, "running": running}[state]
    service.remove_job(chosen.id)
    assert refuse(service.find_job, chosen.id).status == 404
    wait_until(lambda: not (service.settings.folder / "jobs" / chosen.id).exists())
    gate.open()
    other = waiting if chosen is running else running
    assert wait_for_job(service, other.id).state == "done"


def test_jobs_are_bounded_by_the_queue_as_well(start_service, gate):
    service = start_service(queue=1, tasks_per_device=1)
    submit_job(service)
    gate.wait()
    submit_job(service)
    before = files_in(service)
    error = refuse(submit_job, service)
    assert (error.status, files_in(service)) == (429, before)
    assert len(list(rows_of(service))) == 2


# --- Keys -----------------------------------------------------------------------------------------


def test_a_repeated_request_is_the_same_job(start_service):
    service = start_service()
    first = submit_job(service, key="k")
    assert submit_job(service, key="k").id == first.id
    wait_for_job(service, first.id)
    again = submit_job(service, "renamed.png", key="k")
    assert (again.id, again.state) == (first.id, "done")
    assert submit_job(service, key="other").id != first.id
    assert submit_job(service).id != submit_job(service).id


@pytest.mark.parametrize(
    "change", [{"content": image_bytes(seed=1)}, {"strength": 0.5}, {"format": "jpg"}]
)
def test_a_key_of_another_request_is_refused(start_service, change):
    service = start_service()
    submit_job(service, key="k")
    before = len(list(rows_of(service)))
    error = refuse(submit_job, service, key="k", **change)
    assert (error.status, error.field) == (409, "Idempotency-Key")
    assert len(list(rows_of(service))) == before
    assert not any(name.startswith("uploads/") for name in files_in(service))


def test_concurrent_requests_of_one_key_are_one_job(start_service, gate):
    service = start_service()
    barrier = threading.Barrier(8)

    def send(_):
        barrier.wait()
        return submit_job(service, key="k").id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(send, range(8)))
    assert len(ids) == 1
    assert len(files_in(service)) == 2
    gate.open()
    assert wait_for_job(service, *ids).state == "done"


def test_a_key_can_be_used_again_once_its_job_is_deleted(start_service):
    service = start_service()
    first = submit_job(service, key="k")
    wait_for_job(service, first.id)
    service.remove_job(first.id)
    assert submit_job(service, key="k", strength=0.5).id != first.id


# --- What is kept, and for how long ---------------------------------------------------------------


def test_old_jobs_are_deleted(start_service, monkeypatch):
    service = start_service(keep_hours=2)
    old = submit_job(service)
    wait_for_job(service, old.id)
    service.remove_old_jobs()
    assert service.find_job(old.id).state == "done"
    pass_hours(monkeypatch, 2.01)
    service.remove_old_jobs()
    assert refuse(service.find_job, old.id).status == 404
    assert files_in(service) == []


def test_unfinished_jobs_are_never_too_old(start_service, gate, monkeypatch):
    service = start_service(keep_hours=2)
    job = submit_job(service)
    gate.wait()
    pass_hours(monkeypatch, 50)
    service.remove_old_jobs()
    assert service.find_job(job.id).state == "running"


def pass_hours(monkeypatch, hours):
    """Let the jobs believe that it is later."""
    later = time.time() + 3600 * hours
    monkeypatch.setattr(jobs_module, "time", SimpleNamespace(time=lambda: later))


def test_all_jobs_together_are_bounded_in_bytes(start_service):
    size = len(image_bytes())
    service = start_service(max_storage=3 * size)
    job = submit_job(service)
    wait_for_job(service, job.id)  # its result is larger than its source
    before = files_in(service)
    error = refuse(submit_job, service)
    assert error.status == 507
    assert error.retry_after > 0
    assert files_in(service) == before
    service.remove_job(job.id)
    assert submit_job(service).state in ("queued", "running", "done")


def test_no_job_is_accepted_if_the_disk_is_almost_full(start_service, monkeypatch):
    service = start_service()
    monkeypatch.setattr(jobs_module, "free_space", lambda _: 400_000_000)
    assert refuse(submit_job, service).status == 507
    assert files_in(service) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_full_disk_accepts_no_job_and_leaves_nothing(start_service, monkeypatch, error):
    service = start_service()

    def full(*_):
        raise error

    monkeypatch.setattr(service._store, "add", full)
    assert refuse(submit_job, service).status == 507
    assert files_in(service) == []
    assert list(rows_of(service)) == []
    assert len(service._queue) == 0


def test_a_job_finishes_even_if_its_state_cannot_be_stored(start_service, monkeypatch):
    service = start_service()

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(service._store, "finish", full)
    job = submit_job(service)
    assert wait_for_job(service, job.id).state == "done"
    monkeypatch.undo()
    service.remove_job(job.id)
    assert files_in(service) == []


# --- Restarts -------------------------------------------------------------------------------------


def test_jobs_and_results_survive_a_restart(start_service):
    service = start_service()
    job = wait_for_job(service, submit_job(service, key="k").id)
    content = job.result.read_bytes()
    service.stop(0)
    service.close()
    service = start_service()
    found = service.find_job(job.id)
    assert found == job
    assert found.result.read_bytes() == content
    assert submit_job(service, key="k").id == job.id


def test_after_a_graceful_stop_jobs_continue(start_service, gate, monkeypatch):
    service = start_service(tasks_per_device=1)
    running = submit_job(service)
    gate.wait()
    waiting = submit_job(service, strength=0.3)
    service.stop(grace=0.05)
    states = {(state, attempts) for _, state, attempts in rows_of(service)}
    assert states == {("queued", 0)}
    assert service.find_job(running.id).state == "queued"
    service.close()
    gate.open()
    service = start_service()
    for job in (running, waiting):
        assert wait_for_job(service, job.id).state == "done"


def test_a_job_that_is_accepted_while_the_service_stops_waits_for_the_next_start(
    start_service, gate, monkeypatch
):
    service = start_service()
    add = service._store.add

    def add_and_stop(row):
        add(row)
        service.stop(0)

    monkeypatch.setattr(service._store, "add", add_and_stop)
    job = submit_job(service)
    assert job.state == "queued"
    service.close()
    gate.open()
    assert wait_for_job(start_service(), job.id).state == "done"


def test_a_stopping_service_accepts_no_jobs(start_service):
    service = start_service()
    service.stop(0)
    assert refuse(submit_job, service).status == 503
    assert files_in(service) == []
    assert list(rows_of(service)) == []


def test_after_a_crash_jobs_are_computed_again_and_the_rest_is_deleted(start_service, gate):
    service = start_service(tasks_per_device=1)
    running = submit_job(service, "running.png")
    gate.wait()
    waiting = submit_job(service, "waiting.png", strength=0.2, format="jpg")
    upload(service)
    (service.settings.folder / "jobs" / "not-accepted").mkdir()
    (service.settings.folder / "jobs" / "not-accepted" / "a.png").write_bytes(b"1")
    (service.settings.folder / "requests" / "x").mkdir()
    crash(service)
    other = start_service(tasks_per_device=1)
    gate.wait(2)
    assert not (service.settings.folder / "jobs" / "not-accepted").exists()
    assert {name.partition("/")[0] for name in files_in(service)} == {"jobs"}
    crash(other)  # the gate holds the jobs of both
    gate.open()
    third = start_service()
    first, second = (wait_for_job(third, job.id) for job in (running, waiting))
    assert (first.state, first.result.name) == ("done", "running_sr.png")
    assert (second.state, second.result.name) == ("done", "waiting_sr.jpg")
    assert second.created == waiting.created


def test_a_job_that_ends_the_process_again_and_again_fails(start_service, gate):
    service = start_service()
    job = submit_job(service)
    gate.wait()
    for number in range(2, jobs_module._MOST_ATTEMPTS + 1):
        crash(service)
        service = start_service()
        gate.wait(number)
        assert service.find_job(job.id).state == "running"
    crash(service)
    service = start_service()
    found = service.find_job(job.id)
    assert (found.state, found.error.status) == ("failed", 500)
    assert f"{jobs_module._MOST_ATTEMPTS} times" in found.error.detail
    assert len(service._queue) == 0


def test_a_graceful_stop_is_not_an_attempt(start_service, gate):
    service = start_service(tasks_per_device=1)
    crashed = submit_job(service)
    gate.wait()
    waiting = submit_job(service)
    crash(service)
    service = start_service(tasks_per_device=1)
    gate.wait(2)
    # What may have ended the process comes last.
    states = [service.find_job(job.id).state for job in (waiting, crashed)]
    assert states == ["running", "queued"]
    service.stop(0.01)
    attempts = {job_id: attempts for job_id, _, attempts in rows_of(service)}
    assert attempts == {crashed.id: 1, waiting.id: 0}


def change_row(service, **columns):
    """Change the only row of a service that has been closed."""
    with sqlite3.connect(service.settings.folder / "jobs.sqlite") as database:
        for name, value in columns.items():
            database.execute(f"UPDATE jobs SET {name} = ?", (value,))
    database.close()


def stored_job(start_service, gate):
    """A job of a service that crashed while it computed it."""
    service = start_service()
    job = submit_job(service)
    gate.wait()
    crash(service)
    return service, job


@pytest.mark.parametrize(
    "request_",
    [{"model": "no longer offered"}, {"strength": 7}, {"removed_option": True}],
    ids=lambda request: next(iter(request)),
)
def test_a_stored_job_that_is_no_longer_understood_fails(start_service, gate, request_):
    service, job = stored_job(start_service, gate)
    change_row(service, request=json.dumps(request_))
    found = start_service().find_job(job.id)
    assert (found.state, found.error.status) == ("failed", 422)


def test_a_stored_job_whose_file_was_deleted_fails(start_service, gate):
    service, job = stored_job(start_service, gate)
    shutil.rmtree(service.settings.folder / "jobs" / job.id)
    gate.open()
    found = wait_for_job(start_service(), job.id)
    assert (found.state, found.error.status) == ("failed", 422)
    assert "no such file" in found.error.detail


def test_a_stored_job_keeps_the_limit_of_pixels_at_which_it_was_accepted(start_service, gate):
    _, job = stored_job(start_service, gate)
    gate.open()
    found = wait_for_job(start_service(max_pixels=10), job.id)
    assert found.state in ("done", "failed")  # reported, in any case
    assert found.error is None or "megapixels" in found.error.detail or found.error.status == 422


# --- The folder and its database ------------------------------------------------------------------


def test_a_folder_has_one_service(start_service):
    service = start_service()
    with pytest.raises(ConfigError, match="another torch-sr serve uses this folder; stop it"):
        start_service()
    service.stop(0)
    service.close()
    start_service()


def database_of(folder):
    folder.mkdir(exist_ok=True)
    return folder / "jobs.sqlite"


def test_a_newer_database_is_refused(start_service, tmp_path):
    JobStore(database_of(tmp_path / "serve")).close()
    with sqlite3.connect(tmp_path / "serve/jobs.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    for _ in range(2):  # the folder is free again after the first
        with pytest.raises(ConfigError, match=r"newer torch-sr; update, or choose another folder"):
            start_service()


def test_another_file_in_place_of_the_database_is_refused(start_service, tmp_path):
    database_of(tmp_path / "serve").write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match="choose another folder"):
        start_service()


def test_a_damaged_database_is_refused(start_service, tmp_path):
    path = database_of(tmp_path / "serve")
    service = start_service()
    for number in range(40):
        submit_job(service, key=str(number) * 90)
    wait_until(lambda: not service._store.unfinished())
    service.stop(0)
    service.close()
    data = bytearray(path.read_bytes())
    assert len(data) > 3 * 4096
    for page in range(4096, len(data), 4096):
        data[page : page + 2000] = b"\xa5" * 2000
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="choose another folder"):
        start_service()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(start_service, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="check the permissions"):
        start_service(tmp_path / "closed")


def test_a_file_in_place_of_the_folder_is_refused(start_service, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="file"):
        start_service(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_files_can_be_read_by_their_owner_only(start_service):
    service = start_service()
    path = upload(service)
    assert path.stat().st_mode & 0o077 == 0
    assert service.settings.folder.stat().st_mode & 0o077 == 0
    service.drop_upload(path)


# --- Killed processes -----------------------------------------------------------------------------


def serve_until_killed(folder, pair_folder, number, seconds):
    """Accept jobs, write each accepted id, and kill this process after a while."""
    from torch_sr.models import weights

    pair = weights.Pair("compact-x4", "compact-x4-real", 0.7)
    for name in (pair.faithful, pair.restoring):
        weights.SHIPPED[name] = str(pair_folder / f"{name}.safetensors")
    weights.PAIRS = (pair,)
    service = Service(make_settings(folder))
    service.start()
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        job = submit_job(service, f"{number}.png", key=f"key-{number}")
        print(number, job.id, flush=True)
        number += 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_no_accepted_job_is_lost_by_kill(start_service, tmp_path):
    accepted = {}
    chance = random.Random(18)
    for _ in range(3):
        seconds = chance.uniform(0.02, 0.3)
        command = [sys.executable, __file__, tmp_path / "serve", tmp_path / "pair"]
        command += [len(accepted) and max(map(int, accepted)) + 1, seconds]
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        lines = [line.split() for line in done.stdout.splitlines() if line.count(" ") == 1]
        accepted |= {number: job_id for number, job_id in lines if len(job_id) == 22}
    assert accepted
    service = start_service(tasks_per_device=4)
    for number, job_id in accepted.items():
        job = wait_for_job(service, job_id)
        assert job.state == "done", job.error
        assert (job.name, job.result.exists()) == (f"{number}.png", True)
        assert submit_job(service, f"{number}.png", key=f"key-{number}").id == job_id
    assert {path.name for path in (tmp_path / "serve/jobs").iterdir()} == {
        job_id for job_id, _, _ in rows_of(service)
    }


if __name__ == "__main__":
    serve_until_killed(*map(Path, sys.argv[1:3]), int(sys.argv[3]), float(sys.argv[4]))
