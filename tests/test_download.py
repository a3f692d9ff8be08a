"""download.py: the right file or a clear error, no matter what the server does."""

import errno
import hashlib
import multiprocessing
import random
import shutil
from pathlib import Path

import pytest
from hostile_server import answer, break_off, hang, promise, run_site, serve_all

from torch_sr.download import download
from torch_sr.errors import DownloadError

CONTENT = random.Random(0).randbytes(3_000_000)
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    yield from run_site()


@pytest.fixture
def site(server):
    server[0].files["/set.zip"] = CONTENT
    return server[0]


@pytest.fixture
def url(server, site):
    return f"{server[1]}/set.zip"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads" / "set.zip"


def get(url, path, digest=MD5, **options):
    urls = [url] if isinstance(url, str) else url
    return download(urls, path, digest=digest, wait=0.01, **{"timeout": 5, **options})


def left(path):
    return sorted(file.name for file in path.parent.iterdir())


def start(request):
    return int(request[1].removeprefix("bytes=").removesuffix("-"))


def refused(url, path, *words, **options):
    with pytest.raises(DownloadError) as caught:
        get(url, path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert not path.exists()
    return message


@pytest.mark.parametrize("digest", [MD5, SHA256, None])
def test_a_file_arrives_completely(url, path, site, digest, caplog):
    reported = []
    assert get(url, path, digest, progress=lambda *so_far: reported.append(so_far)) == path
    assert path.read_bytes() == CONTENT
    assert left(path) == ["set.zip"]
    assert reported[-1] == (len(CONTENT), len(CONTENT))
    assert ("its hash is unknown" in caplog.text) == (digest is None)


def test_an_intact_file_is_not_requested_again(url, path, site):
    get(url, path)
    get(url, path)
    assert len(site.requests) == 1
    path.write_bytes(b"not it")
    get(url, path)
    assert path.read_bytes() == CONTENT


def test_after_an_interruption_only_the_rest_is_requested(url, path, site):
    site.behaviors["/set.zip"] = [break_off(1_200_000)]
    get(url, path)
    assert path.read_bytes() == CONTENT
    assert [asked is None for _, asked in site.requests] == [True, False]
    assert 1_100_000 < start(site.requests[-1]) <= 1_200_000


def test_the_next_attempt_resumes_where_the_last_one_ended(url, path, site):
    site.behaviors["/set.zip"] = [break_off(700_000)]
    refused(url, path, "broke off", retries=0)
    assert left(path) == ["set.zip.lock", "set.zip.part", "set.zip.part.json"]
    get(url, path)
    assert 600_000 < start(site.requests[-1]) <= 700_000
    assert path.read_bytes() == CONTENT
    assert left(path) == ["set.zip"]


def test_another_version_is_downloaded_from_its_start(url, path, site):
    site.behaviors["/set.zip"] = [break_off(700_000)]
    refused(url, path, retries=0)
    site.version = '"2"'
    get(url, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("version", ["", 'W/"1"'])
def test_without_a_version_nothing_is_resumed(url, path, site, version):
    site.version = version
    site.behaviors["/set.zip"] = [break_off(700_000)]
    get(url, path)
    assert [asked for _, asked in site.requests] == [None, None]
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges(url, path, site):
    site.behaviors["/set.zip"] = [break_off(700_000), serve_all]
    get(url, path)
    assert path.read_bytes() == CONTENT


def test_a_complete_part_is_only_renamed(url, path, site):
    site.behaviors["/set.zip"] = [break_off(700_000)]
    refused(url, path, retries=0)
    path.with_name("set.zip.part").write_bytes(CONTENT)
    get(url, path)
    assert path.read_bytes() == CONTENT
    assert len(site.requests) == 2


def test_a_part_longer_than_the_file_is_discarded(url, path, site):
    site.behaviors["/set.zip"] = [break_off(700_000)]
    refused(url, path, retries=0)
    path.with_name("set.zip.part").write_bytes(CONTENT + b"more")
    get(url, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("note", ["", "[]", '{"url": 3}', '{"url": "x", "version": null}'])
def test_a_damaged_record_costs_only_the_part(url, path, site, note):
    path.parent.mkdir()
    path.with_name("set.zip.part").write_bytes(b"x" * 100)
    path.with_name("set.zip.part.json").write_text(note)
    get(url, path)
    assert path.read_bytes() == CONTENT


def test_a_content_length_too_long_is_an_interruption(url, path, site):
    site.behaviors["/set.zip"] = [promise(len(CONTENT) + 5)] * 3
    refused(url, path, "broke off", retries=1)


def test_a_content_length_too_short_is_a_wrong_file(url, path, site):
    site.behaviors["/set.zip"] = [promise(1000)]
    refused(url, path, "serves a wrong file", MD5.removeprefix("md5:"), str(path))
    assert left(path) == ["set.zip.lock"]


def test_a_size_that_is_known_is_not_exceeded(url, path, site):
    refused(url, path, "offers 3000000 bytes instead of 2999999", num_bytes=2_999_999)
    assert left(path) == ["set.zip.lock"]


def test_redirections_are_followed_but_not_everywhere(url, path, site, server):
    site.files["/old"] = b""
    site.behaviors["/old"] = [answer(302, Location="/set.zip")]
    get(f"{server[1]}/old", path)
    assert path.read_bytes() == CONTENT
    path.unlink()
    for place in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        site.behaviors["/old"] = [answer(302, Location=place)]
        refused(f"{server[1]}/old", path, "redirects to an address")
    site.behaviors["/old"] = [answer(302, Location="/old")] * 50
    refused(f"{server[1]}/old", path, "redirects")


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_missing_file_is_not_requested_twice(url, path, site, status):
    site.behaviors["/set.zip"] = [answer(status)] * 5
    refused(url, path, f"answers {status}", url, f"save it as {path}")
    assert len(site.requests) == 1


def test_after_a_server_error_the_request_is_repeated(url, path, site):
    site.behaviors["/set.zip"] = [answer(500), answer(503), answer(429)]
    get(url, path)
    assert len(site.requests) == 4
    path.unlink()
    site.behaviors["/set.zip"] = [answer(500)] * 9
    refused(url, path, "answers 500", retries=2)


def test_mirrors_are_tried_in_turn(url, path, site, server):
    site.files |= {"/wrong": b"x" * 100, "/cut": CONTENT}
    site.behaviors["/cut"] = [break_off(10)] * 3
    urls = [f"{server[1]}{place}" for place in ("/none", "/wrong", "/cut", "/set.zip", "/never")]
    get(urls, path, retries=1)
    assert path.read_bytes() == CONTENT
    assert {place for place, _ in site.requests} == {"/none", "/wrong", "/cut", "/set.zip"}


def test_when_all_addresses_fail_each_is_reported(path, site, server):
    site.files["/wrong"] = b"x"
    message = refused(
        [f"{server[1]}/none", f"{server[1]}/wrong"], path, "answers 404", "serves a wrong file"
    )
    assert message.startswith("set.zip cannot be downloaded: get http")


def test_a_silent_server_times_out(url, path, site):
    site.behaviors["/set.zip"] = [hang(1.0)] * 2
    refused(url, path, "stopped sending", timeout=0.1, retries=1)


def test_no_server_at_all(path):
    refused("http://127.0.0.1:9/set.zip", path, "http://127.0.0.1:9/set.zip", retries=0)
    refused("no address", path, "redirects to an address", retries=0)


def test_a_full_disk_is_reported_before_and_during_a_download(url, path, site, monkeypatch):
    usage = shutil.disk_usage(path.parent.parent)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        refused(url, path, "0.00 GB are needed and 0.00 GB are free")

    original = Path.open

    def full(self, mode="r", *rest, **options):
        if self.suffix == ".part" and "w" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    refused(url, path, "No space left on device", "make room")


def test_a_folder_that_cannot_be_created(url, tmp_path, site):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be written"):
        get(url, tmp_path / "file" / "set.zip")


def test_ctrl_c_keeps_the_received_part(url, path, site):
    def interrupt(done, total):
        if done > 1_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(url, path, progress=interrupt)
    assert path.with_name("set.zip.part").stat().st_size > 1_000_000
    get(url, path)
    assert site.requests[-1][1] is not None
    assert path.read_bytes() == CONTENT


def fetch_in_process(url, path):
    get(url, path)


def test_two_processes_do_not_disturb_each_other(url, path, site):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch_in_process, args=(url, path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert path.read_bytes() == CONTENT
    assert len(site.requests) == 1
