"""Files in an object store, with a server of S3 on this machine: listed, read, written, refused."""

from __future__ import annotations

import os
from unittest import mock

import pytest

from torch_sr.cluster import places, stores
from torch_sr.cluster.listing import Listing
from torch_sr.cluster.places import Place
from torch_sr.cluster.stores import StoreError
from torch_sr.errors import ImageError
from torch_sr.planning import NetworkCost, Workload, make_plan, read_constants

boto3 = pytest.importorskip("boto3")
moto_core = pytest.importorskip("moto.core")
server = pytest.importorskip("moto.server")
fs = pytest.importorskip("pyarrow.fs")
serving = pytest.importorskip("werkzeug.serving")

BUCKET = "archive"
NAMES = ("a b.png", "100%.png", "%41.png", "a#b.png", "what?.png", "a+b&c=d.png", "ü/木.png")


class Store:
    """A server of S3 with a bucket.

    Args:
        port: of the server.
        requests: the requests that it was sent: ``GET /archive/a.png``.
    """

    def __init__(self, port, requests):
        self.options = f"?endpoint_override=http://127.0.0.1:{port}"
        self.requests = requests
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")

    def place(self, name):
        return Place(f"s3://{BUCKET}/{self.options}").join(name)

    def keys(self):
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [each["Key"] for each in found]

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])

    def put(self, key, data=b""):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)


@pytest.fixture(scope="module")
def running():
    """The server's port, and the list of requests."""
    requests = []

    def note(handler, *_, **__):
        requests.append(handler.requestline.rpartition(" ")[0])

    settings = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with (
        mock.patch.dict(os.environ, settings),
        mock.patch.object(serving.WSGIRequestHandler, "log_request", note),
    ):
        started = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        started.start()
        yield started.get_host_and_port()[1], requests
        started.stop()


@pytest.fixture
def store(running, monkeypatch):
    monkeypatch.setattr(stores, "_WAIT", 0.0)
    found = Store(*running)
    found.client.create_bucket(Bucket=BUCKET)
    found.requests.clear()
    yield found
    for upload in found.uploads():
        found.client.abort_multipart_upload(
            Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    while keys := found.keys():
        found.client.delete_objects(
            Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]}
        )
    found.client.delete_bucket(Bucket=BUCKET)


def roundtrip(store, tmp_path, name, data):
    (tmp_path / "there").write_bytes(data)
    store.place(name).upload(tmp_path / "there")
    store.place(name).download(tmp_path / "back")
    return (tmp_path / "back").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_written_read_and_listed(store, tmp_path, name):
    assert not store.place(name).exists()
    assert roundtrip(store, tmp_path, name, b"pixels") == b"pixels"
    assert store.place(name).exists()
    assert store.keys() == [name]
    found = [item.source for item in Listing([store.place("").url], "/tmp/out")]
    assert [Place(url).name for url in found] == [name.rpartition("/")[2]]
    Place(found[0]).download(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"pixels"


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 6_000_000, 11_000_000])
def test_files_of_any_size_are_written_and_read(store, tmp_path, size):
    data = os.urandom(size)
    assert roundtrip(store, tmp_path, "a.png", data) == data
    assert not store.uploads()


def test_more_than_a_thousand_names_are_listed(store):
    backend = pytest.importorskip("moto.backends").get_backend("s3")
    bucket = backend["123456789012"]["aws"]
    names = [f"in/{number:05}.png" for number in range(2100)]
    for name in names:
        bucket.put_object(BUCKET, name, b"")
    store.requests.clear()
    found = list(Listing([store.place("in").url], store.place("out").url))
    assert [Place(item.source).name for item in found] == [name[3:] for name in names]
    assert Place(found[0].target).name == "00000_sr.png"
    assert sum("list-type=2" in each for each in store.requests) <= 3 + 1


def test_names_that_end_with_a_slash_are_folders(store):
    for key in ("in/", "in/sub/", "in/sub/a.png", "in/.hidden/b.png"):
        store.put(key)
    found = [item.source for item in Listing([store.place("in/").url], store.place("out").url)]
    assert found == [store.place("in/sub/a.png").url]
    assert Place(store.place("in/").url).name == "in"


def test_a_read_that_ends_early_leaves_no_result(store, tmp_path, monkeypatch):
    (tmp_path / "there").write_bytes(os.urandom(12_000_000))

    def fail(source, target, length):
        target.write(source.read(11_000_000))
        raise OSError("the disk is gone")

    monkeypatch.setattr(stores.shutil, "copyfileobj", fail)
    with pytest.raises(StoreError, match="the disk is gone"):
        store.place("a.png").upload(tmp_path / "there")
    assert store.keys() == []
    assert not store.uploads()


def test_an_upload_that_the_store_gives_up_leaves_no_result(store, tmp_path, monkeypatch):
    arrow = fs.S3FileSystem(
        endpoint_override=store.client.meta.endpoint_url,
        retry_strategy=fs.AwsDefaultS3RetryStrategy(max_attempts=0),  # they take ten seconds
    )
    monkeypatch.setattr(places, "open_store", lambda _: (arrow, BUCKET))
    (tmp_path / "there").write_bytes(os.urandom(24_000_000))

    def give_up(source, target, length):
        target.write(source.read(11_000_000))
        target.flush()
        for upload in store.uploads():
            store.client.abort_multipart_upload(
                Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        target.write(source.read())

    monkeypatch.setattr(stores.shutil, "copyfileobj", give_up)
    with pytest.raises(ImageError, match=r"a\.png"):
        store.place("a.png").upload(tmp_path / "there")
    assert store.keys() == []


def test_a_result_is_replaced_as_a_whole(store, tmp_path):
    assert roundtrip(store, tmp_path, "a.png", b"old and longer") == b"old and longer"
    assert roundtrip(store, tmp_path, "a.png", b"new") == b"new"


def test_what_is_missing_is_named(store, tmp_path):
    with pytest.raises(ImageError, match=r"a\.png.*no such file"):
        store.place("a.png").download(tmp_path / "a")
    missing = Place(f"s3://missing/a.png{store.options}")
    with pytest.raises(ImageError, match="s3://missing/a"):
        missing.download(tmp_path / "a")
    (tmp_path / "there").write_bytes(b"pixels")
    with pytest.raises(ImageError, match="s3://missing/a"):
        missing.upload(tmp_path / "there")
    with pytest.raises(ImageError, match="s3://missing/in"):
        list(Listing([f"s3://missing/in{store.options}"], "/tmp/out"))
    with pytest.raises(ImageError, match=r"no images or videos there|no such file"):
        list(Listing([store.place("in").url], "/tmp/out"))


def test_credentials_that_are_refused_are_reported(running, store, tmp_path):
    (tmp_path / "there").write_bytes(b"pixels")

    refused = r"permissions|ACCESS_DENIED|INVALID_ACCESS_KEY_ID"

    @moto_core.set_initial_no_auth_action_count(0)
    def try_all():
        with pytest.raises(ImageError, match=refused):
            store.place("a.png").download(tmp_path / "a")
        with pytest.raises(ImageError, match=refused):
            store.place("a.png").upload(tmp_path / "there")
        with pytest.raises(ImageError, match=refused):
            list(Listing([store.place("in").url], "/tmp/out"))

    try_all()


def test_the_planner_counts_the_requests_that_are_sent(store, tmp_path):
    network = NetworkCost("mine", "RRDBNet", scale_factor=4, macs=1e6)
    for number, (size_in, size_out) in enumerate([(1000, 2000), (2_500_000, 25_000_000)]):
        store.put(f"in/{number}.png", os.urandom(size_in))
        (tmp_path / "result").write_bytes(os.urandom(size_out))
        source, target = store.place(f"in/{number}.png"), store.place(f"out/{number}.png")
        store.requests.clear()
        assert not target.exists()
        source.download(tmp_path / "source")
        target.upload(tmp_path / "result")
        work = Workload(
            1, 1.0, "h100", source_megabytes=size_in / 1e6, result_megabytes=size_out / 1e6
        )
        planned = make_plan(work, network, read_constants()).requests
        sent = [each.partition(" ") for each in store.requests]
        lists = sum("list-type" in path for _, _, path in sent)
        assert planned.lists == lists + 1  # and one for the page of the listing
        assert planned.gets == sum(method in ("GET", "HEAD") for method, _, _ in sent) - lists
        assert planned.puts == sum(method in ("PUT", "POST") for method, _, _ in sent)
