"""Items of a cluster: listed as a stream, computed once, written whole or not at all."""

from __future__ import annotations

import itertools
import json
import shutil

import pytest

from torch_sr.cluster import places, workers
from torch_sr.cluster.ledger import Ledger
from torch_sr.cluster.listing import list_items
from torch_sr.cluster.places import Place, is_url
from torch_sr.cluster.settings import parse_workers
from torch_sr.cluster.workers import Worker, WorkerSettings
from torch_sr.errors import ConfigError, ImageError
from torch_sr.inference.files.options import BatchOptions


@pytest.fixture
def folder(tmp_path, save_photo):
    """Three images, one of them in a sub-folder, and a file that is not an image."""
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        save_photo(tmp_path / "in" / name, 12 + number, 16, seed=number)
    (tmp_path / "in" / "notes.txt").write_text("text")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path


def make_worker(ledger, **options):
    settings = WorkerSettings(
        {"model": "compact-x4", "device": "cpu", "threads": 1}, BatchOptions(**options)
    )
    return Worker(settings, ledger.begin, ledger.finish)


def items_of(folder, out="out"):
    return list(list_items([(folder / "in").as_uri()], (folder / out).as_uri()))


# Places and lists


def test_lists_images_below_a_url_in_order(folder):
    names = [item.source.rpartition("/in/")[2] for item in items_of(folder)]
    assert names == ["a.png", "b.png", "deep/c.png"]
    assert items_of(folder)[2].target == (folder / "out" / "deep" / "c_sr.png").as_uri()
    assert all(item.num_bytes > 0 for item in items_of(folder))


def test_a_list_is_read_only_as_far_as_it_is_needed(folder, monkeypatch):
    def endless(_):
        for number in itertools.count():
            yield f"{number}.png", 1

    monkeypatch.setattr(Place, "files", endless)
    items = list_items(["s3://bucket/in"], "s3://bucket/out")
    assert [item.target for item in itertools.islice(items, 2)] == [
        "s3://bucket/out/0_sr.png",
        "s3://bucket/out/1_sr.png",
    ]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no images or videos there"):
        list(list_items([tmp_path.as_uri()], "file:///out"))
    with pytest.raises(ImageError, match="missing"):
        list(list_items([(tmp_path / "missing").as_uri()], "file:///out"))


@pytest.mark.parametrize(
    ("url", "name", "joined"),
    [
        ("s3://bucket/a/b.png", "b.png", "s3://bucket/a/b.png/c.png"),
        ("s3://bucket/a?region=eu-1", "a", "s3://bucket/a/c.png?region=eu-1"),
        ("photos/a", "a", "photos/a/c.png"),
    ],
)
def test_places(url, name, joined):
    assert Place(url).name == name
    assert Place(url).join("c.png").url == joined
    assert is_url(url) == url.startswith("s3")


def test_a_file_of_a_store_is_whole_or_missing(folder, monkeypatch):
    pytest.importorskip("pyarrow")
    place = Place("memory://bucket/a.png")
    source = folder / "in" / "a.png"
    place.upload(source)
    assert place.exists()
    place.download(folder / "copy.png")
    assert (folder / "copy.png").read_bytes() == source.read_bytes()

    def fail(from_file, to_file, *_):
        to_file.write(from_file.read(10))
        raise OSError("the network is gone")

    monkeypatch.setattr(places.shutil, "copyfileobj", fail)
    other = Place("memory://bucket/b.png")
    with pytest.raises(ImageError, match=r"b\.png: the network is gone"):
        other.upload(source)
    assert not other.exists()


# Workers


def test_results_are_those_of_one_machine(folder, pair, run):
    rows = list(make_worker(Ledger(3)).process(items_of(folder)))
    assert [row["status"] for row in rows] == ["done"] * 3
    code, _, err = run(
        "upscale", folder / "in", "-o", folder / "one", "-m", "compact-x4", "--device", "cpu"
    )
    assert code == 0, err
    for name in ("a_sr.png", "b_sr.png", "deep/c_sr.png"):
        assert (folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes()


def test_results_in_a_store_are_the_same(folder, pair):
    pytest.importorskip("pyarrow")
    store = list(list_items([(folder / "in").as_uri()], "memory://results"))
    assert {row["status"] for row in make_worker(Ledger(3)).process(store)} == {"done"}
    list(make_worker(Ledger(3)).process(items_of(folder)))
    for item, local in zip(store, items_of(folder), strict=True):
        Place(item.target).download(folder / "copy.png")
        assert (folder / "copy.png").read_bytes() == Place(local.target).path.read_bytes()


def test_what_was_finished_is_not_computed_again(folder, pair):
    ledger = Ledger(3)
    first = list(make_worker(ledger).process(items_of(folder)))
    shutil.rmtree(folder / "out")
    assert list(make_worker(ledger).process(items_of(folder))) == first
    assert not (folder / "out").exists()


def test_an_item_whose_workers_end_is_given_up(folder, pair):
    ledger = Ledger(2)
    item = items_of(folder)[0]
    for _ in range(2):  # two workers have started it, and were killed
        ledger.begin(item.source)
    settings = WorkerSettings({"model": "compact-x4", "device": "cpu"}, BatchOptions(), 2)
    (row,) = Worker(settings, ledger.begin, ledger.finish).process([item])
    assert row["status"] == "failed"
    assert "its worker ended 2 times" in row["message"]


def test_a_result_of_a_worker_that_ended_is_replaced(folder, pair):
    ledger = Ledger(3)
    item = items_of(folder)[0]
    ledger.begin(item.source)
    target = Place(item.target).path
    target.parent.mkdir()
    target.write_bytes(b"of the worker that has ended")
    (row,) = make_worker(ledger).process([item])
    assert row["status"] == "done"
    assert target.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("existing", "status"), [("refuse", "failed"), ("skip", "skipped"), ("overwrite", "done")]
)
@pytest.mark.parametrize("out", ["file", "memory"])
def test_existing_results(folder, pair, existing, status, out):
    if out == "memory":
        pytest.importorskip("pyarrow")
    url = (folder / "out").as_uri() if out == "file" else f"memory://{existing}"
    item = next(list_items([(folder / "in").as_uri()], url))
    Place(item.target).upload(folder / "in" / "b.png")
    (row,) = make_worker(Ledger(3), existing=existing).process([item])
    assert row["status"] == status
    json.dumps(row)


def test_a_broken_file_does_not_stop_the_others(folder, pair):
    (folder / "in" / "b.png").write_bytes(b"broken")
    rows = list(make_worker(Ledger(3)).process(items_of(folder)))
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "b.png" in rows[1]["message"]


def test_a_store_that_fails_once_is_tried_again(folder, pair, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(workers, "_WAIT", 0.0)
    (item,) = itertools.islice(list_items([(folder / "in").as_uri()], "memory://again"), 1)
    upload, failures = Place.upload, [ImageError("busy")]

    def fail_once(place, source):
        if failures:
            raise failures.pop()
        upload(place, source)

    monkeypatch.setattr(Place, "upload", fail_once)
    (row,) = make_worker(Ledger(3)).process([item])
    assert row["status"] == "done"


@pytest.mark.parametrize("text", ["0", "3:2", "many", "1:", "-1"])
def test_a_wrong_number_of_workers(text):
    with pytest.raises(ConfigError, match="is not a number of workers"):
        parse_workers(text)
