"""The pipeline on a real Ray cluster of two machines, which are processes of this one."""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from test_output import validate

ray = pytest.importorskip("ray")

from torch_sr.cluster.listing import Listing  # noqa: E402
from torch_sr.cluster.run import upscale_on_ray  # noqa: E402
from torch_sr.cluster.settings import ClusterSettings  # noqa: E402
from torch_sr.cluster.workers import WorkerSettings  # noqa: E402
from torch_sr.images import Image, write_image  # noqa: E402
from torch_sr.inference.files.options import BatchOptions  # noqa: E402

UPSCALER = {"model": "compact-x4", "device": "cpu", "threads": 1}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import tests
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="critical")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


class Fatal:
    """An engine that ends its process when it sees a white image.

    Args:
        engine: computes the others.
    """

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def __call__(self, lr):
        if lr.min() == 1:
            os.kill(os.getpid(), 9)
        return self._engine(lr)


@pytest.mark.slow
def test_a_lost_machine_and_a_fatal_image(cluster, tmp_path, save_photo, run):
    for number in range(24):
        save_photo(tmp_path / "in" / f"{number:02}.png", 24, 32, seed=number)
    code, _, err = run("upscale", tmp_path / "in", "-o", tmp_path / "one", "-m", "compact-x4")
    assert code == 0, err
    write_image(tmp_path / "in" / "05.png", Image.from_array(np.full((24, 32, 3), 255, np.uint8)))
    lost = cluster.add_node(num_cpus=1)

    rows = []
    settings = WorkerSettings(UPSCALER | {"wrap_engine": Fatal}, BatchOptions(), most_attempts=1)
    items = Listing([(tmp_path / "in").as_uri()], str(tmp_path / "out"))
    work = upscale_on_ray(items, settings, ClusterSettings("auto", (2, 2)))
    rows.append(next(work))
    thread = threading.Thread(target=partial(rows.extend, work))
    thread.start()
    cluster.remove_node(lost, allow_graceful=False)
    thread.join(120)
    assert not thread.is_alive()

    assert sorted(Path(row["target"]).name for row in rows) == [f"{n:02}_sr.png" for n in range(24)]
    (failed,) = [row for row in rows if row["status"] != "done"]
    assert "05.png: its worker ended" in failed["message"]
    for path in (tmp_path / "one").iterdir():
        other = tmp_path / "out" / path.name
        assert path.name == "05_sr.png" or path.read_bytes() == other.read_bytes()


def test_the_command(cluster, tmp_path, save_photo, run):
    for number in range(3):
        save_photo(tmp_path / "in" / f"{number}.png", 24, 32, seed=number)
    (tmp_path / "in" / "broken.png").write_bytes(b"broken")
    code, out, err = run(
        "upscale", tmp_path / "in", "-o", tmp_path / "out", "-m", "compact-x4", "--ray", "auto",
        "--json",
    )  # fmt: skip
    assert code == 1
    *files, summary = map(json.loads, out.splitlines())
    for row in (*files, summary):
        validate(row, "upscale")
    assert sorted(row["status"] for row in files) == ["done", "done", "done", "failed"]
    assert summary["summary"]["done"] == 3
    assert summary["summary"]["unfinished"] == 0
    assert "broken.png: is not an image" in err
