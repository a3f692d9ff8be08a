"""Models by name, downloaded from a local server that breaks off and sends wrong files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

import pytest
import requests
import torch
from hostile_server import answer, break_off, run_site

from torch_sr.cli import main
from torch_sr.errors import DownloadError, ModelError
from torch_sr.models import zoo
from torch_sr.models.files.writing import save_generator
from torch_sr.models.loading import load
from torch_sr.models.weights import shipped_path
from torch_sr.networks.rrdb import RRDBNet

NAME = "esrgan-x4"


@pytest.fixture
def server():
    yield from run_site()


@pytest.fixture
def home(tmp_path, monkeypatch, no_packages):
    """An empty cache folder, and no package of models."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch_sr.download.time.sleep", lambda _: None)
    return tmp_path / "home"


@pytest.fixture
def content(tmp_path):
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=16, growth_channels=8, num_basic_blocks=2)
    save_generator(tmp_path / "served.pth", network, layout="mid")
    return (tmp_path / "served.pth").read_bytes()


@pytest.fixture
def site(server, home, content, monkeypatch):
    """The first model of the table is on the server, and on a mirror."""
    site, address = server
    site.files = {"/a.pth": content, "/mirror.pth": content}
    row = dataclasses.replace(
        zoo.ZOO[NAME],
        urls=(f"{address}/a.pth", f"{address}/mirror.pth"),
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
    )
    monkeypatch.setitem(zoo.ZOO, NAME, row)
    return site


@pytest.fixture
def run(capfd, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["torch-sr", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main.main()
        return stop.value.code or 0, *capfd.readouterr()

    return run


def paths(site):
    return [path for path, _ in site.requests]


# --- The table ------------------------------------------------------------------------------------


def test_rows_are_complete_and_addresses_last():
    assert len({model.file for model in zoo.ZOO.values()}) == len(zoo.ZOO)
    for name, model in zoo.ZOO.items():
        assert name == model.name == name.lower()
        assert model.license
        assert model.author
        if not model.urls:
            assert model.name.startswith("enhanced-srgan-") or model.packaged
            continue
        assert re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.num_bytes > 2e6
        for url in model.urls:
            assert url.startswith("https://")
            assert "/blob/" not in url
            fixed = re.search(r"/resolve/[0-9a-f]{40}/|/releases/download/v[0-9.]+/", url)
            assert fixed, f"{url} may change"
    # PyTorch's naming of files: the part before the suffix is the start of the hash.
    df2kost = zoo.ZOO["esrgan-x4-df2kost"]
    assert df2kost.sha256.startswith(df2kost.file.removesuffix(".pth").rpartition("-")[2])


def test_the_known_models_are_listed():
    twelve = [name for name in zoo.ZOO if name.startswith("enhanced-srgan-")]
    assert len(twelve) == 12
    for name in ("x4plus", "x2plus", "x4plus-anime-6b"):
        assert zoo.ZOO[f"realesrgan-{name}"].urls
    assert zoo.ZOO["realesrgan-x2plus"].scale_factor == 2


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("RealESRGAN_x4plus", "realesrgan-x4plus"),
        ("realesrgan_X4plus_anime_6B", "realesrgan-x4plus-anime-6b"),
        ("RRDB_ESRGAN_x4", "esrgan-x4"),
        ("realesr-general-x4v3", "realesr-general-x4v3"),
        ("realesr-animevideov3-x4", "realesr-animevideov3"),
        ("RealESRGAN-x4plus-anime", "realesrgan-x4plus-anime-6b"),
        ("enhanced-srgan_128_cr_23_rrdb_div2k_psnr", "enhanced-srgan-128-cr-23-rrdb-div2k-psnr"),
        ("nothing", None),
    ],
)
def test_names_in_any_spelling(asked, found):
    row = zoo.find_in_zoo(asked)
    assert (row and row.name) == found


# --- Fetching -------------------------------------------------------------------------------------


def test_a_model_is_downloaded_once_and_kept(site, home, content):
    reported = []
    path = zoo.find_model("RRDB_ESRGAN_x4", lambda done, total: reported.append((done, total)))
    assert path == home / "models" / "RRDB_ESRGAN_x4.pth"
    assert path.read_bytes() == content
    assert reported[-1] == (len(content), len(content))
    assert load(NAME).info.layout == "mid"
    assert paths(site) == ["/a.pth"]


def test_an_interrupted_download_is_resumed(site, home, content):
    half = len(content) // 2
    site.behaviors["/a.pth"] = [break_off(half)]
    zoo.find_model(NAME)
    assert paths(site) == ["/a.pth", "/a.pth"]
    start = int(site.requests[1][1].removeprefix("bytes=").removesuffix("-"))
    assert 0 < start <= half
    assert (home / "models" / "RRDB_ESRGAN_x4.pth").read_bytes() == content
    assert len(list((home / "models").iterdir())) == 1


def test_a_mirror_serves_where_the_first_address_does_not(site, content):
    site.behaviors["/a.pth"] = [answer(404)]
    assert zoo.find_model(NAME).read_bytes() == content
    assert paths(site) == ["/a.pth", "/mirror.pth"]


def test_a_wrong_file_is_refused(site, content):
    site.files["/a.pth"] = content[:-1] + b"x"
    assert zoo.find_model(NAME).read_bytes() == content
    assert paths(site)[-1] == "/mirror.pth"


def test_custom_mirrors_are_tried_first(site, server, content, monkeypatch):
    site.files["/own/RRDB_ESRGAN_x4.pth"] = content
    monkeypatch.setenv("TORCH_SR_MIRRORS", f"{server[1]}/none, {server[1]}/own/")
    assert zoo.find_model(NAME).read_bytes() == content
    assert paths(site) == ["/none/RRDB_ESRGAN_x4.pth", "/own/RRDB_ESRGAN_x4.pth"]


def test_offline_the_error_names_address_hash_and_path(home, monkeypatch):
    row = dataclasses.replace(zoo.ZOO[NAME], urls=("http://127.0.0.1:9/a.pth",))
    monkeypatch.setitem(zoo.ZOO, NAME, row)
    with pytest.raises(DownloadError) as caught:
        zoo.find_model(NAME)
    message = str(caught.value)
    assert "\n" not in message
    for words in (row.urls[0], row.sha256, str(home / "models" / row.file)):
        assert words in message


def test_a_file_saved_by_hand_is_used(site, home, content):
    (home / "models").mkdir(parents=True)
    (home / "models" / "RRDB_ESRGAN_x4.pth").write_bytes(content)
    zoo.find_model(NAME)
    assert site.requests == []


def test_without_an_address_the_error_names_the_path(home, content):
    name = "enhanced-srgan-p192-cr-23-rrdb-div2k-psnr"
    with pytest.raises(DownloadError, match="no permanent address") as caught:
        zoo.find_model(name)
    path = home / "models" / "enhanced-srgan_p192_cr_23_rrdb_div2k_psnr.pth"
    assert str(path) in str(caught.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert zoo.find_model(name) == path


def test_names_and_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo.find_model("compact-x4") == shipped_path("compact-x4")
    assert (
        str(zoo.find_model("missing.pth")) == "missing.pth"
    )  # the error is raised when it is read
    with pytest.raises(ModelError, match="did you mean compact-x4"):
        zoo.find_model("compactx4")
    with pytest.raises(ModelError, match="-m realesrgan-x4plus uses"):
        zoo.find_model("RealESRGAN_x4plus.pth")
    (tmp_path / NAME).write_text("a file of that name is taken for what it is")
    assert zoo.find_model(NAME).read_text().startswith("a file")


# --- Commands -------------------------------------------------------------------------------------


def test_a_name_is_accepted_wherever_a_model_is(site, run, save_photo, tmp_path):
    save_photo(tmp_path / "a.png", 8, 9)
    code, out, _ = run("upscale", tmp_path / "a.png", "-m", "RRDB_ESRGAN_x4", "--device", "cpu")
    assert (code, out.strip()) == (0, str(tmp_path / "a_sr.png"))
    out_file = tmp_path / "mixed.safetensors"
    assert run("interpolate", NAME, NAME, out_file, "--alpha", "0.5")[0] == 0
    assert run("models", "convert", NAME, tmp_path / "b.safetensors")[0] == 0
    assert paths(site) == ["/a.pth"]


def test_a_model_is_downloaded_verified_and_removed(site, run, home):
    path = home / "models" / "RRDB_ESRGAN_x4.pth"
    assert run("models", "path")[1].strip() == str(home / "models")
    code, _, err = run("models", "path", NAME)
    assert code == 1
    assert f"torch-sr models download {NAME}" in err
    assert "to download" in line_of(run("models", "list")[1], NAME)
    assert run("models", "download", NAME)[1].strip() == str(path)
    assert "cache" in line_of(run("models", "list")[1], NAME)
    assert run("models", "path", NAME)[1].strip() == str(path)
    assert run("models", "verify")[1].strip() == f"ok    {NAME}"
    path.write_bytes(path.read_bytes()[:-3])
    code, out, _ = run("models", "verify", NAME, "compact-x4")
    assert code == 1
    assert "damaged" in out
    assert "ok    compact-x4" in out
    assert run("models", "download", NAME)[0] == 0  # replaces the damaged file
    assert run("models", "verify", NAME)[0] == 0
    assert run("models", "remove", NAME)[1].strip() == f"removed {path}"
    assert not path.exists()
    assert run("models", "remove", NAME)[0] == 1
    assert run("models", "remove", "compact-x4")[0] == 1


def line_of(text, name):
    return next(line for line in text.splitlines() if line.split()[:1] == [name])


def test_the_list_shows_licenses_and_other_files(run, home, content):
    (home / "models").mkdir(parents=True)
    (home / "models" / "own.pth").write_bytes(content)
    code, out, err = run("models", "list")
    assert code == 0
    assert "shipped" in line_of(out, "compact-x4")
    assert "BSD-3-Clause" in line_of(out, "realesrgan-x4plus")
    assert "enhanced-srgan" not in out  # available models come first, the others are in one note
    assert "enhanced-srgan-128-cr-23-rrdb-div2k-psnr" in err
    assert str(home / "models") in err
    assert "yours" in line_of(out, "own.pth")
    assert zoo.find_model("own.pth") == home / "models" / "own.pth"
    code, out, _ = run("models", "list", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["realesrgan-x4plus"]["sha256"].startswith("4fa0d389")
    assert rows["own.pth"]["path"] == str(home / "models" / "own.pth")


@pytest.mark.parametrize("command", ["verify", "path", "info", "download", "remove"])
def test_a_name_too_long_for_a_file_is_refused_in_one_line(run, home, command):
    code, out, err = run("models", command, "a" * 300)
    assert code == 1
    assert len(f"{out}{err}".splitlines()) == 1
    assert "Traceback" not in out + err


def test_download_refuses_what_is_neither_a_model_nor_a_file(run, home):
    code, out, err = run("models", "download", "missing.pth")
    assert (code, out) == (1, "")
    assert "torch-sr models list" in err


def test_without_a_network_the_remedy_comes_first(home, monkeypatch):
    """The error of a host that cannot be resolved, as requests raises it."""
    asked = []

    def fail(url, **kwargs):
        asked.append(url)
        raise requests.exceptions.ConnectionError(
            "HTTPSConnectionPool: Max retries exceeded (Caused by NameResolutionError(...))"
        )

    monkeypatch.setattr(requests, "get", fail)
    with pytest.raises(DownloadError) as caught:
        zoo.find_model("realesrgan-x4plus")
    message = str(caught.value)
    assert message.index("save it as") < message.index("host not found")
    assert "4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1" in message
    assert "NameResolution" not in message
    assert len(message) < 500
    assert len(asked) == 2  # each address once, because a retry would give the same answer
