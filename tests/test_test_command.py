"""``torch-sr test`` and ``interpolate``: names, formats, comparisons."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from scipy.stats import bootstrap

from torch_sr.evaluation import metric_choice, metric_table
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

DEVICE = ("--device", "cpu")


@pytest.fixture
def run(run, monkeypatch, tmp_path):
    """Run ``torch-sr`` with caches and data sets of the test's own."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_SR_DATA", str(tmp_path / "data"))
    return run


@pytest.fixture
def save(tmp_path):
    """Write a tiny network of factor 2."""

    def save(name, seed=1):
        torch.manual_seed(seed)
        network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
        save_generator(tmp_path / name, network)
        return tmp_path / name

    return save


@pytest.fixture
def draw(tmp_path):
    """Write an image of noise, or of one color, below the data root."""

    def draw(name, seed=0, flat=False):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (32, 40, 3), dtype=np.uint8)
        PillowImage.fromarray(np.full_like(pixels, 90) if flat else pixels).save(path)

    return draw


@pytest.fixture
def no_internet(monkeypatch, offline):
    """Torchvision's weights cannot be downloaded, and pyiqa is missing."""
    monkeypatch.setattr(metric_choice, "find_spec", lambda name: None)


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


# --- Names ----------------------------------------------------------------------------------------


def test_images_of_one_name_keep_their_results_and_rows(run, save, draw, tmp_path):
    for seed, name in enumerate(("same.png", "same.jpg", "SAME.bmp", "other.png")):
        draw(f"photos/{name}", seed)
    out, table, page = tmp_path / "out", tmp_path / "t.csv", tmp_path / "page.html"
    code, printed, _ = run(
        *("test", save("m.pth"), "-d", "photos", "-o", out, "--csv", table, "--report", page),
        *("--json", *DEVICE),
    )
    assert code == 0
    names = ["photos/SAME.bmp", "photos/other", "photos/same.jpg", "photos/same.png"]
    assert files(out) == sorted(f"{n}_{kind}.png" for n in names for kind in ("sheet", "sr"))
    rows = list(csv.DictReader(table.open()))
    assert [row["image"] for row in rows[::2]] == names
    assert {score["image"] for score in json.loads(printed)["images"]} == set(names)
    text = page.read_text(encoding="utf-8")
    assert all(f'data-name="{name}"' in text for name in names)


def test_data_sets_of_one_folder_name_and_one_given_twice(run, save, draw, tmp_path):
    draw("a/photos/x.png", 1)
    draw("b/photos/x.png", 2)
    draw("ü/x.png", 3)
    draw("ö/x.png", 4)
    out = tmp_path / "out"
    specs = "a/photos,b/photos,ü,ö,a/photos"
    code, printed, err = run("test", save("m.pth"), "-d", specs, "-o", out, "--json", *DEVICE)
    assert code == 0
    assert "a/photos is given more than once and measured once" in err
    found = json.loads(printed)
    assert list(found["mean"]) == ["a/photos", "b/photos", "ü", "ö"]
    images = {score["image"] for score in found["images"]}
    assert len(images) == 4
    assert files(out) == sorted(f"{n}_{kind}.png" for n in images for kind in ("sheet", "sr"))


def test_labels_name_the_rows_and_the_folders(run, save, draw, tmp_path):
    draw("five/x.png")
    one, two = save("a=b.pth"), save("b/m.pth", 2)
    out = tmp_path / "out"
    code, printed, _ = run(
        *("test", f"my model={one}", one, two, "-d", "five", "-o", out, "--json", *DEVICE)
    )
    assert code == 0
    assert list(json.loads(printed)["mean"]["five"]) == ["bicubic", "my model", "a=b", "m"]
    assert (out / "my model" / "five" / "x_sr.png").is_file()
    code, _, err = run("test", f"x={one}", f"x={two}", "-d", "five", *DEVICE)
    assert code == 1
    assert "'x' is given to two models" in err


def test_a_model_called_bicubic_or_with_brackets_has_its_own_row(run, save, draw, tmp_path):
    draw("five/x.png")
    odd = save("[bold]x[b].pth", 2)
    code, out, err = run(
        "test", save("bicubic.pth"), odd, "-d", "five", "--show-results", "9", *DEVICE
    )
    assert code == 0, err
    assert "bicubic.pth" in out
    assert "[bold]x[b]" in out
    assert sum(" dB  five/x" in line for line in out.splitlines()) == 2


def test_the_same_name_in_a_sweep_and_a_model(run, save, draw, monkeypatch, tmp_path):
    draw("five/x.png")
    draw("five/y.png", 1)
    row = metric_table.METRICS["lpips"]
    stand_in = metric_table.Metric(row.title, 4, False, lambda _: lambda sr, hr: 0.5)
    monkeypatch.setitem(metric_table.METRICS, "lpips", stand_in)
    drawn = []
    monkeypatch.setattr(
        "torch_sr.evaluation.presentation.perception_distortion.draw_plane",
        lambda points, *_: drawn.extend(points) or np.zeros((8, 8, 3), np.uint8),
    )
    one, two = save("alpha channel model.pth"), save("alpha 0.5.pth", 2)
    code, out, _ = run(
        *("test", one, two, "-d", "five", "--plane", tmp_path / "p.png", "--json", *DEVICE),
        *("--sweep", f"{one},{two}", "--sweep-steps", "2"),
    )
    assert code == 0
    methods = list(json.loads(out)["mean"]["five"])
    sweep = ["alpha 0", "alpha 0.5", "alpha 1"]
    assert methods == ["bicubic", "alpha channel model", "alpha 0.5.pth", *sweep]
    assert [point.method for point in drawn if point.group == "networks"] == sweep


# --- Formats and comparisons ----------------------------------------------------------------------


def test_formats_print_a_document_and_nothing_else(run, save, draw, tmp_path):
    draw("five/x.png")
    draw("five/flat.png", flat=True)
    model = save("m_1.pth")
    command = (
        "test",
        model,
        "-d",
        "five",
        "--show-results",
        "1",
        "--csv",
        tmp_path / "t.csv",
        *DEVICE,
    )
    code, out, err = run(*command, "--format", "markdown", "--per-image")
    assert code == 0
    lines = [line for line in out.splitlines() if line]
    assert all(line.startswith(("|", "**")) for line in lines)
    assert any(line.startswith(r"| five | m\_1 |") for line in lines)
    assert any(r"| five/x | m\_1 |" in line for line in lines)
    assert "t.csv" in err
    assert "1 of 2 images identical to the original: not in the mean (five/flat)" in err
    code, out, _ = run(*command, "--format", "latex")
    assert out.startswith("% mean")
    assert out.rstrip().endswith(r"\end{tabular}")
    code, out, _ = run(*command, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["method"] for row in rows] == ["bicubic", "m_1"]
    found = json.loads(run(*command, "--json")[1])
    assert json.loads(run(*command, "--format", "json")[1]) == found
    assert float(rows[1]["psnr"]) == found["mean"]["five"]["m_1"]["psnr"]
    assert rows[0]["psnr_images"] == "1"
    assert found["left_out"] == {"five": {"bicubic": {"psnr": ["five/flat"]}}}
    assert found["mean"]["five"]["bicubic"]["psnr"] is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--format", "xml"], "choose one of table, markdown, latex, csv, json"),
        (["--format", "csv", "--json"], "choose one of the two"),
        (["--format", "csv", "--per-image"], "--csv FILE"),
        (["--versus", "nobody"], "choose one of bicubic, m"),
        (["--protocol", "paper,none"], "'none'"),
        (["--csv", "same", "--report", "same"], "choose different files"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_first(run, save, options, words):
    code, out, err = run("test", save("m.pth"), "-d", "nowhere", *options, *DEVICE)
    assert code == 2
    assert not out or json.loads(out)["error"]["type"] == "UsageError"
    assert words in " ".join(err.replace("│", " ").split())


def test_models_are_compared_with_the_first_or_a_chosen_one(run, save, draw):
    for seed in range(6):
        draw(f"five/{seed}.png", seed)
    one, two = save("one.pth"), save("two.pth", 2)
    command = ("test", one, two, "-d", "five", "--json", *DEVICE)
    found = json.loads(run(*command)[1])
    assert found["reference"] == "one"
    assert list(found["difference"]["five"]) == ["bicubic", "two"]
    values = {
        method: [s["metrics"]["psnr"] for s in found["images"] if s["method"] == method]
        for method in ("one", "two")
    }
    apart = np.subtract(values["two"], values["one"])
    expected = bootstrap(
        (apart,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    difference = found["difference"]["five"]["two"]["psnr"]
    assert difference["mean"] == pytest.approx(apart.mean())
    assert difference["low"] == pytest.approx(expected.low, abs=0.01)
    assert difference["high"] == pytest.approx(expected.high, abs=0.01)
    assert difference["excludes_zero"] == (expected.low > 0 or expected.high < 0)
    assert json.loads(run(*command, "--versus", "bicubic")[1])["reference"] == "bicubic"
    assert "reference" not in json.loads(run("test", one, "-d", "five", "--json", *DEVICE)[1])
    assert "difference from one" in run(*command[:-3], *DEVICE)[1]


def test_cost_adds_columns(run, save, draw):
    draw("five/x.png")
    model = save("m.pth")
    command = ("test", model, "-d", "five", *DEVICE)
    code, out, _ = run(*command, "--cost")
    assert code == 0
    for word in ("parameters", "1280x720", "megapixels/s", "3.51 K"):
        assert word in out
    assert "parameters" not in run(*command)[1]
    cost = json.loads(run(*command, "--cost", "--json")[1])["cost"]["five"]["m"]
    network = read_model(model).network
    assert cost["num_parameters"] == sum(p.numel() for p in network.parameters())
    assert cost["megapixels_per_second"] > 0


def test_several_protocols_give_a_table_each(run, save, draw, tmp_path):
    draw("five/x.png")
    table = tmp_path / "t.csv"
    command = ("test", save("m.pth"), "-d", "five", *DEVICE)
    code, out, _ = run(*command, "--protocol", "paper,enhanced-srgan", "--json", "--csv", table)
    assert code == 0
    found = json.loads(out)
    for protocol in ("paper", "enhanced-srgan"):
        alone = json.loads(run(*command, "--protocol", protocol, "--json")[1])["mean"]
        own = found if protocol == "paper" else found["other_protocols"][protocol]
        assert own["mean"] == alone
    rows = list(csv.DictReader(table.open()))
    assert [row["protocol"] for row in rows] == ["paper"] * 2 + ["enhanced-srgan"] * 2


def test_a_plane_without_its_weights_names_another_metric(
    run, save, draw, tmp_path, no_internet, monkeypatch
):
    draw("five/x.png")
    command = ("test", save("m.pth"), "-d", "five", "--plane", tmp_path / "p.png", *DEVICE)
    code, out, err = run(*command)
    assert (code, out) == (1, "")
    assert err.startswith(
        "torch-sr: error: use `pip install 'torch-sr[quality]'` and --metrics niq"
    )
    monkeypatch.setattr(metric_choice, "find_spec", lambda name: name)
    _, _, err = run(*command)
    assert err.startswith("torch-sr: error: use --metrics niqe or --metrics brisque")
    assert err.count("\n") == 1


# --- interpolate ----------------------------------------------------------------------------------


def test_a_sweep_is_written_even_if_it_cannot_be_measured(run, save, draw, tmp_path, no_internet):
    draw("five/x.png")
    out = tmp_path / "new" / "s.pth"
    command = (
        *("interpolate", save("a.pth"), save("b.pth", 2), out),
        *("--alpha", "0:1:0.5", "-d", "five", *DEVICE),
    )
    code, printed, err = run(*command)
    assert code == 1
    written = [str(tmp_path / "new" / f"s_{alpha}.pth") for alpha in ("0", "0.5", "1")]
    assert printed.split() == written
    assert all(read_model(path).info.scale_factor == 2 for path in written)
    assert err.startswith("torch-sr: error: use `pip install 'torch-sr[quality]'` and --perception")
    assert "niqe" in err
    assert "https://" in err
    code, printed, err = run(*command, "--json")
    found = json.loads(printed)
    assert (code, found["models"]) == (1, written)
    assert found["error"]["type"] == "ModelError"
    assert err.strip() == f"torch-sr: error: {found['error']['message']}"


def test_a_sweep_may_replace_its_own_ends(run, save, tmp_path):
    first, last = save("m_1.pth"), save("m_0.5.pth", 2)
    expected = read_model(last).network.state_dict()
    ends = (first, last)
    code, _, err = run("interpolate", *ends, tmp_path / "m.pth", "--alpha", "0:1:0.5")
    assert code == 0, err
    found = read_model(tmp_path / "m_1.pth").network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_steps_of_a_sweep_that_are_close_have_separate_files(run, save, tmp_path):
    ends = (save("a.pth"), save("b.pth", 2))
    steps = ("--alpha", "0.5:0.5000002:0.0000001")
    code, out, _ = run("interpolate", *ends, tmp_path / "m.pth", *steps)
    assert code == 0
    assert [Path(line).name for line in out.split()] == [
        *("m_0.5.pth", "m_0.5000001.pth", "m_0.5000002.pth")
    ]
    assert all(Path(line).is_file() for line in out.split())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--dtype", "int8", "-d", "five"], 1, "int8"),
        (["-d", "nowhere"], 1, "nowhere"),
        (["-d", "five", "--perception", "nonsense"], 1, "'nonsense'"),
        (["--perception", "lpips"], 2, "needs --datasets"),
        (["--image-space"], 2, "needs --preview or --datasets"),
        (["--weights", "0.5,0.5"], 2, "give one of them"),
        (["--device", "nonsense"], 1, "'nonsense'"),
    ],
)
def test_options_of_interpolate_are_checked_before_anything_is_written(
    run, save, draw, tmp_path, options, code, words
):
    draw("five/x.png")
    ends = (save("a.pth"), save("b.pth", 2))
    before = files(tmp_path)
    found, out, err = run("interpolate", *ends, tmp_path / "m.pth", "--alpha", "0:1:0.5", *options)
    assert (found, out) == (code, "")
    assert words in " ".join(err.replace("│", " ").split())
    assert files(tmp_path) == before


def test_a_file_that_cannot_be_a_model_is_refused_at_once(run, save, tmp_path):
    ends = ("nowhere.pth", "nowhere.pth")
    code, _, err = run("interpolate", *ends, tmp_path / "m.txt", "--alpha", "0.5")
    assert code == 1
    assert "m.txt: the suffix must be one of" in err


def test_a_soup_by_labels(run, save, tmp_path):
    one, two = save("one.pth"), save("sub/one.pth", 2)
    soup = ("interpolate", f"a={one}", f"b={two}", tmp_path / "soup.pth")
    assert run(*soup, "--weights", "b=0.25,a=0.75")[0] == 0
    key = "body.0.rdb1.conv1.weight"
    first, second, mixed = (
        read_model(path).network.state_dict()[key] for path in (one, two, tmp_path / "soup.pth")
    )
    torch.testing.assert_close(mixed, 0.75 * first + 0.25 * second)
    parents = json.loads(read_model(tmp_path / "soup.pth").info.metadata["parents"])
    assert [(p["name"], p["weight"]) for p in parents] == [("a", 0.75), ("b", 0.25)]
    for weights in ("a=0.5,c=0.5", "a=0.5,0.5", "a=0.5,a=0.5"):
        code, _, err = run(*soup, "--weights", weights)
        assert code == 2
        assert "by its label" in " ".join(err.replace("│", " ").split())
    twice = ("interpolate", f"a={one}", f"a={two}", tmp_path / "soup.pth")
    assert run(*twice, "--weights", "0.5,0.5")[0] == 1
    refused = run(*soup, "--weights", "0.5,0.5", "--preview", "x.png", "--perception", "lpips")
    assert refused[0] == 2
    assert "leave out --preview" in " ".join(refused[2].replace("│", " ").split())


@pytest.mark.parametrize("option", ["--csv", "--report", "--plane"])
def test_outputs_never_replace_a_model(run, save, draw, option):
    draw("five/x.png")
    model = save("m.pth")
    before = Path(model).read_bytes()
    code, _, err = run("test", model, "-d", "five", option, model, *DEVICE)
    assert code == 1
    assert "m.pth" in err
    assert Path(model).read_bytes() == before


def test_csv_and_report_refuse_names_of_images(run, save, draw, tmp_path):
    draw("five/x.png")
    photo = tmp_path / "data/five/x.png"
    before = photo.read_bytes()
    for option in ("--csv", "--report"):
        code, _, err = run("test", save("m.pth"), "-d", "five", option, photo, *DEVICE)
        assert code == 1
        assert "choose another suffix" in err
    assert photo.read_bytes() == before


def test_results_are_not_stored_among_the_images_of_a_data_set(run, save, draw, tmp_path):
    draw("five/x.png")
    for out in (tmp_path / "data", tmp_path / "data/five"):
        code, _, err = run("test", save("m.pth"), "-d", "five", "-o", out, *DEVICE)
        assert code == 1
        assert "--out: choose another folder" in err
    assert [file.name for file in (tmp_path / "data/five").iterdir()] == ["x.png"]


def test_a_file_that_cannot_be_written_is_refused_first(run, save, draw, tmp_path, monkeypatch):
    draw("five/x.png")
    monkeypatch.setattr(Path, "touch", lambda *_, **__: (_ for _ in ()).throw(OSError(30, "no")))
    monkeypatch.setattr("torch_sr.cli.test.run.measure", lambda *_: pytest.fail("measured"))
    code, _, err = run("test", save("m.pth"), "-d", "five", "--csv", tmp_path / "a.csv", *DEVICE)
    assert code == 1
    assert "a.csv: choose another folder; no file can be written there" in err


def test_other_spellings_of_a_data_set_are_measured_once(run, save, draw):
    draw("five/x.png")
    code, out, err = run("test", save("m.pth"), "-d", "five,./five,five/", "--json", *DEVICE)
    assert code == 0
    assert list(json.loads(out)["mean"]) == ["five"]
    assert err.count("given more than once") == 2


def test_one_image_has_no_interval(run, save, draw):
    draw("five/x.png")
    model = save("m.pth")
    found = json.loads(run("test", model, "-d", "five", "--json", *DEVICE)[1])
    assert found["interval"]["five"]["m"]["psnr"] == [None, None]
    table = run("test", model, "-d", "five", *DEVICE)[1]
    assert "95 %" not in table
    row = next(csv.DictReader(io.StringIO(run("test", model, "-d", "five", "--format", "csv")[1])))
    assert row["psnr_low"] == row["psnr_high"] == ""


def test_names_are_not_formulas_in_spreadsheets(run, save, draw, tmp_path):
    draw("five/=1+1.png")
    scores = tmp_path / "scores.csv"
    command = ("test", f"@sum={save('m.pth')}", "-d", "five", "--format", "csv", *DEVICE)
    code, out, _ = run(*command, "--csv", scores)
    assert code == 0
    assert [row["method"] for row in csv.DictReader(io.StringIO(out))] == ["bicubic", "'@sum"]
    with scores.open(newline="") as file:
        assert all(row["method"] in ("bicubic", "'@sum") for row in csv.DictReader(file))


def test_a_sweep_takes_paths_with_commas_and_no_labels(run, save, draw):
    draw("five/x.png")
    first, second = save("a, b.pth"), save("c.pth", 2)
    common = ("test", first, "-d", "five", "--sweep-steps", "1", "--json", *DEVICE)
    code, out, _ = run(*common, "--sweep", f"{first},{second}")
    assert code == 0
    assert list(json.loads(out)["mean"]["five"]) == ["bicubic", "a, b", "alpha 0", "alpha 1"]
    code, _, err = run(*common, "--sweep", f"x={second},{second}")
    assert code == 2
    assert "leave out the label" in err
    code, _, err = run(*common, "--sweep", second)
    assert code == 2
    assert "two models" in err


def test_an_empty_list_of_metrics_is_refused(run, save):
    code, _, err = run("test", save("m.pth"), "-d", "five", "--metrics", " ,", *DEVICE)
    assert code == 2
    assert "--metrics: name at least one metric" in err


def test_a_network_that_computes_nan_is_refused_by_name(run, draw, tmp_path):
    draw("five/x.png")
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1e20)
    save_generator(tmp_path / "huge.pth", network)
    code, out, err = run("test", tmp_path / "huge.pth", "-d", "five", *DEVICE)
    assert (code, out) == (1, "")
    assert "huge, five/x: choose another model" in err
    photo = tmp_path / "data/five/x.png"
    out_dir = tmp_path / "up"
    code, _, err = run("upscale", photo, "-m", tmp_path / "huge.pth", "-o", out_dir, *DEVICE)
    assert code == 1
    assert "NaN or infinite" in err
    assert not list(out_dir.glob("*"))


def test_the_strip_of_a_preview_never_replaces_its_image(run, save, draw, tmp_path):
    draw("s_preview.png")
    preview = tmp_path / "data/s_preview.png"
    before = preview.read_bytes()
    code, _, err = run(
        *("interpolate", save("a.pth"), save("b.pth", 2), tmp_path / "data/s.pth"),
        *("--alpha", "0.5", "--preview", preview),
    )
    assert code == 2
    assert "--preview" in err
    assert preview.read_bytes() == before
