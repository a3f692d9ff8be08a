"""Items of a cluster: listed as a stream, computed once, written whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import shutil

import pytest

from torch_sr.cli.upscale.cluster_report import ClusterReport
from torch_sr.cluster import folders, places, stores
from torch_sr.cluster.folders import Folder
from torch_sr.cluster.ledger import Entry, Ledger
from torch_sr.cluster.listing import Item, Listing, group
from torch_sr.cluster.places import Place, is_url
from torch_sr.cluster.settings import parse_workers
from torch_sr.cluster.stores import StoreError
from torch_sr.cluster.workers import Worker, WorkerSettings
from torch_sr.errors import ConfigError, ImageError
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.sizes import target_size
from torch_sr.models.loading import ModelChoice


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
    return Worker(settings, ledger)


def items_of(folder, out="out"):
    return list(Listing([(folder / "in").as_uri()], (folder / out).as_uri()))


# Places and lists


def test_lists_images_below_a_url_in_order(folder):
    names = [item.source.rpartition("/in/")[2] for item in items_of(folder)]
    assert names == ["a.png", "b.png", "deep/c.png"]
    assert items_of(folder)[2].target == (folder / "out" / "deep" / "c_sr.png").as_uri()
    assert all(item.num_bytes > 0 for item in items_of(folder))


def test_a_list_is_read_only_as_far_as_it_is_needed(folder, monkeypatch):
    def endless(*_, **__):
        for number in itertools.count():
            yield Folder(str(number), [("a.png", 1)])

    monkeypatch.setattr(Place, "folders", endless)
    items = Listing(["s3://bucket/in"], "s3://bucket/out")
    assert [item.target for item in itertools.islice(items, 2)] == [
        "s3://bucket/out/0/a_sr.png",
        "s3://bucket/out/1/a_sr.png",
    ]


def listed(sources, out, **options):
    return {
        Place(item.source).name: item.refusal or Place(item.target).name
        for item in Listing(sources, out, **options)
    }


def test_results_in_the_folder_of_the_sources_are_not_sources(folder):
    url = (folder / "in").as_uri()
    before = listed([url], url)
    for item in Listing([url], url):
        shutil.copy(Place(item.source).path, Place(item.target).path)
    assert listed([url], url) == before


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_the_folder_of_the_results_is_not_listed(folder, scheme):
    source = f"memory://{folder.name}/in" if scheme == "memory" else (folder / "in").as_uri()
    if scheme == "memory":
        pytest.importorskip("pyarrow")
    for name in ("a.png", "deep/c.png", "deep/results/d.png", "deep/results2/e.png"):
        Place(source).join(name).upload(folder / "in" / "a.png")
    names = listed([source], Place(source).join("deep/results").url)
    assert {"a.png", "c.png", "e.png"} <= set(names)
    assert "d.png" not in names


def test_files_with_the_same_result_are_refused(folder):
    shutil.copy(folder / "in" / "a.png", folder / "in" / "a.bmp")
    url = (folder / "in").as_uri()
    found = listed([url], (folder / "out").as_uri(), file_format="png")
    assert found["a.bmp"] == "a_sr.png"
    assert "would overwrite" in found["a.png"]
    assert "a_sr.png, which is the result of" in found["a.png"]
    shutil.copy(folder / "in" / "a.png", folder / "in" / "deep" / "a.png")
    named = Listing([f"{url}/a.png", f"{url}/deep/a.png"], (folder / "out").as_uri())
    assert "would overwrite" in list(named)[1].refusal


def test_a_file_that_is_named_twice_is_listed_once(folder):
    url = (folder / "in").as_uri()
    names = [f"{url}/a.png", f"{url}/deep/../a.png", str(folder / "in" / "a.png")]
    assert len(list(Listing(names, "s3://bucket/out"))) == 1


def test_sources_are_not_overwritten(folder):
    url = (folder / "in").as_uri()
    shutil.copy(folder / "in" / "a.png", folder / "in" / "a.jpg")
    shutil.copy(folder / "in" / "a.png", folder / "in" / "a_sr.png")
    assert "which is a source" in listed([f"{url}/a.png"], url, suffix="")["a.png"]
    found = listed([f"{url}/a.png", f"{url}/a_sr.png"], url)
    assert "a_sr.png, which is a source" in found["a.png"]
    found = listed([url], url, suffix="", file_format="png")
    assert "a.png, which is a source" in found["a.jpg"]
    assert "a.png, which is a source" in found["a.png"]


@pytest.mark.parametrize("spelling", ["{url}/", "{path}", "{path}/deep/..", "{url}//"])
def test_the_folder_of_the_sources_in_another_spelling(folder, spelling):
    url = (folder / "in").as_uri()
    shutil.copy(folder / "in" / "a.png", folder / "in" / "a_sr.png")
    found = listed([url], spelling.format(url=url, path=folder / "in"))
    assert set(found) == {"a.png", "b.png", "c.png"}


def test_keys_of_stores():
    key = Place("s3://bucket/a/b?region=eu-1&endpoint_override=minio:9000").key
    assert Place("s3://bucket/a//b/?endpoint_override=minio:9000").key == key
    assert Place("s3://bucket/a/b?endpoint_override=other:9000").key != key
    assert Place("s3://bucket/a%20b").key == Place("s3://bucket/a b").key


def test_odd_entries_of_a_folder_do_not_end_the_listing(folder):
    (folder / "in" / "loop.png").symlink_to("loop.png")
    (folder / "in" / "gone.png").symlink_to("missing.png")
    (folder / "in" / os.fsdecode(b"\xff.png")).write_bytes((folder / "in" / "a.png").read_bytes())
    items = items_of(folder)
    assert len(items) == 6
    rows = make_worker(Ledger()).process(items)
    failed = [row["source"].rpartition("/")[2] for row in rows if row["status"] == "failed"]
    assert failed == ["gone.png", "loop.png"]
    assert (folder / "out" / os.fsdecode(b"\xff_sr.png")).exists()


def test_typescript_is_not_a_video(folder):
    (folder / "in" / "code.ts").write_text("let x = 1;")
    assert "code.ts" not in listed([(folder / "in").as_uri()], "s3://bucket/out")


def test_one_file_and_its_result_can_be_named(folder):
    (item,) = Listing([f"{(folder / 'in').as_uri()}/a.png"], "s3://bucket/big.webp")
    assert item.target == "s3://bucket/big.webp"


@pytest.mark.parametrize(
    ("sources", "out", "message"),
    [
        (["s3://b/photos", "s3://b/more"], "s3://b/out", "s3://b/photos: name one folder"),
        (["s3://b/a.png", "s3://b/b.png"], "s3://b/out.png", "is one file, and there are 2"),
        (["s3://b/a.png"], "s3://b/out", "leads into another folder"),
        (["s3://b/a.png"], "s3://b/out.xyz", "'.xyz' cannot be written"),
        (["s3://b/photos"], "s3://b/out.png", "is one file, and s3://b/photos a folder"),
    ],
)
def test_arguments_that_do_not_fit_together(sources, out, message):
    suffix = "/x" if "another" in message else "_sr"
    with pytest.raises(ImageError, match=message):
        list(Listing(sources, out, suffix))


def test_a_sub_folder_that_cannot_be_listed_is_a_failure(folder, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(folders.os, "scandir", refuse)
    last = items_of(folder)[-1]
    assert last.source.endswith("/deep")
    assert "Permission denied" in last.refusal
    rows = make_worker(Ledger()).process([last])
    assert rows[0]["status"] == "failed"


def test_links_that_lead_back_are_not_followed(folder):
    (folder / "in" / "deep" / "up").symlink_to(folder / "in", target_is_directory=True)
    assert len(items_of(folder)) == 3


def test_first_tasks_are_small():
    items = [Item(str(number), "", 1) for number in range(10_000)]
    sizes = [len(each) for each in group(items, 16, 10**9, workers=10)]
    assert sum(sizes) == 10_000
    assert sizes[:60] == [1] * 10 + [2] * 50
    assert max(sizes) == 16
    assert sizes == sorted(sizes[:-1]) + sizes[-1:]


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no images or videos there"):
        list(Listing([tmp_path.as_uri()], "file:///out"))
    with pytest.raises(ImageError, match="missing"):
        list(Listing([(tmp_path / "missing").as_uri()], "file:///out"))


@pytest.mark.parametrize(
    ("url", "name", "joined"),
    [
        ("s3://bucket/a/b.png", "b.png", "s3://bucket/a/b.png/c.png"),
        ("s3://bucket/a?region=eu-1", "a", "s3://bucket/a/c.png?region=eu-1"),
        ("s3://bucket/a%20b", "a b", "s3://bucket/a%20b/c.png"),
        ("photos/a", "a", "photos/a/c.png"),
        ("photos/a?b#c%20", "a?b#c%20", "photos/a?b#c%20/c.png"),
    ],
)
def test_places(url, name, joined):
    assert Place(url).name == name
    assert Place(url).join("c.png").url == joined
    assert is_url(url) == url.startswith("s3")


@pytest.mark.parametrize("name", ["a b.png", "ü.png", "100%.png", "what?.png", "#1.png", "%20.png"])
@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_names_with_special_characters(folder, scheme, name):
    if scheme == "memory" and "?" in name:
        pytest.skip("fsspec cannot list such names in memory")
    root = Place(folder.as_uri() if scheme == "file" else f"memory://{folder.name}").join("odd")
    if scheme == "memory":
        pytest.importorskip("pyarrow")
    root.join(name).upload(folder / "in" / "a.png")
    assert root.join(name).name == name
    assert [[file for file, _ in each.files] for each in root.folders()] == [[name]]


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

    monkeypatch.setattr(stores.shutil, "copyfileobj", fail)
    other = Place("memory://bucket/b.png")
    with pytest.raises(ImageError, match=r"b\.png: the network is gone"):
        other.upload(source)
    assert not other.exists()


# Workers


def test_results_are_those_of_one_machine(folder, pair, run):
    rows = list(make_worker(Ledger()).process(items_of(folder)))
    assert [row["status"] for row in rows] == ["done"] * 3
    code, _, err = run(
        "upscale", folder / "in", "-o", folder / "one", "-m", "compact-x4", "--device", "cpu"
    )
    assert code == 0, err
    for name in ("a_sr.png", "b_sr.png", "deep/c_sr.png"):
        assert (folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes()


def test_results_in_a_store_are_the_same(folder, pair):
    pytest.importorskip("pyarrow")
    store = list(Listing([(folder / "in").as_uri()], "memory://results"))
    assert {row["status"] for row in make_worker(Ledger()).process(store)} == {"done"}
    list(make_worker(Ledger()).process(items_of(folder)))
    for item, local in zip(store, items_of(folder), strict=True):
        Place(item.target).download(folder / "copy.png")
        assert (folder / "copy.png").read_bytes() == Place(local.target).path.read_bytes()


def test_what_was_finished_is_not_computed_again(folder, pair):
    ledger = Ledger()
    first = list(make_worker(ledger).process(items_of(folder)))
    shutil.rmtree(folder / "out")
    assert list(make_worker(ledger).process(items_of(folder))) == first
    assert not (folder / "out").exists()


def test_an_item_whose_workers_end_is_given_up(folder, pair):
    ledger = Ledger()
    first, second, third = items_of(folder)
    ledger.open(
        [first.source, second.source, third.source], [False] * 3
    )  # to a worker that was killed
    for _ in range(2):  # as were two that computed the second item alone
        ledger.attempt(second.source)
    settings = WorkerSettings({"model": "compact-x4", "device": "cpu"}, BatchOptions(), 2)
    rows = Worker(settings, ledger).process([first, second, third])
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "its worker ended 2 times" in rows[1]["message"]


def test_the_ledger_forgets_what_was_reported(folder, pair):
    ledger = Ledger()
    items = items_of(folder)
    make_worker(ledger).process(items)
    ledger.forget([item.source for item in items])
    assert ledger.tasks_reported() == 1
    assert ledger.open([items[0].source], [True]) == [Entry(existed=True)]


def test_a_result_of_a_worker_that_ended_is_replaced(folder, pair):
    ledger = Ledger()
    item = items_of(folder)[0]
    ledger.open([item.source], [False])
    target = Place(item.target).path
    target.parent.mkdir()
    target.write_bytes(b"of the worker that has ended")
    (row,) = make_worker(ledger).process([item])
    assert row["status"] == "done", row.get("message")
    assert target.read_bytes()[:4] == b"\x89PNG"


def test_an_older_result_is_kept_if_its_worker_ended(folder, pair):
    ledger = Ledger()
    item = items_of(folder)[0]
    Place(item.target).upload(folder / "in" / "b.png")
    ledger.open([item.source], [True])
    (row,) = make_worker(ledger).process([item])
    assert row["status"] == "failed"
    assert Place(item.target).path.read_bytes() == (folder / "in" / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("existing", "status"), [("refuse", "failed"), ("skip", "skipped"), ("overwrite", "done")]
)
@pytest.mark.parametrize("out", ["file", "memory"])
def test_existing_results(folder, pair, existing, status, out):
    if out == "memory":
        pytest.importorskip("pyarrow")
    url = (folder / "out").as_uri() if out == "file" else f"memory://{existing}"
    item = next(iter(Listing([(folder / "in").as_uri()], url)))
    Place(item.target).upload(folder / "in" / "b.png")
    (row,) = make_worker(Ledger(), existing=existing).process([item])
    assert row["status"] == status, row.get("message")
    json.dumps(row)


def test_a_broken_file_does_not_stop_the_others(folder, pair):
    (folder / "in" / "b.png").write_bytes(b"broken")
    rows = list(make_worker(Ledger()).process(items_of(folder)))
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert "b.png" in rows[1]["message"]


def test_a_result_is_kept_if_the_store_cannot_be_asked_about_it(folder, pair, monkeypatch):
    def refuse(_):
        raise ImageError("access was denied")

    monkeypatch.setattr(Place, "exists", refuse)
    (row,) = make_worker(Ledger()).process(items_of(folder)[:1])
    assert (row["status"], row["message"]) == ("failed", "access was denied")


@pytest.mark.parametrize("error", [RuntimeError("of another class"), OSError(28, "No space left")])
def test_errors_of_any_class_concern_one_file(folder, pair, monkeypatch, error):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(stores, "_WAIT", 0.0)

    def fail(*_):
        raise error

    monkeypatch.setattr(places, "read_file", fail)
    Place("memory://any/a.png").upload(folder / "in" / "a.png")
    (item,) = Listing(["memory://any"], (folder / "out").as_uri())
    (row,) = make_worker(Ledger()).process([item])
    assert row["status"] == "failed"
    assert "memory://any/a.png: " in row["message"]


def test_messages_name_places_not_temporary_files(folder, pair):
    pytest.importorskip("pyarrow")
    Place("memory://names/a.png").upload(folder / "in" / "a.png")
    (item,) = Listing(["memory://names"], "memory://results", file_format="jpg")
    size = target_size(None, 70_000, 70_000)
    (row,) = make_worker(Ledger(), size=size).process([item])
    assert row["status"] == "failed"
    assert "memory://results/a_sr.jpg" in row["message"]
    assert "torch-sr-" not in row["message"]


def test_a_store_that_fails_once_is_tried_again(folder, pair, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(stores, "_WAIT", 0.0)
    (item,) = itertools.islice(Listing([(folder / "in").as_uri()], "memory://again"), 1)
    upload, failures = Place.upload, [StoreError("busy")]

    def fail_once(place, source):
        if failures:
            raise failures.pop()
        upload(place, source)

    monkeypatch.setattr(Place, "upload", fail_once)
    (row,) = make_worker(Ledger()).process([item])
    assert row["status"] == "done", row.get("message")


@pytest.mark.parametrize("text", ["0", "3:2", "many", "1:", "-1"])
def test_a_wrong_number_of_workers(text):
    with pytest.raises(ConfigError, match="is not a number of workers"):
        parse_workers(text)


# The command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "1/2"], "leave out --shard and --compare"),
        (["--device", "cuda:0,cuda:1"], "leave out the numbers of devices"),
        (["--device", "cuda:1"], "leave out the numbers of devices"),
        (["-o", "s3://bucket/out"], "patterns need a local --out"),
        (["--ray-workers", "none"], "is not a number of workers"),
    ],
)
def test_options_that_do_not_fit_a_cluster(run, folder, options, message):
    source = folder / "in" / ("*.png" if "patterns" in message else "")
    code, _, err = run("upscale", source, "--ray", "local", *options)
    assert code == 2
    assert message in " ".join(err.replace("│", "").split())


def test_options_of_a_cluster_need_one(run, folder):
    code, _, err = run("upscale", folder / "in", "--ray-workers", "2")
    assert code == 2
    assert "need --ray" in err


def test_urls_need_a_cluster_and_a_target(run, folder):
    url = (folder / "in").as_uri()
    code, _, err = run("upscale", url)
    assert code == 2
    assert "URLs need --ray" in err
    code, _, err = run("upscale", url, "--ray", "local")
    assert code == 2
    assert "name the folder or URL for the results" in " ".join(err.replace("│", "").split())
    code, _, err = run("upscale", "s3://me:secret@bucket/a", "--ray", "local", "-o", folder)
    assert code == 2
    assert "a password in a URL" in " ".join(err.replace("│", "").split())
    assert "secret" not in err


def test_an_address_without_a_cluster(run, folder, pair):
    pytest.importorskip("ray")
    code, _, err = run("upscale", folder / "in", "--ray", "127.0.0.1:1", "-m", "compact-x4")
    assert code == 1
    assert "--ray 127.0.0.1:1: check the address" in err


def test_the_report(run, capsys):
    report = ClusterReport(ModelChoice("compact-x4", 0.0), 4)
    row = {
        "source": "a",
        "target": "b",
        "pixels": 10**6,
        "status": "done",
        "seconds": 1.0,
        "ended": 9.0,
    }
    report.add({**row, "worker": "one:1", "notes": ["cropped to 8 bits"]})
    report.add({**row, "worker": "two:2", "status": "failed", "message": "a: broken"})
    report.add({**row, "worker": "one:1", "ended": 11.0})
    report.close()
    out, err = capsys.readouterr()
    assert out.splitlines() == ["b", "b"]
    assert "failed: a: broken" in err
    assert "note: a: cropped to 8 bits" in err
    assert "one:1: 2 files, 2.00 megapixels, 0.667 MP/s" in err  # from 8 to 11
    assert "2 done, 1 failed, 1 not finished (--skip-existing resumes); 2.00 megapixels" in err
    assert report.failed == 1
