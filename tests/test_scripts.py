"""The root scripts: the usage of the project's description, and its examples verbatim."""

from __future__ import annotations

import json
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_sr.cli import scripts
from torch_sr.images import Image, read_image, write_image
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.settings import Every

ROOT = Path(__file__).parents[1]
USAGES = {
    "train.py": "[-h] [-l LOAD_CHECKPOINT] [-a] [--no-data-parallel] [-i CHECKPOINT_INTERVAL] "
    "[-w BEST_CHECKPOINT_WARMUP] [-s STORE_MODEL_INTERVAL] config_file",
    "test.py": "[-h] [-d DATASETS] [-s SHOW_RESULTS] [-o OUT_DIR] model_path",
    "inference.py": "[-h] -m MODEL_PATH [-o OUT_DIR] images [images ...]",
    "net_interpolation.py": "[-h] --psnr-model-path PSNR_MODEL_PATH "
    "--esrgan-model-path ESRGAN_MODEL_PATH --alpha ALPHA out_model_path",
}
OPTIONS = {
    "train.py": [
        "-l LOAD_CHECKPOINT, --load-checkpoint LOAD_CHECKPOINT",
        "-a, --autocast",
        "--no-data-parallel",
        "-i CHECKPOINT_INTERVAL, --checkpoint-interval CHECKPOINT_INTERVAL",
        "-w BEST_CHECKPOINT_WARMUP, --best-checkpoint-warmup BEST_CHECKPOINT_WARMUP",
        "-s STORE_MODEL_INTERVAL, --store-model-interval STORE_MODEL_INTERVAL",
    ],
    "test.py": [
        "-d DATASETS, --datasets DATASETS",
        "-s SHOW_RESULTS, --show-results SHOW_RESULTS",
        "-o OUT_DIR, --out-dir OUT_DIR",
    ],
    "inference.py": ["-m MODEL_PATH, --model-path MODEL_PATH", "-o OUT_DIR, --out-dir OUT_DIR"],
    "net_interpolation.py": [
        "--psnr-model-path PSNR_MODEL_PATH",
        "--esrgan-model-path ESRGAN_MODEL_PATH",
        "--alpha ALPHA",
    ],
}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a script in this process: its stop code, stdout and stderr."""

    def run(line):
        script, *arguments = shlex.split(line)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "models" / "tiny.pth"
    save_tiny(path, seed=1)
    return path


def save_tiny(path, seed):
    torch.manual_seed(seed)
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(path, network)


def write_noise(path, height=32, width=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (height, width, 3))
    write_image(path, Image.from_array(pixels.astype(np.uint8)))


@pytest.mark.parametrize("script", USAGES)
def test_help_is_that_of_the_description(run, script):
    code, out, _ = run(f"{script} --help")
    assert code == 0
    assert out.splitlines()[0] == f"usage: {script} {USAGES[script]}"
    lines = {line.strip().split("  ")[0] for line in out.splitlines()}
    assert lines.issuperset(OPTIONS[script])
    assert "--config-json" not in out
    assert "--load-model-path" not in out


def test_description_example_of_train():
    line = (
        "--config-json configs/esrgan_192_cr_23_rrdb_div2k.json --load-model-path "
        "saved_models/1657192860_RRDB_PSNR_x4_best_model.pth --autocast "
        "--best-checkpoint-warmup 2000 --store-model-interval 20 --checkpoint-interval 50"
    )
    options = scripts.parse_train(line.split())
    assert options.config_file == Path("configs/esrgan_192_cr_23_rrdb_div2k.json")
    assert (ROOT / options.config_file).is_file()
    assert options.load_checkpoint.name == "1657192860_RRDB_PSNR_x4_best_model.pth"
    assert options.autocast
    assert options.best_checkpoint_warmup == 2000
    assert options.store_model_interval == Every(20)
    assert options.checkpoint_interval == Every(50)


def test_usage_of_train(monkeypatch):
    options = scripts.parse_train(
        shlex.split("-l c.pth -a --no-data-parallel -i 2 -w 3 -s 4 x.json")
    )
    assert options.config_file == Path("x.json")
    assert options.load_checkpoint == Path("c.pth")
    assert (options.checkpoint_interval, options.best_checkpoint_warmup) == (Every(2), 3)
    assert options.store_model_interval == Every(4)
    monkeypatch.setenv("TORCH_SR_DATA", "elsewhere")
    options = scripts.parse_train(["x.json"])
    assert (options.checkpoint_interval, options.best_checkpoint_warmup) == (Every(1), 0)
    assert options.store_model_interval is None
    assert options.data_root == Path("elsewhere")


def test_description_example_of_test():
    line = (
        "--datasets=set5 --out-dir results/192_cr_23_rrdb_div2k/set5 "
        "models/192_cr_23_rrdb_div2k/RRDB_ESRGAN_x4.pth"
    )
    options = scripts.parse_test(line.split())
    assert options.datasets == "set5"
    assert options.out == Path("results/192_cr_23_rrdb_div2k/set5")
    assert options.model_path == "models/192_cr_23_rrdb_div2k/RRDB_ESRGAN_x4.pth"
    assert options.show_results == 0
    assert options.protocol == "paper,enhanced-srgan"


def test_description_example_of_inference():
    model = "models/192_cr_23_rrdb_div2k/RRDB_ESRGAN_x4.pth"
    options = scripts.parse_inference(["--model-path", model, "~/Pictures/my-fancy-picture.png"])
    assert options.model_path == model
    assert options.images == ["~/Pictures/my-fancy-picture.png"]
    assert options.out_dir is None


@pytest.mark.parametrize(
    "line",
    [
        "--psnr-model-path a.pth  b.pth  --alpha 0.9 out.pth",  # the description's example
        "--psnr-model-path a.pth --esrgan-model-path b.pth --alpha 0.9 out.pth",  # its usage
        "out.pth --alpha 0.9 --esrgan-model-path b.pth --psnr-model-path a.pth",
        "b.pth out.pth --psnr-model-path a.pth --alpha 0.9",
    ],
)
def test_forms_of_net_interpolation(line):
    options = scripts.parse_net_interpolation(line.split())
    assert options.psnr_model_path == Path("a.pth")
    assert options.esrgan_model_path == Path("b.pth")
    assert options.out_model_path == Path("out.pth")
    assert options.alpha == 0.9


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train.py", "config_file"),
        ("train.py a.json --config-json b.json", "--config-json"),
        ("train.py a.json -i 0", "at least 1"),
        ("train.py a.json -w -1", "-w"),
        ("train.py a.json -s many", "'many'"),
        ("train.py a.json --learning-rate 1", "unrecognized arguments"),
        ("test.py", "model_path"),
        ("test.py m.pth --datasets=,", "--datasets"),
        ("inference.py -m m.pth", "images"),
        ("inference.py a.png", "--model-path"),
        ("net_interpolation.py --psnr-model-path a --alpha 0.5 out", "--esrgan-model-path"),
        ("net_interpolation.py --psnr-model-path a --alpha x b out", "--alpha"),
        ("net_interpolation.py --psnr-model-path a --alpha 1 b c out", "unrecognized"),
        (
            "net_interpolation.py --psnr-model-path a --esrgan-model-path b --alpha 1 c out",
            "unrecognized",
        ),
    ],
)
def test_wrong_usage_exits_with_2(run, line, reason):
    code, out, err = run(line)
    assert (code, out) == (2, "")
    script = line.split()[0]
    assert err.startswith(f"usage: {script} {USAGES[script]}\n")
    assert reason in err.splitlines()[-1]


@pytest.mark.parametrize(
    "line",
    [
        "train.py nowhere.json",
        "test.py nowhere.pth",
        "inference.py -m nowhere.pth picture.png",
        "net_interpolation.py --psnr-model-path nowhere.pth b.pth --alpha 0.5 out.pth",
        "net_interpolation.py --psnr-model-path nowhere.pth b.pth --alpha 7 out.pth",
    ],
)
def test_failure_is_one_line(run, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(line)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "nowhere" in err or "alpha is 7" in err


def test_inference_stores_next_to_the_source_or_in_a_folder(run, model, tmp_path):
    photos = tmp_path / "my pictures"
    for name in ("a.png", "b.jpg"):
        write_noise(photos / name)
    assert run(f"inference.py -m {model} '{photos / 'a.png'}' --device cpu")[0] == 0
    assert read_image(photos / "a_sr.png").color.shape == (64, 80, 3)
    out = tmp_path / "new" / "folder"
    code, printed, _ = run(f"inference.py -m {model} -o {out} '{photos}' --device cpu")
    assert code == 0
    assert printed.split() == [str(out / name) for name in ("a_sr.png", "b_sr.jpg")]
    np.testing.assert_array_equal(
        read_image(out / "a_sr.png").color, read_image(photos / "a_sr.png").color
    )


def test_inference_of_a_broken_image_exits_with_1(run, model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code, _, err = run(f"inference.py -m {model} {tmp_path / 'broken.png'} --device cpu")
    assert code == 1
    assert "broken.png" in err


def test_test_measures_stores_and_lists(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for name in ("baby", "bird", "head"):
        write_noise(tmp_path / "data" / "Set5" / f"{name}.png")
    out = tmp_path / "results"
    code, printed, _ = run(
        f"test.py --datasets=set5 -s 2 --out-dir {out} --data-root {tmp_path / 'data'} "
        f"--device cpu {model}"
    )
    assert code == 0
    assert "bicubic" in printed
    assert "tiny" in printed
    stored = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    images = ("baby", "bird", "head")
    assert stored == [f"set5/{name}_{kind}.png" for name in images for kind in ("sheet", "sr")]
    best = [line.split("dB") for line in printed.splitlines() if "_sr.png" in line]
    assert len(best) == 2
    assert float(best[0][0]) >= float(best[1][0])
    assert all(Path(path.strip()).is_file() for _, path in best)


def test_the_example_of_test_stores_in_the_folder_it_names(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_noise(tmp_path / "data" / "Set5" / "baby.png")
    save_tiny(tmp_path / "models" / "192_cr_23_rrdb_div2k" / "RRDB_ESRGAN_x4.pth", seed=1)
    code, printed, _ = run(
        "test.py --datasets=set5 --out-dir results/192_cr_23_rrdb_div2k/set5 "
        "models/192_cr_23_rrdb_div2k/RRDB_ESRGAN_x4.pth"
    )
    assert code == 0
    stored = sorted(p.as_posix() for p in Path("results").rglob("*.png"))
    folder = "results/192_cr_23_rrdb_div2k/set5"
    assert stored == [f"{folder}/baby_sheet.png", f"{folder}/baby_sr.png"]
    for protocol in ("paper", "enhanced-srgan"):
        assert f"protocol '{protocol}'" in printed
    assert printed.count("RRDB_ESRGAN_x4") == 2


def test_test_measures_by_one_protocol_where_one_is_chosen(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    write_noise(tmp_path / "data" / "Set5" / "baby.png")
    line = f"test.py -d set5 --data-root {tmp_path / 'data'} --device cpu {model}"
    code, printed, _ = run(f"{line} --protocol enhanced-srgan")
    assert code == 0
    assert "'enhanced-srgan'" in printed
    assert "'paper'" not in printed
    code, _, err = run(f"{line} --protocol none")
    assert code == 2
    assert "'none'" in err


def test_net_interpolation_mixes(run, tmp_path):
    save_tiny(tmp_path / "psnr.pth", seed=1)
    save_tiny(tmp_path / "esrgan.pth", seed=2)
    out = tmp_path / "new" / "mixed.pth"
    code, printed, _ = run(
        f"net_interpolation.py --psnr-model-path {tmp_path / 'psnr.pth'}  "
        f"{tmp_path / 'esrgan.pth'}  --alpha 0.9 {out}"
    )
    assert (code, printed) == (0, f"{out}\n")
    psnr, esrgan, mixed = (
        read_model(path).network.state_dict()["conv_first.weight"].numpy()
        for path in (tmp_path / "psnr.pth", tmp_path / "esrgan.pth", out)
    )
    np.testing.assert_allclose(mixed, 0.1 * psnr + 0.9 * esrgan, rtol=1e-5, atol=1e-7)


def test_train_trains(run, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    write_noise(tmp_path / "data" / "pictures" / "one.png", 48, 48)
    stage = {
        "train_datasets": ["pictures"],
        "val_datasets": ["pictures"],
        "cr_patch_size": [16, 16],
    }
    config = {
        "scale_factor": 2,
        "batch_size": 1,
        "pretraining": {**stage, "num_epoch": 1},
        "training": {"num_epoch": 0},
        "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
    }
    (tmp_path / "tiny.json").write_text(json.dumps(config))
    code, printed, err = run(
        f"train.py {tmp_path / 'tiny.json'} --autocast --no-data-parallel --device cpu "
        f"--data-root {tmp_path / 'data'} --out-dir {tmp_path / 'out'}"
    )
    assert code == 0, err
    assert "--autocast needs a GPU" in err
    assert "note: not logging to Weights & Biases: wandb is not installed" in err
    best, last = printed.splitlines()
    assert best.startswith("pretraining  best   PSNR ")
    model = Path(last.rpartition("  ")[2])
    assert model.parent == tmp_path / "out" / "saved_models"
    assert read_model(model).info.scale_factor == 2


def test_autocast_is_half_precision_on_cuda(monkeypatch, capsys):
    monkeypatch.setattr("torch_sr.devices.choose_device", lambda name: torch.device("cuda"))
    assert scripts._autocast_precision("auto") == "fp16"
    assert capsys.readouterr().err == ""


def test_train_takes_the_options_that_its_messages_propose():
    options = scripts.parse_train(
        shlex.split(
            "a.json -l compact-x4 --like compact-x4 --set training.num_epoch=0 --set seed=2 "
            "--partial --start-stage pretraining --name mine --accumulate 2 --resume auto"
        )
    )
    assert options.set == ["training.num_epoch=0", "seed=2"]
    assert (options.like, options.partial, options.start_stage) == (
        "compact-x4",
        True,
        "pretraining",
    )
    assert (options.name, options.accumulate, options.resume) == ("mine", 2, "auto")


def test_train_takes_the_sizes_of_a_model(run, model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(sys.modules, "wandb", None)
    for number in range(2):
        write_noise(tmp_path / "data" / "pictures" / f"{number}.png", 48, 48)
    (tmp_path / "tiny.json").write_text('{"batch_size": 1}')
    code, _, err = run(
        f"train.py {tmp_path / 'tiny.json'} -l {model} --like {model} --start-stage pretraining "
        "--set pretraining.num_epoch=1 --set training.num_epoch=0 --set train_datasets=pictures "
        "--set val_datasets=pictures --set cr_patch_size=[16,16] --name mine --device cpu "
        f"--data-root {tmp_path / 'data'} --out-dir {tmp_path / 'out'}"
    )
    assert code == 0, err
    (best,) = (tmp_path / "out" / "saved_models").glob("mine_*_best_model.safetensors")
    assert err.splitlines()[-1].endswith(f"torch-sr upscale PHOTO.jpg -m {best}")
