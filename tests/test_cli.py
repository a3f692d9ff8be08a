"""The command ``torch-sr``: its output, and its exit codes."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from torch_sr._version import __version__
from torch_sr.cli.upscale.progress import show_progress
from torch_sr.images import Image, read_image, write_image
from torch_sr.inference.files.jobs import Job
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet

CONFIG = Path(__file__).parents[1] / "configs" / "esrgan_default.json"


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(1)
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    path = tmp_path / "models" / "tiny.safetensors"
    save_generator(path, network)
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder with two images and a text."""
    folder = tmp_path / "photos"
    for name in ("a.png", "b.png"):
        write_noise(folder / name)
    (folder / "notes.txt").write_text("not an image")
    return folder


def write_noise(path, height=30, width=42):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    pixels = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    write_image(path, Image.from_array(pixels))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- The command as a whole ---------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(option):
    code = (
        "import sys, atexit\n"
        "heavy = {'torch', 'numpy', 'pydantic', 'pyvips', 'torch_sr.config'}\n"
        "atexit.register(lambda: print('loaded', *heavy & sys.modules.keys()))\n"
        f"sys.argv = ['torch-sr', '{option}']\n"
        "from torch_sr.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *output, loaded = done.stdout.splitlines()
    assert output
    assert loaded.strip() == "loaded"


def test_help_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in ("upscale", "train", "test", "interpolate", "models"):
        assert f" {command} " in out


def test_version(run):
    assert run("--version") == (0, f"torch-sr {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["upscale"],
        ["upscale", "a.png", "--nonsense"],
        ["upscale", "a.png", "--tile-size", "0"],
        ["train", "config.json", "--checkpoint-interval", "0"],
        ["test", "model.pth", "--protocol", "vibes"],
        ["test", "model.pth", "--datasets", ","],
        ["interpolate", "out.pth"],
    ],
)
def test_wrong_usage_exits_with_2(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage: " in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["upscale", "-m", "nowhere.pth", "a.png"],
        ["upscale", "nowhere*.png"],
        ["train", "nowhere.json"],
        ["test", "nowhere.pth"],
        ["models", "info", "nowhere"],
        ["upscale", "a.png", "--device", "nowhere"],
    ],
)
def test_errors_of_torch_sr_are_one_line(run, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("torch-sr: error: ")
    assert "nowhere" in err
    assert err.count("\n") == 1


def test_bugs_keep_their_traceback(run, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("torch_sr.models.zoo.find_model", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run("models", "info", "any")


def test_interruption(run, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("torch_sr.models.zoo.find_model", interrupted)
    assert run("models", "info", "any")[0] == 130


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(run, shell, monkeypatch):
    monkeypatch.setattr("shellingham.detect_shell", lambda: (shell, f"/bin/{shell}"))
    code, out, _ = run("--show-completion")
    assert code == 0
    assert f"complete_{shell}" in out


# --- upscale ------------------------------------------------------------------------------------


def test_upscale_next_to_the_source(run, model, photos):
    code, out, err = run("upscale", photos / "a.png", "-m", model, "--device", "cpu")
    assert (code, out) == (0, f"{photos / 'a_sr.png'}\n")
    assert err.startswith("1 done; 0.001 megapixels in ")
    assert err.endswith(f"; result: {photos / 'a_sr.png'}\n")
    assert read_image(photos / "a_sr.png").color.shape == (60, 84, 3)


@pytest.mark.parametrize("pattern", ["", "*.png", "[ab].*"])
def test_upscale_folders_and_globs_into_a_new_folder(run, model, photos, tmp_path, pattern):
    out = tmp_path / "new" / "folder"
    source = photos / pattern
    code, printed, _ = run("upscale", source, "-m", model, "-o", out, "--device", "cpu")
    assert code == 0
    assert names(out) == ["a_sr.png", "b_sr.png"]
    assert printed.split() == [str(out / "a_sr.png"), str(out / "b_sr.png")]
    assert names(photos) == ["a.png", "b.png", "notes.txt"]


def test_upscale_takes_each_source_once(run, model, photos):
    code, out, _ = run("upscale", photos / "a.png", photos, "-m", model, "--device", "cpu")
    assert code == 0
    assert len(out.split()) == 2


def test_upscale_continues_after_a_damaged_file(run, model, photos):
    (photos / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    missing = photos / "missing.png"
    code, out, err = run("upscale", missing, photos, "-m", model, "--device", "cpu")
    assert code == 1
    assert out.split() == [str(photos / "a_sr.png"), str(photos / "b_sr.png")]
    *failures, summary = err.splitlines()
    assert [line.startswith("failed: ") for line in failures] == [True, True]
    assert "missing.png" in failures[0]
    assert "aa.png" in failures[1]
    assert "2 failed" in summary
    assert not (photos / "aa_sr.png").exists()


def test_upscale_never_overwrites_its_source(run, model, photos):
    before = (photos / "a.png").read_bytes()
    arguments = ["upscale", photos / "a.png", "-m", model, "--suffix", "", "--device", "cpu"]
    code, _, err = run(*arguments)
    assert code == 1
    assert "overwrite" in err
    assert (photos / "a.png").read_bytes() == before
    assert run(*arguments, "-o", photos.parent / "out")[0] == 0


def test_upscale_never_overwrites_other_sources_or_results_of_the_same_call(run, model, photos):
    write_noise(photos / "a_sr.png")
    before = (photos / "a_sr.png").read_bytes()
    code, _, err = run("upscale", photos, "-m", model, "--device", "cpu")
    assert code == 1
    assert "a.png: its result" in err
    assert "--skip-existing" in err
    assert (photos / "a_sr.png").read_bytes() == before
    assert (photos / "b_sr.png").exists()

    write_noise(photos / "more" / "b.png")
    sources = photos / "b.png", photos / "more" / "b.png"
    code, out, err = run("upscale", *sources, "-m", model, "-o", photos / "out")
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "more/b.png: would overwrite" in err


# --- train --------------------------------------------------------------------------------------


def test_print_config_is_a_complete_configuration(run, tmp_path):
    code, out, _ = run("train", CONFIG, "--print-config")
    assert code == 0
    (tmp_path / "again.json").write_text(out)
    assert run("train", tmp_path / "again.json", "--print-config")[1] == out
    assert json.loads(out)["generator"]["num_basic_blocks"] > 0


def test_set_overrides(run):
    code, out, _ = run(
        "train",
        CONFIG,
        "--print-config",
        *("--set", "generator.num_basic_blocks=7"),
        *("--set", "pretraining.cr_patch_size=[64, 64]"),
    )
    assert code == 0
    printed = json.loads(out)
    assert printed["generator"]["num_basic_blocks"] == 7
    assert printed["pretraining"]["cr_patch_size"] == [64, 64]


def test_set_of_an_unknown_name_is_refused(run):
    code, _, err = run("train", CONFIG, "--print-config", "--set", "generator.num_blocks=7")
    assert code == 1
    assert "generator.num_blocks" in err


# --- models -------------------------------------------------------------------------------------


def test_models_info(run, model):
    code, out, _ = run("models", "info", model, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["architecture"] == "RRDBNet"
    assert found["scale_factor"] == 2
    assert found["hparams"]["num_basic_blocks"] == 1
    code, out, _ = run("models", "info", model)
    assert code == 0
    assert "scale_factor: 2" in out.splitlines()


# --- test ---------------------------------------------------------------------------------------


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for name in ("baby.png", "butterfly.png"):
        write_noise(tmp_path / "data" / "Set5" / name)
    flat = np.full((32, 32, 3), 90, dtype=np.uint8)  # which bicubic restores exactly
    (tmp_path / "data" / "flat").mkdir()
    write_image(tmp_path / "data" / "flat" / "gray.png", Image.from_array(flat))
    monkeypatch.setenv("TORCH_SR_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_test_prints_a_table(run, model, data_root):
    code, out, _ = run("test", model, "-d", "set5", "--per-image", "--device", "cpu")
    assert code == 0
    for word in ("set5", "bicubic", "tiny", "PSNR", "SSIM", "paper", "set5/baby", "set5/butterfly"):
        assert word in out


def test_test_json(run, model, data_root):
    code, out, _ = run(
        "test", model, "-d", "set5", "--show-results", "1", "--json", "--device", "cpu"
    )
    assert code == 0
    found = json.loads(out)
    assert found["protocol"] == "paper"
    of_the_model = [score for score in found["images"] if score["method"] == "tiny"]
    psnrs = [score["metrics"]["psnr"] for score in of_the_model]
    assert found["mean"]["set5"]["tiny"]["psnr"] == pytest.approx(np.mean(psnrs))
    assert found["best"] == [max(of_the_model, key=lambda score: score["metrics"]["psnr"])]


def test_test_compares_several_models(run, model, data_root, tmp_path):
    torch.manual_seed(2)
    other = tmp_path / "other" / "tiny.safetensors"  # of the same name
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(other, network)
    out_dir = tmp_path / "results"
    code, out, _ = run(
        "test", model, other, "-d", "set5", "-o", out_dir, "--json", "--device", "cpu"
    )
    assert code == 0
    found = json.loads(out)
    assert list(found["mean"]["set5"]) == ["bicubic", "models/tiny", "other/tiny"]
    for method, metrics in found["mean"]["set5"].items():
        low, high = found["interval"]["set5"][method]["psnr"]
        assert low <= metrics["psnr"] <= high
    assert len(names(out_dir)) == 3
    assert names(out_dir / "set5") == ["baby_sheet.png", "butterfly_sheet.png"]
    assert names(out_dir / "models_tiny" / "set5") == ["baby_sr.png", "butterfly_sr.png"]
    code, out, _ = run("test", model, other, "-d", "set5", "--show-results", "1", "--device", "cpu")
    assert out.splitlines()[-1].split()[-1] in {"models/tiny", "other/tiny"}


def test_test_of_models_of_several_factors_is_refused(run, model, data_root):
    code, _, err = run("test", model, "compact-x4", "-d", "set5", "--device", "cpu")
    assert code == 1
    assert "choose models of the same scale factor to compare: tiny x2, compact-x4 x4" in err


def test_test_by_the_protocol_of_enhanced_srgan_rounds_nothing(run, model, data_root):
    psnrs = []
    for protocol in ("enhanced-srgan", "paper"):
        code, out, _ = run(
            "test", model, "-d", "set5", "--protocol", protocol, "--json", "--device", "cpu"
        )
        assert code == 0
        psnrs.append(json.loads(out)["mean"]["set5"]["bicubic"]["psnr"])
    assert psnrs[0] < psnrs[1]  # the luma of the papers has a smaller range


def test_test_json_of_infinite_psnr_is_null(run, model, data_root):
    code, out, _ = run("test", model, "-d", "flat", "--json", "--device", "cpu")
    assert code == 0
    found = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found["mean"]["flat"]["bicubic"] == {"psnr": None, "ssim": pytest.approx(1.0)}


def test_test_stores_what_it_measured(run, model, data_root, tmp_path):
    out_dir = tmp_path / "results"
    code, out, _ = run(
        "test", model, "-d", "set5", "-o", out_dir, "--show-results", "9", "--device", "cpu"
    )
    assert code == 0
    assert names(out_dir / "set5") == [
        f"{name}_{kind}.png" for name in ("baby", "butterfly") for kind in ("sheet", "sr")
    ]
    assert read_image(out_dir / "set5" / "baby_sr.png").color.shape == (30, 42, 3)
    assert sum(str(out_dir) in line for line in out.splitlines()) == 2


def test_test_writes_a_report_and_a_list(run, model, data_root, tmp_path):
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    code, out, _ = run(
        "test", model, "-d", "set5,flat", "--report", page, "--csv", table, "--device", "cpu"
    )
    assert code == 0
    assert out.splitlines()[-2:] == [str(table), str(page)]
    text = page.read_text(encoding="utf-8")
    assert "<h1>set5, flat at x2</h1>" in text
    assert text.count("<article") == 3
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert rows[0] == ["dataset", "image", "method", "psnr", "ssim"]
    assert len(rows) == 1 + 3 * 2
    assert rows[1][:3] == ["set5", "set5/baby", "bicubic"]
    code, out, _ = run("test", model, "-d", "set5", "--csv", table, "--json", "--device", "cpu")
    images = json.loads(out)["images"]
    assert float(table.read_text().splitlines()[2].split(",")[3]) == images[1]["metrics"]["psnr"]


def test_an_unknown_format_of_the_plane_is_refused_first(run, model, tmp_path):
    code, _, err = run("test", model, "-d", "set5", "--plane", tmp_path / "plane.svg")
    assert code == 1
    assert "'.svg' is not a format that is written" in err


@pytest.mark.parametrize("option", ["--report", "--csv", "--plane"])
def test_files_that_cannot_be_written_are_refused_first(run, model, tmp_path, option):
    code, _, err = run("test", model, "-d", "set5", option, tmp_path / "none" / "file.html")
    assert code == 1
    assert "choose a file in an existing folder" in err


def test_sixteen_bits_are_measured_and_stored(run, model, data_root, tmp_path, photo):
    deep = photo(24, 32, 3, np.uint16)
    (data_root / "deep").mkdir()
    write_image(data_root / "deep" / "a.png", Image.from_array(deep))
    page = tmp_path / "page.html"
    code, _, _ = run(
        "test", model, "-d", "deep", "-o", tmp_path / "out", "--report", page, "--device", "cpu"
    )
    assert code == 0
    assert read_image(tmp_path / "out/deep/a_sr.png").depth == 16
    assert read_image(tmp_path / "out/deep/a_sheet.png").depth == 8
    assert page.is_file()


def test_test_measures_the_requested_metrics(run, model, data_root):
    code, out, _ = run(
        "test", model, "-d", "set5", "--metrics", "content_loss,ssim", "--json", "--device", "cpu"
    )
    assert code == 0
    assert list(json.loads(out)["images"][0]["metrics"]) == ["psnr", "content_loss", "ssim"]
    code, out, _ = run("test", model, "-d", "set5", "--metrics", "content_loss", "--device", "cpu")
    assert "content loss" in out
    code, _, err = run("test", model, "-d", "set5", "--metrics", "psrn", "--device", "cpu")
    assert code == 1
    assert "metric 'psrn': choose one of psnr, ssim" in err


def test_all_selects_the_available_metrics(run, model, data_root, monkeypatch, offline):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    arguments = ["test", model, "-d", "set5", "--metrics", "all"]
    code, out, err = run(*arguments, "--json", "--device", "cpu")
    assert code == 0
    assert list(json.loads(out)["images"][0]["metrics"]) == ["psnr", "ssim", "content_loss"]
    code, _, without = run(*arguments, "--plane", "p.png")
    assert code == 1
    assert "--plane needs a perceptual metric" in without
    left_out = [line.split()[2].strip(":") for line in err.splitlines()]
    assert left_out == ["perceptual_loss", "lpips", "dists", "niqe", "brisque"]


def test_the_plane_shows_models_and_a_sweep(run, model, data_root, tmp_path, monkeypatch):
    torch.manual_seed(5)
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(tmp_path / "gan.safetensors", network)
    from torch_sr.evaluation import metric_table
    from torch_sr.evaluation.presentation import perception_distortion

    drawn = []
    original = perception_distortion.draw_plane
    monkeypatch.setattr(
        perception_distortion,
        "draw_plane",
        lambda points, *rest: (drawn.append(points), original(points, *rest))[1],
    )
    row = metric_table.METRICS["lpips"]
    monkeypatch.setitem(
        metric_table.METRICS, "lpips", dataclasses.replace(row, build=lambda _: lambda sr, hr: 0.5)
    )
    plane = tmp_path / "plane.png"
    code, out, _ = run(
        *("test", model, "-d", "set5,flat", "--plane", plane, "--device", "cpu", "--json"),
        *("--sweep", f"{model},{tmp_path / 'gan.safetensors'}", "--sweep-steps", "2"),
    )
    assert code == 0
    means = json.loads(out)["mean"]["set5"]
    assert list(means) == ["bicubic", "tiny", "alpha 0", "alpha 0.5", "alpha 1"]
    assert means["alpha 0"] == pytest.approx(means["tiny"], abs=1e-3)
    assert means["alpha 1"]["psnr"] != means["alpha 0"]["psnr"]
    assert [point.group for point in drawn[0]] == [None, None, *["networks"] * 3]
    assert drawn[0][0].y == 0.5
    assert read_image(plane).color.shape == (720, 960, 3)


@pytest.mark.parametrize(
    ("sweep", "code", "words"),
    [
        ("one", 2, "two models"),
        (
            "compact-x4,compact-x4",
            1,
            "--sweep: choose models of x2, as the others are; these are of x4",
        ),
    ],
)
def test_sweeps_that_do_not_fit(run, model, data_root, sweep, code, words):
    found, _, err = run("test", model, "-d", "set5", "--sweep", sweep, "--device", "cpu")
    assert found == code
    assert words in " ".join(err.split())


def test_best_images_are_shown_where_there_is_a_display(run, model, data_root, monkeypatch):
    from torch_sr.cli.test import results as command

    shown = []
    monkeypatch.setattr(PillowImage.Image, "show", lambda self, title: shown.append(title))
    monkeypatch.setattr(command, "has_display", lambda: True)
    run("test", model, "-d", "set5", "--show-results", "1", "--device", "cpu")
    assert len(shown) == 1
    monkeypatch.setattr(command, "has_display", lambda: False)
    run("test", model, "-d", "set5", "--show-results", "1", "--device", "cpu")
    assert len(shown) == 1


def test_a_display_needs_a_terminal_and_a_screen(monkeypatch):
    from torch_sr.cli.test.results import has_display

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert not has_display()


def test_test_is_the_same_every_time_and_tiled_nearly_whole(run, model, data_root):
    def psnr(*options):
        code, out, _ = run("test", model, "-d", "set5", "--json", "--device", "cpu", *options)
        assert code == 0
        return json.loads(out)["mean"]["set5"]["tiny"]["psnr"]

    assert psnr() == psnr()
    assert psnr("--tile-size", "8") == pytest.approx(psnr(), abs=0.01)


def test_test_lists_names_where_nothing_is_stored(run, model, data_root):
    code, out, _ = run("test", model, "-d", "set5", "--show-results", "1", "--device", "cpu")
    assert code == 0
    assert out.splitlines()[-1].split("dB")[1].strip() in {"set5/baby", "set5/butterfly"}


def test_test_of_a_missing_data_set(run, model, data_root):
    code, _, err = run("test", model, "-d", "set14", "--device", "cpu")
    assert code == 1
    assert "Set14" in err
    assert "--data-root" in err


def test_results_that_cannot_be_stored(run, model, data_root, tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, _, err = run("test", model, "-d", "set5", "-o", tmp_path / "file", "--device", "cpu")
    assert code == 1
    assert "this one cannot be created" in err


def test_upscale_prints_names_that_are_not_valid_text(model, tmp_path):
    strange = os.fsdecode(b"b\xff\n")
    for name in (strange, "\u65e5", f"{strange}2", "\u65e52"):
        write_noise(tmp_path / f"{name}.png")
    for name in (strange, "\u65e5"):  # the results of these exist, which is an error
        write_noise(tmp_path / f"{name}_sr.png")
    command = [sys.executable, "-m", "torch_sr", "upscale", tmp_path, "-m", model]
    done = subprocess.run(
        [*command, "--device", "cpu"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "\\u65e52_sr.png" in done.stdout
    assert len(done.stderr.splitlines()) == 3
    assert (tmp_path / f"{strange}2_sr.png").exists()


def test_upscale_resamples_and_chooses_the_format(run, model, photos):
    arguments = ["upscale", photos / "a.png", "-m", model, "--device", "cpu"]
    assert run(*arguments, "--scale", "2.5", "--format", "webp", "--lossless")[0] == 0
    height, width = read_image(photos / "a.png").color.shape[:2]
    assert read_image(photos / "a_sr.webp").color.shape[:2] == (
        round(2.5 * height),
        round(2.5 * width),
    )
    assert run(*arguments, "-o", photos / "big.jpg", "--width", "50", "--quality", "30")[0] == 0
    assert read_image(photos / "big.jpg").color.shape[1] == 50


def test_upscale_reads_names_from_standard_input(run, model, photos, monkeypatch):
    odd = photos / "c\r\u2028.png"
    odd.write_bytes((photos / "a.png").read_bytes())
    names_ = b"\0".join(map(os.fsencode, [photos / "a.png", odd, ""]))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names_), "utf-8"))
    code, _, err = run("upscale", "-", "-m", model, "--device", "cpu")
    assert code == 0, err
    assert (photos / "c\r\u2028_sr.png").exists()
    monkeypatch.setattr("sys.stdin", None)
    assert run("upscale", "-", "-m", model)[0] == 2


def test_upscale_shows_names_as_they_are(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    job = Job(Path("a[link=b]c\n.png"), Path("x.png"), pixels=8)
    with show_progress([job]) as (on_tile, _):
        on_tile(job, 1, 2)
    assert r"a[link=b]c\n.png" in capsys.readouterr().err


def test_upscale_draws_missing_sheets_and_reports_failures(run, model, photos):
    arguments = ["upscale", photos / "a.png", "-m", model, "--device", "cpu", "--compare"]
    assert run(*arguments)[0] == 0
    sheet = photos / "a_sr_sheet.png"
    sheet.unlink()
    assert run(*arguments, "--skip-existing")[0] == 0
    assert sheet.exists()
    sheet.unlink()
    (photos / "a.png").write_bytes(b"")
    code, _, err = run(*arguments, "--skip-existing")
    assert code == 1
    assert "a_sr_sheet.png: cannot be drawn: " in err


def test_upscale_draws_sheets(run, model, photos):
    code, _, err = run("upscale", photos / "a.png", "-m", model, "--compare", "--device", "cpu")
    assert code == 0, err
    sheet = read_image(photos / "a_sr_sheet.png").color
    assert sheet.shape[0] > 500
    assert sheet.std() > 20


def test_upscale_shares_files_among_processes(run, model, photos):
    printed = [
        run("upscale", photos, "-m", model, "--device", "cpu", "--shard", f"{part}/2")[1]
        for part in (1, 2)
    ]
    assert [text.split() for text in printed] == [
        [str(photos / "a_sr.png")],
        [str(photos / "b_sr.png")],
    ]


def test_upscale_logs_json(run, model, photos):
    (photos / "c.png").write_bytes(b"")
    code, out, _ = run("upscale", photos, "-m", model, "--device", "cpu", "--json")
    assert code == 1
    *lines, last = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines] == ["done", "done", "failed"]
    assert "is empty" in lines[2]["message"]
    summary = last["summary"]
    assert [summary[key] for key in ("done", "skipped", "failed")] == [2, 0, 1]
    assert summary["other_files"] == {".txt": 1}
    assert summary["megapixels"] == pytest.approx(2 * 30 * 42 / 1e6)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--scale", "2", "--width", "10"],
        ["--scale", "nan"],
        ["--scale", "inf"],
        ["--skip-existing", "--overwrite"],
        ["--shard", "3/2"],
        ["--shard", "x"],
        ["--quality", "0"],
        ["--crf", "99"],
    ],
)
def test_upscale_refuses_contradicting_options(run, photos, wrong):
    assert run("upscale", photos / "a.png", *wrong)[0] == 2


@pytest.mark.parametrize(
    ("argument", "code", "out"), [("--version", 0, "torch-sr 0.1.0\nbye\n"), ("typo", 2, "bye\n")]
)
def test_the_program_exits_quickly_after_its_exit_functions(argument, code, out):
    program = (
        "import atexit, sys\n"
        "from torch_sr.cli.main import program\n"
        "atexit.register(print, 'bye')\n"
        f"sys.argv = ['torch-sr', {argument!r}]\n"
        "try:\n"
        "    program()\n"
        "finally:\n"
        "    print('never reached')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (code, out)


def test_the_program_waits_for_its_threads():
    program = (
        "import sys, threading, time\n"
        "from torch_sr.cli.main import program\n"
        "def work():\n"
        "    time.sleep(0.2)\n"
        "    print('done')\n"
        "threading.Thread(target=work).start()\n"
        "sys.argv = ['torch-sr', '--version']\n"
        "program()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "torch-sr 0.1.0\ndone\n")
