"""The service on a cluster: replicas that end, in this process and with Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from live_service import save_tiny_model
from serving_kit import (
    Gate,
    call_app,
    files_in,
    image_bytes,
    make_settings,
    start_service,
    submit,
    submit_job,
    wait_for_job,
    wait_until,
)

from torch_sr import Upscaler
from torch_sr.cli.serve.application import read_options
from torch_sr.cli.serve.command import make_settings as settings_of
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.errors import ConfigError
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.loading import ModelChoice, choose_model, load
from torch_sr.serving.cluster import computer as computer_module
from torch_sr.serving.cluster import replica as replica_module
from torch_sr.serving.cluster.computer import ClusterComputer, ReplicaEndedError
from torch_sr.serving.cluster.messages import Done, Order
from torch_sr.serving.cluster.replica import Replica
from torch_sr.serving.errors import RequestError
from torch_sr.serving.service import Service
from torch_sr.serving.tasks import StoppedError, Work

__all__ = ["start_service"]  # a fixture
TOKEN = "a-token-of-many-characters"
CHOICE = ModelChoice("compact-x4", 0.7)


@pytest.fixture(autouse=True)
def scratch(monkeypatch, tmp_path):
    """The folder for temporary files of replicas."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def make_replica(pair, tmp_path):
    replicas = []

    def make(**changes):
        changes.setdefault("choice", CHOICE)
        kept = {name: changes.pop(name) for name in ("choice", "version") if name in changes}
        replicas.append(Replica(make_settings(tmp_path, **changes), **kept))
        return replicas[-1]

    yield make
    for replica in replicas:
        replica.close()


def order(source="a.png", **changes):
    values = {"pixels": 64, "options": BatchOptions(existing="overwrite"), "choice": CHOICE}
    return Order(source, "a_sr.png", **{"tta": False, **values, **changes})


def ask(replica, *arguments, progress=False):
    """All messages of a replica; without the progress, of which slow machines report more."""

    async def collect():
        return [
            message
            async for message in replica.compute(*arguments)
            if progress or not isinstance(message, float)
        ]

    return asyncio.run(collect())


def expected(folder, content, **options):
    """What ``torch-sr upscale`` writes."""
    source, target = folder / "one.png", folder / "one_sr.png"
    source.write_bytes(content)
    upscaler = Upscaler(CHOICE.model, strength=CHOICE.strength, device="cpu", threads=1)
    upscaler.upscale_file(source, target, overwrite=True, **options)
    return target.read_bytes()


# --- A replica ------------------------------------------------------------------------------------


def test_the_bytes_are_those_of_one_machine(make_replica, tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(replica_module, "BYTES_PER_PART", 100)
    content = image_bytes(20, 30)
    *parts, done = ask(make_replica(), order(), [content[:50], content[50:]])
    assert b"".join(parts) == expected(tmp_path, content)
    assert len(parts) > 3
    assert done == Done(())
    (folder,) = scratch.iterdir()
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_progress_is_reported_from_time_to_time(make_replica, monkeypatch):
    monkeypatch.setattr(replica_module, "_SECONDS_BETWEEN_REPORTS", -1.0)
    replica = make_replica(tile_size=16)
    messages = ask(replica, order(), [image_bytes(40, 40)], progress=True)
    parts = [message for message in messages if isinstance(message, float)]
    assert parts == sorted(parts)
    assert parts[-1] == 1
    assert len(parts) >= 4


def test_errors_are_those_of_one_machine(make_replica, scratch, monkeypatch, caplog):
    replica = make_replica()
    (error,) = ask(replica, order(), [image_bytes()[:60]])
    assert (error.status, error.field, error.value) == (422, "image", "a.png")
    assert str(scratch) not in str(error)
    monkeypatch.setattr("torch_sr.serving.computing.write_result", lambda *_: 1 / 0)
    (error,) = ask(replica, order(), [image_bytes()])
    assert error.status == 500
    assert "ZeroDivisionError" in caplog.text


def test_closing_the_answer_stops_after_the_tile(make_replica, scratch, monkeypatch):
    gate = Gate(monkeypatch)
    replica = make_replica()
    monkeypatch.setattr(replica_module, "_SECONDS_BETWEEN_REPORTS", 0.0)

    async def begin():
        answer = replica.compute(order(), [image_bytes()])
        assert await answer.__anext__() == 0.25  # it is held
        await answer.aclose()
        wait_until(lambda: [path.name for path in next(scratch.iterdir()).iterdir()] == ["lock"])

    asyncio.run(begin())
    assert gate.held == 1


def test_a_task_that_nobody_stops_ends_after_the_time_limit(make_replica, monkeypatch):
    Gate(monkeypatch)
    (error,) = ask(make_replica(time_limit=1e-9), order(), [image_bytes()])
    assert isinstance(error, RequestError)


def test_a_replica_of_another_version_does_not_start(make_replica):
    with pytest.raises(ConfigError, match="install the same"):
        make_replica(version="0")


def test_a_model_is_sent_to_machines_without_it(make_replica, tmp_path):
    model = load(save_tiny_model(tmp_path))
    elsewhere = replace(order(), choice=ModelChoice("elsewhere.safetensors"))
    replica = make_replica()
    (error,) = ask(replica, elsewhere, [image_bytes()])
    assert isinstance(error, RequestError)
    *parts, _ = ask(replica, elsewhere, [image_bytes()], model)
    Upscaler(model, device="cpu", threads=1).upscale_file(
        _saved(tmp_path / "a.png", image_bytes()), tmp_path / "a_sr.png"
    )
    assert b"".join(parts) == (tmp_path / "a_sr.png").read_bytes()


def _saved(path, content):
    path.write_bytes(content)
    return path


def test_files_of_killed_replicas_are_deleted(make_replica, scratch):
    for name, age in (("torch-sr-replica-old", 100), ("torch-sr-replica-new", 0), ("other", 100)):
        (scratch / name).mkdir()
        (scratch / name / "a.png").touch()
        os.utime(scratch / name, (time.time() - age,) * 2)
    first = make_replica()
    os.utime(first._folder, (0, 0))  # it is old, but it is used
    make_replica()
    left = {path.name for path in scratch.iterdir()}
    assert left >= {"torch-sr-replica-new", "other", first._folder.name}
    assert "torch-sr-replica-old" not in left


# --- The computer that sends tasks to replicas ----------------------------------------------------


class Replicas:
    """A replica in this process in place of a cluster, whose answers can be broken.

    Attributes:
        ends: called with each order's source before its last message; may raise.
    """

    def __init__(self, replica, ends=lambda name: None):
        self.tasks_at_once = 2
        self.sent = []
        self.cancelled = 0
        self.stopped = False
        self.ends = ends
        self._replica = replica

    def start(self, choice):
        assert choice == choose_model(None)

    def stop(self):
        self.stopped = True

    def send(self, work):
        self.sent.append(work.job.source.name)
        return _Answer(self, Order.of_work(work), [work.job.source.read_bytes()])


class _Answer:
    def __init__(self, replicas, order, source):
        self._replicas, self._order, self._source = replicas, order, source
        self._loop = asyncio.new_event_loop()

    def __iter__(self):
        answer = self._replicas._replica.compute(self._order, self._source)
        try:
            while True:
                try:
                    message = self._loop.run_until_complete(answer.__anext__())
                except StopAsyncIteration:
                    return
                if isinstance(message, Done):
                    self._replicas.ends(self._order.source)
                yield message
        finally:
            self._loop.run_until_complete(answer.aclose())
            self._loop.close()

    def cancel(self):
        self._replicas.cancelled += 1


@pytest.fixture
def start_on_replicas(make_replica, tmp_path, monkeypatch):
    """Start services whose tasks a replica computes."""
    monkeypatch.setattr(computer_module, "_LONGEST_PAUSE", 0.01)
    services = []

    def start(ends=lambda name: None, **changes):
        replicas = Replicas(make_replica(), ends)

        def use_replicas(_, metrics):
            return [ClusterComputer(replicas, metrics.count_repeat)]

        service = Service(make_settings(tmp_path / "serve", **changes), use_replicas)
        services.append(service)
        service.start()
        return service, replicas

    yield start
    for service in services:
        service.stop(0)
        service.close()


def test_a_service_computes_on_replicas(start_on_replicas, tmp_path):
    service, replicas = start_on_replicas()
    task = submit(service, "holiday.png", image_bytes(9, 12))
    assert task.wait(10)
    assert (task.state, task.notes) == ("done", ())
    assert task.result.read_bytes() == expected(tmp_path, image_bytes(9, 12))
    job = wait_for_job(service, submit_job(service, content=image_bytes(9, 12)).id)
    assert job.result.read_bytes() == task.result.read_bytes()
    service.discard(task)
    service.stop()
    service.close()
    assert replicas.stopped
    assert replicas.sent == ["holiday.png", "a.png"]


def test_a_task_whose_replica_ends_is_computed_again(start_on_replicas, tmp_path):
    ends = iter([True, True, False])

    def end(_):
        if next(ends):
            raise ReplicaEndedError("killed")

    service, replicas = start_on_replicas(end)
    task = submit(service)
    assert task.wait(10)
    assert task.state == "done"
    assert task.result.read_bytes() == expected(tmp_path, image_bytes())
    assert len(replicas.sent) == 3
    assert b"torch_sr_repeats_total 2.0" in service.metrics.to_text()
    assert sorted(path.name for path in task.folder.iterdir()) == ["a.png", "a_sr.png"]


def test_a_task_that_ends_every_replica_fails_and_no_other_with_it(start_on_replicas, monkeypatch):
    """Each replica that computes the poisonous file ends, and all that it computes with it."""
    lock, running, killed = threading.Condition(), {}, set()

    def end(name):
        with lock:
            own = running[name] = object()
            lock.wait(0.05)  # so that others join
            if name == "poison.png":
                killed.update(running.values())
            del running[name]
            if own in killed:
                raise ReplicaEndedError("killed")

    service, replicas = start_on_replicas(end)
    tasks = [submit(service, name) for name in ("poison.png", *(f"{n}.png" for n in range(5)))]
    assert all(task.wait(20) for task in tasks)
    poison, *others = tasks
    assert (poison.state, poison.error.status) == ("failed", 500)
    assert "5 servers ended" in poison.error.detail
    assert [task.state for task in others] == ["done"] * 5
    assert replicas.sent.count("poison.png") == 5


def test_suspected_tasks_are_repeated_one_at_a_time(start_on_replicas):
    inside, most, attempts = set(), [], {}

    def end(name):
        attempts[name] = attempts.get(name, 0) + 1
        if attempts[name] > 2:
            inside.add(name)
            most.append(len(inside))
            time.sleep(0.02)
            inside.discard(name)
        if attempts[name] < 4:
            raise ReplicaEndedError("killed")

    service, _ = start_on_replicas(end)
    tasks = [submit(service, f"{n}.png") for n in range(4)]
    assert all(task.wait(20) and task.state == "done" for task in tasks)
    assert set(most) == {1}


def test_a_cancelled_task_ends_though_its_replica_is_silent(start_on_replicas, monkeypatch):
    monkeypatch.setattr(computer_module, "_SECONDS_BETWEEN_CHECKS", 0.02)
    silence = threading.Event()
    service, replicas = start_on_replicas(lambda _: silence.wait(10) and None)
    try:
        task = submit(service)
        wait_until(lambda: replicas.sent)
        task.cancel()
        assert task.wait(5)
        assert task.state == "cancelled"
        assert replicas.cancelled == 1
        assert "a_sr.png" not in str(files_in(service))
    finally:
        silence.set()


def test_a_task_takes_no_longer_than_the_time_limit(start_on_replicas, monkeypatch):
    monkeypatch.setattr(computer_module, "_SECONDS_BETWEEN_CHECKS", 0.02)
    silence = threading.Event()
    service, _ = start_on_replicas(lambda _: silence.wait(10) and None, time_limit=0.2)
    try:
        task = submit(service)
        assert task.wait(5)
        assert task.error.status == 504
    finally:
        silence.set()


def test_a_refusal_of_a_replica_is_that_of_the_service(start_on_replicas, start_service, tmp_path):
    service, replicas = start_on_replicas()
    local = start_service(tmp_path / "local")
    damaged = image_bytes(30, 30)[:600]
    tasks = [submit(each, "b.png", damaged) for each in (service, local)]
    assert all(task.wait(10) and task.state == "failed" for task in tasks)
    errors = [task.error.to_dict() for task in tasks]
    details = [error.pop("detail").partition(" (")[0] for error in errors]  # libvips' own varies
    assert errors[0] == errors[1]
    assert details[0] == details[1]
    assert len(replicas.sent) == 1


def test_an_error_of_our_own_is_not_repeated(start_on_replicas, caplog):
    service, replicas = start_on_replicas(lambda _: 1 / 0)
    task = submit(service)
    assert task.wait(10)
    assert task.error.status == 500
    assert len(replicas.sent) == 1
    assert "ZeroDivisionError" in caplog.text


def test_waiting_for_another_suspect_can_be_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(computer_module, "_SECONDS_BETWEEN_CHECKS", 0.01)

    class Gone(Replicas):
        def send(self, work):
            raise ReplicaEndedError("gone")

    computer = ClusterComputer(Gone(None))
    computer._suspected.acquire()

    def stop(_):
        raise StoppedError

    work = Work(Job(tmp_path / "a.png", tmp_path / "b.png"), BatchOptions(), CHOICE)
    with pytest.raises(StoppedError):
        computer.compute(work, stop)


def test_messages_survive_the_way(tmp_path):
    pickle = pytest.importorskip("ray.cloudpickle")
    error = RequestError("no", status=503, field="f", value=1, remedy="later", retry_after=3)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.to_dict(), copy.retry_after) == (str(error), error.to_dict(), 3)
    assert pickle.loads(pickle.dumps(order())) == order()


# --- The ingress, without Ray's processes --------------------------------------------------------


class Handle:
    """A replica in this process in place of a handle of Ray Serve.

    Attributes:
        errors: that the next answers end with.
    """

    def __init__(self, replica):
        self.errors = []
        self.sent = []
        self._replica = replica

    def options(self, *, method_name, stream):
        assert (method_name, stream) == ("compute", True)
        return self

    def remote(self, order, parts, model):
        self.sent.append((order.source, model))
        return _Generator(self, order, parts)


class _Generator:
    def __init__(self, handle, order, parts):
        self._handle, self._order, self._parts = handle, order, parts

    def __iter__(self):
        if self._handle.errors:
            raise self._handle.errors.pop(0)
        yield from ask(self._handle._replica, self._order, self._parts)

    def cancel(self):
        pass


@pytest.fixture
def handle(make_replica):
    pytest.importorskip("ray.serve", reason="needs the extra cluster")
    return Handle(make_replica())


@pytest.fixture
def ingress(handle, tmp_path, monkeypatch):
    from torch_sr.serving.cluster.ingress import Ingress

    monkeypatch.setenv("TORCH_SR_TOKEN", TOKEN)
    settings = make_settings(tmp_path / "serve")
    access = {"token": None, "no_token": False, "hosts": (), "page": False}
    return Ingress(settings, handle, 2, **access, grace=1)


def post(ingress, content, token=TOKEN):
    headers = [("content-type", "image/png"), ("authorization", f"Bearer {token}")]
    app = ingress.__serve_build_asgi_app__()
    return call_app(app, "/v1/upscale", content, headers=headers)


def test_the_ingress_answers_as_the_service_does(ingress, handle, tmp_path):
    answer = post(ingress, image_bytes(9, 12))
    assert (answer.status, answer.body) == (200, expected(tmp_path, image_bytes(9, 12)))
    assert post(ingress, image_bytes(), token="wrong").status == 401
    assert handle.sent == [("image.png", None)]
    ingress.check_health()


def test_the_ingress_needs_a_token(handle, tmp_path, monkeypatch):
    from torch_sr.serving.cluster.ingress import Ingress

    monkeypatch.setenv("TORCH_SR_TOKEN", "short")
    access = {"token": None, "no_token": False, "hosts": (), "page": False}
    with pytest.raises(ConfigError, match="set TORCH_SR_TOKEN to at least 16 characters"):
        Ingress(make_settings(tmp_path / "serve"), handle, 2, **access, grace=1)


def test_a_fault_ends_the_ingress(ingress, monkeypatch):
    monkeypatch.setattr(ingress._service._workers[0]._threads[0], "is_alive", lambda: False)
    with pytest.raises(RuntimeError, match="a thread has ended"):
        ingress.check_health()


def test_the_end_of_the_ingress_releases_the_folder(ingress, handle, tmp_path):
    ingress.__del__()
    Service(make_settings(tmp_path / "serve")).close()


def test_only_lost_replicas_are_tried_again(ingress, handle, tmp_path):
    from ray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError
    from ray.serve.exceptions import RayServeException

    handle.errors = [ActorDiedError(), TaskCancelledError(), RayServeException("none is left")]
    assert post(ingress, image_bytes()).status == 200
    assert len(handle.sent) == 4
    handle.errors = [RayTaskError("compute", "a traceback", ValueError("a fault"))]
    assert post(ingress, image_bytes()).status == 500
    assert len(handle.sent) == 5


# --- The application of Ray Serve -----------------------------------------------------------------


def test_arguments_of_the_application_are_options_of_the_command():
    options = read_options(
        {"folder": "/data", "max-upload": "5M", "ray-workers": "1:4", "ray-gpus": 0.5, "queue": 9}
    )
    assert options.folder == Path("/data")
    assert (options.limits.max_upload, options.limits.queue) == (5_000_000, 9)
    assert (options.cluster.workers, options.cluster.worker_gpus) == ((1, 4), 0.5)
    assert (
        settings_of(
            replace(options, cluster=ClusterSettings(worker_cpus=3.0)), on_cluster=True
        ).threads
        == 3
    )


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"fodler": "/data"}, "fodler is not an option"),
        ({"port": 80}, "port is not an option"),
        ({"max-upload": "much"}, "max-upload: much: 'much' is not a size"),
        ({"queue": "many"}, "queue: many: .* integer"),
        ({"queue": 0}, "queue: 0: .* greater than or equal to 1"),
    ],
)
def test_wrong_arguments_are_named(args, words):
    with pytest.raises(ConfigError, match=words):
        read_options(args)


# --- With Ray -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """A service with two replicas on a Ray of this machine."""
    pytest.importorskip("ray.serve", reason="needs the extra cluster")
    from torch_sr.serving.cluster.deploy import use_cluster

    folder = tmp_path_factory.mktemp("ray")
    model = str(save_tiny_model(folder))
    settings = make_settings(folder / "serve", models=(model,))
    service = Service(settings, use_cluster(ClusterSettings("local", (2, 2), 0.5)))
    try:
        service.start()
        yield service
        service.stop(5)
    finally:
        service.close()


@pytest.mark.slow
def test_replicas_that_are_killed_lose_nothing(on_ray, tmp_path):
    import psutil

    upscaler = Upscaler(on_ray.settings.models[0], device="cpu", threads=1)
    contents = [image_bytes(150 + n, 150, seed=n) for n in range(4)]
    wanted = []
    for number, content in enumerate(contents):
        source, target = tmp_path / f"{number}.png", tmp_path / f"{number}_sr.png"
        source.write_bytes(content)
        wanted.append(upscaler.upscale_file(source, target).read_bytes())

    def replicas():
        found = psutil.Process().children(recursive=True)
        return [each for each in found if "ServeReplica" in " ".join(each.cmdline())]

    def upscale(number):
        task = submit(on_ray, "a.png", contents[number % 4])
        assert task.wait(300)  # Ray starts slowly where processors are shared
        assert task.state == "done", task.error
        return task.result.read_bytes() == wanted[number % 4]

    with ThreadPoolExecutor(4) as pool:
        equal = [pool.submit(upscale, number) for number in range(24)]
        wait_until(lambda: sum(each.done() for each in equal) > 3, 300)
        replicas()[0].send_signal(signal.SIGKILL)
        assert all(each.result() for each in equal)
    refused = submit(on_ray, "b.png", image_bytes(30, 30)[:600])
    assert refused.wait(60)
    assert (refused.error.status, refused.error.value) == (422, "b.png")
