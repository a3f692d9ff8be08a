"""Labels, means, differences and tables of scores, and where results are stored."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from torch_sr.errors import ModelError
from torch_sr.evaluation.averages import mean_over_images
from torch_sr.evaluation.compare import Comparison, ImageScore, compare
from torch_sr.evaluation.cost import CostWatch, MethodCost
from torch_sr.evaluation.labels import (
    NamedModel,
    distinct,
    folder_names,
    label_models,
    parse_named,
    wrap,
)
from torch_sr.evaluation.method import Method, bicubic
from torch_sr.evaluation.metric_table import MetricSettings, build_protocol_metrics
from torch_sr.evaluation.presentation.perception_distortion import draw_plane, plane_points
from torch_sr.evaluation.presentation.table_formats import means_csv, to_latex, to_markdown
from torch_sr.evaluation.presentation.tables import (
    Results,
    difference_table,
    mean_table,
    rank,
)
from torch_sr.evaluation.statistics import (
    describe_left_out,
    differences,
    left_out_notes,
    paired_difference,
    summarize,
)
from torch_sr.evaluation.store import ResultStore
from torch_sr.images import from_unit, to_unit
from torch_sr.metrics import PROTOCOLS
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet


def scores_of(values, dataset="set", metric="psnr"):
    """Scores of methods, from lists of one value an image."""
    return [
        ImageScore(dataset, f"{dataset}/{n}", method, {metric: value})
        for method, found in values.items()
        for n, value in enumerate(found)
    ]


# --- Labels ---------------------------------------------------------------------------------------


def labels_of(tmp_path, *specs, taken=()):
    """The labels of files, which are made."""
    named = []
    for spec in specs:
        model = parse_named(spec) if "=" in spec else NamedModel(spec)
        path = tmp_path / model.model
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        named.append(NamedModel(str(path), model.label))
    files = [Path(model.model) for model in named]
    return label_models(named, files, [file.stem for file in files], taken)


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["a/x.pth", "b/y.pth"], ["x", "y"]),
        (["a/x.pth", "b/x.pth", "b/y.pth"], ["a/x", "b/x", "y"]),
        (["a/x.pth", "a/x.safetensors"], ["x.pth", "x.safetensors"]),
        (["r/1/best.pth", "s/1/best.pth"], ["r/1/best", "s/1/best"]),
        (["bicubic.pth"], ["bicubic.pth"]),
    ],
)
def test_models_of_one_name_get_the_shortest_labels_that_differ(tmp_path, files, labels):
    assert labels_of(tmp_path, *files, taken=["bicubic"]) == labels


def test_labels_are_given_and_clashes_refused(tmp_path, monkeypatch):
    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    one.touch()
    two.touch()

    def label(*named, taken=()):
        files = [Path(model.model) for model in named]
        return label_models(named, files, [file.stem for file in files], taken)

    assert label(NamedModel(str(one), "two"), NamedModel(str(two))) == ["two", "two.pth"]
    assert label(NamedModel(str(one), "a"), NamedModel(str(one), "b")) == ["a", "b"]
    with pytest.raises(ModelError, match="'a' is given to two models"):
        label(NamedModel(str(one), "a"), NamedModel(str(two), "a"))
    with pytest.raises(ModelError, match=r"'alpha 0\.5' is already the name of a method"):
        label(NamedModel(str(one), "alpha 0.5"), taken=["alpha 0.5"])
    with pytest.raises(ModelError, match="named twice"):
        label(NamedModel(str(one)), NamedModel(str(one)))


def test_text_with_an_equals_sign_is_a_path_if_that_file_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a=b.pth").touch()
    Path("lr=1").mkdir()
    Path("lr=1", "m.pth").touch()
    assert parse_named("a=b.pth") == NamedModel("a=b.pth")
    assert parse_named("mine=a=b.pth") == NamedModel("a=b.pth", "mine")
    assert parse_named("lr=1/m.pth") == NamedModel("lr=1/m.pth")
    assert parse_named("x=lr=1/m.pth") == NamedModel("lr=1/m.pth", "x")
    assert parse_named("x=compact-x4") == NamedModel("compact-x4", "x")
    assert parse_named("runs/lr=2/m.pth") == NamedModel("runs/lr=2/m.pth")
    with pytest.raises(ModelError, match=r"neither lr=3/m.pth nor 3/m.pth \(labeled 'lr'\) exists"):
        parse_named("lr=3/m.pth")
    for wrong in ("=a.pth", "a="):
        with pytest.raises(ModelError, match="LABEL=MODEL"):
            parse_named(wrong)


def test_names_of_images_are_distinct_even_if_case_is_ignored():
    taken: set[str] = set()
    assert distinct(["Same", "same", "other"], taken) == ["Same", "same-2", "other"]
    assert distinct(["SAME"], taken) == ["SAME-3"]
    assert len(set(distinct(["e\u0301", "\u00e9"]))) == 2  # one name to a Macintosh
    assert distinct(["a", "a", "a-2"]) == ["a", "a-3", "a-2"]


def test_folders_of_labels_are_valid_and_distinct():
    folders = folder_names(["a/x", "a:x", "A_X", "..", "", "é" * 300])
    names = list(folders.values())
    assert len({name.casefold() for name in names}) == 6
    assert all(name.strip(".") and "/" not in name and ":" not in name for name in names)
    assert max(len(name.encode()) for name in names) < 255


def test_labels_are_wrapped_without_losing_a_letter():
    label = "192_cr_23_rrdb_div2k-bsds500_" + "x" * 40
    lines = wrap(label, lambda line: len(line) <= 16)
    assert "".join(lines) == label
    assert max(map(len, lines)) <= 16
    assert lines[0] == "192_cr_23_rrdb_"
    assert wrap("short", lambda line: True) == ["short"]


# --- Means and differences ------------------------------------------------------------------------


def test_an_infinite_value_is_left_out_of_the_mean_and_reported_by_name():
    found = mean_over_images({"a": 30.0, "b": 34.0, "flat": math.inf, "bad": math.nan})
    assert found.value == 32
    assert list(found.left_out) == ["flat", "bad"]
    assert describe_left_out({"flat": math.inf}, 5) == (
        "1 of 5 images identical to the original: not in the mean (flat)"
    )
    assert "without a finite value" in describe_left_out({"bad": math.nan}, 5)
    assert math.isnan(mean_over_images({"flat": math.inf}).value)
    table = summarize(scores_of({"m": [30.0, math.inf, 32.0], "n": [1.0, 2.0, 3.0]}))
    assert table["set"]["m"]["psnr"].mean == 31
    assert table["set"]["m"]["psnr"].images == 3
    assert 30 <= table["set"]["m"]["psnr"].low <= 31 <= table["set"]["m"]["psnr"].high <= 32
    (note,) = left_out_notes(table)
    assert note.startswith("set, psnr of m: 1 of 3 images identical")
    assert "set/1" in note


def test_the_paired_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(2)
    base = rng.normal(28, 3, 60)
    value = base + rng.normal(0.1, 0.2, 60)
    names = [str(n) for n in range(60)]
    found = paired_difference(
        dict(zip(names, value, strict=True)), dict(zip(names, base, strict=True))
    )
    expected = bootstrap(
        (value - base,), np.mean, n_resamples=20000, method="percentile", rng=rng
    ).confidence_interval
    assert found.mean == pytest.approx(np.mean(value - base))
    assert found.low == pytest.approx(expected.low, abs=0.003)
    assert found.high == pytest.approx(expected.high, abs=0.003)
    assert found.excludes_zero
    again = paired_difference(
        dict(zip(names, value, strict=True)), dict(zip(names, base, strict=True))
    )
    assert again == found  # seeded


def test_differences_are_taken_over_images_that_are_finite_under_both():
    table = differences(
        scores_of(
            {
                "ref": [20.0, 40.0, math.inf, 30.0],
                "mine": [21.0, 41.0, 33.0, math.nan],
                "same": [20.0, 40.0, math.inf, 30.0],
            }
        ),
        "ref",
    )
    assert list(table["set"]) == ["mine", "same"]
    mine, same = (table["set"][method]["psnr"] for method in ("mine", "same"))
    assert (mine.mean, mine.low, mine.high, mine.images) == (1, 1, 1, 2)
    assert mine.excludes_zero  # although the spread of the images is 20 dB
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert not same.excludes_zero
    single = paired_difference({"a": 2.0}, {"a": 1.0})
    assert single.mean == 1
    assert not single.excludes_zero  # one image says nothing of others


# --- Tables ---------------------------------------------------------------------------------------


@pytest.fixture
def results():
    scores = scores_of({"bicubic": [26.0, 27.0], "a_b": [30.0, 31.5], "50 % & $x": [30.0, 31.0]})
    cost = {"set": {"a_b": MethodCost(758755, 61892812800, 0.2345), "bicubic": None}}
    return Results("paper", summarize(scores), "a_b", differences(scores, "a_b"), cost)


def test_the_best_is_bold_and_the_second_underlined_in_latex(results):
    text = to_latex(mean_table(results))
    assert r"\textbf{30.75}" in text
    assert r"\underline{30.50}" in text
    assert r"50 \% \& \$x" in text
    assert r"a\_b" in text
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{llrrrr}"):
        assert text.count(word) == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {5}
    apart = to_latex(difference_table(results))
    assert r"\ensuremath{-}4.25* (\ensuremath{-}4.50 to \ensuremath{-}4.00)" in apart
    assert "a\\_b" not in apart  # the reference itself has no row


def test_latex_special_characters_in_names_are_escaped():
    scores = scores_of({r"\input{x}~^_#": [1.0], "<b>|": [2.0]}, dataset="[old]*")
    text = to_latex(mean_table(Results("paper", summarize(scores))))
    assert r"\textbackslash{}input\{x\}\textasciitilde{}\textasciicircum{}\_\#" in text
    assert r"\textless{}b\textgreater{}\textbar{}" in text
    assert "\n{[}old{]}{*}" in text  # \\ would take [old] for its option


def test_markdown_has_one_row_per_method_and_keeps_names(results):
    lines = to_markdown(mean_table(results)).splitlines()
    assert lines[2].count("|") == lines[3].count("|") == 7
    assert r"a\_b" in lines[5]
    assert "**30.75**" in lines[5]
    assert "759 K" in lines[5]
    assert "61.9 G" in lines[5]
    scores = scores_of({"a|b": [1.0], "*x*\ny": [2.0]})
    text = to_markdown(mean_table(Results("paper", summarize(scores))))
    assert r"a\|b" in text
    assert r"\*x\* y" in text


def test_means_as_csv_are_not_rounded_and_include_the_differences(results):
    rows = list(csv.DictReader(io.StringIO(means_csv([results]))))
    assert [row["method"] for row in rows] == ["bicubic", "a_b", "50 % & $x"]
    bicubic_row, best, other = rows
    assert (best["psnr"], best["psnr_images"], best["parameters"]) == ("30.75", "2", "758755")
    assert best["psnr_difference"] == ""
    assert other["psnr_difference"] == "-0.25"
    assert bicubic_row["psnr_difference_excludes_0"] == "true"
    assert other["psnr_difference_excludes_0"] == "false"


def test_means_over_different_images_are_not_ranked():
    table = summarize(scores_of({"a": [30.0, math.inf], "b": [29.0, 50.0]}))
    assert rank(table["set"], "psnr") == {}
    table = summarize(scores_of({"a": [30.0, math.inf], "b": [29.0, math.inf]}))
    assert rank(table["set"], "psnr") == {"a": 1}
    lower = summarize(scores_of({"a": [3.0], "b": [2.0], "c": [2.001]}, metric="niqe"))
    assert rank(lower["set"], "niqe") == {"a": 2, "b": 1, "c": 1}  # equal as shown


def test_a_mean_without_values_is_a_dash():
    table = mean_table(Results("paper", summarize(scores_of({"a": [math.inf]}))))
    assert table.groups[0][0][-1].text == "–"  # noqa: RUF001
    assert "inf" not in to_markdown(table)


# --- Methods --------------------------------------------------------------------------------------


class OnePair:
    """An image pair as :class:`~torch_sr.data.image_pairs.ImagePairs` gives it."""

    names = ("set/a",)

    def __init__(self, lr, hr):
        self.pair = lr, hr

    def __getitem__(self, index):
        return self.pair


def test_images_are_super_resolved_once_for_two_protocols(photo):
    hr = photo(48, 64)
    lr = hr[::4, ::4].copy()
    calls = []

    def repeat(image):
        calls.append(image.dtype)
        large = to_unit(image).repeat(4, 0).repeat(4, 1) * np.float32(0.999)
        return from_unit(large, image.dtype)

    def scores(protocol, *further):
        setting = MetricSettings(
            4, PROTOCOLS[protocol], further=tuple(PROTOCOLS[p] for p in further)
        )
        panels = build_protocol_metrics(["psnr", "ssim", "content_loss"], setting)
        methods = [bicubic(4), Method("mine", repeat)]
        (comparison,) = compare(methods, "set", OnePair(lr, hr), panels)
        return {(s.protocol, s.method): s.metrics for s in comparison.scores}

    alone = scores("paper") | scores("enhanced-srgan")
    calls.clear()
    both = scores("paper", "enhanced-srgan")
    assert calls == [np.float32]
    assert list(both) == [(p, m) for p in ("paper", "enhanced-srgan") for m in ("bicubic", "mine")]
    for key, metrics in both.items():
        for name in metrics:
            assert metrics[name] == alone[key][name]
    assert "content_loss" not in both["enhanced-srgan", "mine"]


def test_a_model_named_like_a_sweep_does_not_join_it():
    methods = [
        Method("alpha channel model", lambda lr: lr),
        Method("alpha 0", lambda lr: lr, "networks", 0.0),
        Method("alpha 0.5", lambda lr: lr, "networks", 0.5),
    ]
    means = {m.label: {"psnr": 30.0 + n, "lpips": 0.3} for n, m in enumerate(methods)}
    points = plane_points(methods, {"bicubic": {"psnr": 26.0, "lpips": 0.4}, **means}, "lpips")
    assert [point.group for point in points] == [None, None, "networks", "networks"]
    assert [point.alpha for point in points] == [None, None, 0.0, 0.5]


def test_a_name_with_dollar_signs_is_drawn_as_it_is():
    methods = [Method("$\\frac{", lambda lr: lr)]
    points = plane_points(methods, {"$\\frac{": {"psnr": 1.0, "lpips": 0.3}}, "lpips")
    assert draw_plane(points, "PSNR", "LPIPS").std() > 0


def test_costs_are_counted_and_speed_is_that_of_the_images_after_the_first(tmp_path):
    torch.manual_seed(0)
    network = RRDBNet(scale_factor=2, rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    path = tmp_path / "tiny.safetensors"
    save_generator(path, network)
    methods = [
        Method("tiny", lambda lr: lr, model=read_model(path)),
        Method("images 0.5", lambda lr: lr, "images", 0.5),
    ]
    watch = CostWatch(methods, 2)
    hr = np.zeros((1000, 2000, 3), np.uint8)
    for number, seconds in enumerate((100.0, 4.0, 1.0)):
        spent = dict.fromkeys(("bicubic", "tiny", "images 0.5"), seconds)
        watch.add(Comparison("set", f"set/{number}", hr, hr, {}, {}, seconds=spent))
    costs = watch.costs()["set"]
    assert costs["tiny"].num_parameters == sum(p.numel() for p in network.parameters())
    assert costs["tiny"].megapixels_per_second == pytest.approx(2 * 2 / 5)
    assert costs["bicubic"] == MethodCost(None, None, pytest.approx(2 * 2 / 5))
    assert costs["images 0.5"].megapixels_per_second is None
    macs = 0  # by hooks, for an input of 640x360 pixels

    def count(module, inputs, output):
        nonlocal macs
        macs += output[0].numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, 36, 64))
    assert costs["tiny"].macs == pytest.approx(100 * macs, rel=0.01)


# --- Where results go -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "specs", "inside"),
    [
        ("results/set5", ["set5"], ""),
        ("results/Set5", ["set5"], ""),
        ("results/bsds500", ["bsds500:val"], ""),
        ("results/photos", ["a/photos"], ""),
        ("results/run", ["set5"], "set5"),
        ("results/set5", ["set5", "set14"], "set5"),
    ],
)
def test_a_folder_named_after_the_data_set_is_not_nested(out, specs, inside):
    store = ResultStore(Path(out), specs, [Method("m", lambda lr: lr)])
    assert store.result("set5/baby", "m") == Path(out, inside, "baby_sr.png")
    assert store.sheet("set5/baby") == Path(out, inside, "baby_sheet.png")


def test_results_of_models_are_in_separate_folders_inside_the_output():
    methods = [Method(label, lambda lr: lr) for label in ("a/x", "a_x", "..", "M", "m")]
    store = ResultStore(Path("out"), ["set5"], methods)
    paths = [store.result("set5/baby", method.label) for method in methods]
    assert len({str(path).casefold() for path in paths}) == 5
    assert all(path.parts[0] == "out" and ".." not in path.parts for path in paths)
