"""torch-sr data: its output, its files, and its exit codes."""

import hashlib
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
from hostile_server import answer, run_site
from PIL import Image as PillowImage

from torch_sr.cli.main import main
from torch_sr.data.resize import downscale
from torch_sr.data.sets import downloads
from torch_sr.data.sets.archives import Archive


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["torch-sr", "data", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with a small set of pairs, and its own cache."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    for name in "abc":
        coarse = rng.integers(20, 236, (12, 16, 3), np.uint8)
        hr = np.asarray(PillowImage.fromarray(coarse).resize((128, 96)))
        for path, image in (("HR", hr), ("LR", downscale(hr, 4))):
            file = tmp_path / "data" / "mine" / path / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(image).save(file)
    return tmp_path / "data"


def test_list(run, root):
    code, out, _ = run("list", "--data-root", root)
    assert code == 0
    assert "div2k-wild" in out
    (root / "Set5").mkdir()
    code, out, _ = run("list", "--data-root", root, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["set5"]["folders"] == [str(root / "Set5")]
    assert not rows["manga109"]["download"]
    assert rows["bsds500"]["splits"] == ["train", "val", "test"]


# --- download -----------------------------------------------------------------------------------


@pytest.fixture
def site(monkeypatch, tmp_path):
    server = run_site()
    site, address = next(server)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("benchmark/Set5/HR/baby.png", b"x")
    site.files["/benchmark.zip"] = (tmp_path / "x.zip").read_bytes()
    digest = "md5:" + hashlib.md5(site.files["/benchmark.zip"]).hexdigest()
    row = Archive("benchmark.zip", (address,), digest, "", "benchmark/Set5/HR")
    monkeypatch.setattr(downloads, "archives_of", lambda *_: [row])
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    yield site
    next(server, None)


def test_download(run, tmp_path, site):
    code, out, _ = run("download", "set5", "--scale-factor", 4, "--data-root", tmp_path / "data")
    assert code == 0
    assert out.strip() == str(tmp_path / "data/benchmark/Set5/HR")
    assert (tmp_path / "data/benchmark/Set5/HR/baby.png").read_bytes() == b"x"


def test_a_download_that_fails_is_one_line(run, tmp_path, site):
    site.behaviors["/benchmark.zip"] = [answer(404)]
    code, out, err = run("download", "set5", "--data-root", tmp_path / "data")
    assert (code, out) == (1, "")
    assert err.startswith(
        "torch-sr: error: benchmark.zip cannot be downloaded: get http://127.0.0.1"
    )
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["manga109"], 1, "put its pages into benchmark/Manga109/HR"),
        (["nothing"], 1, "cannot be downloaded; choose from div2k"),
        (["bsds500", "--split", "dev"], 2, "bsds500 has train, val, test"),
        (["set5", "--split", "train"], 2, "set5 has none"),
        (["set5", "--scale-factor", "0"], 2, "greater than"),
        ([], 2, "Missing argument"),
    ],
)
def test_bad_downloads(run, tmp_path, arguments, code, words):
    found, _, err = run("download", *arguments, "--data-root", tmp_path)
    assert found == code
    assert words in " ".join(err.split())


def test_a_training_and_a_test_download_what_is_missing(run, root, monkeypatch, tmp_path):
    asked = []

    def download_dataset(name, data_root, scale_factor, *, split, progress):
        asked.append((name, scale_factor, split))
        for place in ("DIV2K/DIV2K_train_HR", "DIV2K/DIV2K_valid_HR", "benchmark/Set5/HR"):
            (root / place).mkdir(parents=True, exist_ok=True)
            (root / place / "1.png").write_bytes((root / "mine/HR/a.png").read_bytes())

    monkeypatch.setattr("torch_sr.data.sets.downloads.download_dataset", download_dataset)
    config = {"training": {"num_epoch": 0}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr("torch_sr.training.preflight.check.check_training", lambda *_: [])
    arguments = [
        "torch-sr",
        "train",
        tmp_path / "config.json",
        "--data-root",
        root,
        "--check",
        "--download",
    ]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit):
        main()
    assert asked == [("div2k", 4, "train")]  # which brought val along
    (root / "benchmark/Set5/HR/1.png").unlink()
    (root / "benchmark/Set5/HR").rmdir()
    (root / "benchmark/Set5").rmdir()
    arguments = ["torch-sr", "test", "compact-x4", "-d", "set5", "--data-root", root, "--download"]
    monkeypatch.setattr(sys, "argv", list(map(str, arguments)))
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert asked[1:] == [("set5", 4, None)]


# --- check --------------------------------------------------------------------------------------


def test_check_of_a_valid_folder(run, root):
    code, out, _ = run("check", root / "mine")
    assert code == 0
    assert "no findings" in out
    code, out, _ = run("check", "mine", "--data-root", root, "--json")
    assert code == 0
    assert json.loads(out)["datasets"][0]["with_lr"] == 3


def test_check_exits_with_1_if_there_are_errors(run, root):
    (root / "mine/HR/a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    code, out, err = run("check", root, "--json")
    assert code == 1
    assert err == ""
    (finding,) = json.loads(out)["findings"]
    assert (finding["severity"], finding["check"]) == ("error", "corrupt")
    code, out, _ = run("check", root)
    assert code == 1
    assert "corrupt" in out


def test_check_of_a_configuration(run, root, tmp_path):
    config = {
        "pretraining": {"train_datasets": ["mine"], "val_datasets": ["mine"]},
        "training": {"num_epoch": 0},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, out, _ = run("check", tmp_path / "config.json", "--data-root", root, "--json")
    assert code == 1
    found = {(f["severity"], f["check"], f["dataset"]) for f in json.loads(out)["findings"]}
    assert found == {
        ("error", "size", "mine"),  # 96 pixels are too few for a crop of 128
        ("error", "duplicate", "mine"),  # learnt from and judged by
    }


def test_check_of_nothing(run, tmp_path):
    code, _, err = run("check", tmp_path)
    assert code == 1
    assert "contains no images" in err
    code, out, _ = run("check", "nowhere", "--data-root", tmp_path, "--json")
    assert code == 1
    assert "not a known name, and there is no folder" in json.loads(out)["findings"][0]["message"]


# --- prepare ------------------------------------------------------------------------------------


def test_prepare_estimates_builds_and_verifies(run, root, tmp_path):
    code, out, _ = run("prepare", "mine", "--data-root", root, "--estimate", "--json")
    assert code == 0
    estimate = json.loads(out)
    assert estimate["bytes_missing"] == 3 * 3 * (96 * 128 + 24 * 32)
    assert not (tmp_path / "home").exists()
    code, out, _ = run("prepare", "mine", "--data-root", root)
    assert code == 0
    files = list((tmp_path / "home/datasets").glob("*.bin"))
    assert sum(file.stat().st_size for file in files) == estimate["bytes_missing"]
    code, out, _ = run("prepare", "mine", "--data-root", root, "--verify", "--json")
    assert [cache["was_ready"] for cache in json.loads(out)["caches"]] == [True, True]
    assert json.loads(out)["damaged"] == 0


def test_prepare_rebuilds_damaged_caches(run, root, tmp_path):
    run("prepare", "mine", "--data-root", root)
    (file,) = (tmp_path / "home/datasets").glob("mine-x1-*.bin")
    sound = file.read_bytes()
    file.write_bytes(sound[:5000] + bytes([sound[5000] ^ 255]) + sound[5001:])
    code, out, err = run("prepare", "mine", "--data-root", root, "--verify")
    assert code == 0
    assert "1 damaged or changed images" in out
    assert "a.png" in err
    assert file.read_bytes() == sound


def test_prepare_of_a_configuration(run, root, tmp_path):
    config = {
        "img_channels": 1,
        "scale_factor": 2,
        "pretraining": {"train_datasets": ["mine/HR"], "val_datasets": ["mine/HR"]},
        "training": {"num_epoch": 0},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.rmtree(root / "mine/LR")
    code, out, _ = run("prepare", tmp_path / "config.json", "--data-root", root, "--json")
    assert code == 0
    caches = json.loads(out)["caches"]
    assert [(cache["shrink"], cache["bytes"]) for cache in caches] == [
        (1, 3 * 96 * 128),
        (2, 3 * 48 * 64),
    ]


def test_prepare_needs_room(run, root, monkeypatch):
    import shutil

    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    code, _, err = run("prepare", "mine", "--data-root", root)
    assert code == 1
    assert "make room or choose another folder with TORCH_SR_HOME" in err


def test_bad_purpose(run, root):
    assert run("prepare", "mine", "--data-root", root, "--for", "fun")[0] == 2
