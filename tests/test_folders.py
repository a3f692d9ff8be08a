"""folders.py and unused.py: the role of each folder, and warnings about unused files."""

import logging
import os
import re

import pytest

from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.inspection.check import datasets_of, find_datasets
from torch_sr.data.sets.custom import resolve_custom
from torch_sr.data.sets.file_pairs import find_pairs
from torch_sr.data.sets.name_words import role_of
from torch_sr.errors import DataError

PAIRS = [
    ("GT", "LQ"),
    ("gt", "lq"),
    ("GT", "LR"),
    ("HR", "LQ"),
    ("Hr", "Lr"),
    ("hr", "lr"),
    ("HQ", "LQ"),
    ("hq", "lq"),
    ("high", "low"),
    ("High", "Low"),
    ("high_res", "low_res"),
    ("HighResolution", "LowResolution"),
    ("highres", "lowres"),
    ("target", "input"),
    ("targets", "inputs"),
    ("Target", "Input"),
    ("GT", "input"),
    ("gt_images", "lq_images"),
    ("clean", "noisy"),
    ("sharp", "blur"),
    ("sharp", "blurred"),
    ("trainHR", "trainLR"),
    ("train_HR", "train_LR"),
    ("trainhr", "trainlr"),
    ("train_gt", "train_lq"),
    ("train-target", "train-input"),
    ("HR_train", "LR_train"),
    ("hr_256", "lr_64"),
    ("groundtruth", "degraded"),
    ("originals", "LR_x4"),
    ("GTmod12", "LQ"),
    ("DIV2K_train_HR", "DIV2K_train_LQ"),
]


@pytest.fixture
def write_set(save_photo):
    """Write images of the same names into folders: ``write_set(root, {"GT": 32, "LQ": 8})``."""

    def write(root, heights, names=("a", "b")):
        for folder, height in heights.items():
            for seed, name in enumerate(names):
                save_photo(root / folder / f"{name}.png", height, height * 5 // 4, seed)
        return root

    return write


def folders(pairs):
    return {(pair.hr.parent.name, pair.lr and pair.lr.parent.name) for pair in pairs}


@pytest.mark.parametrize(("high", "low"), PAIRS)
def test_common_names_of_folders_are_pairs_the_right_way_round(tmp_path, write_set, high, low):
    write_set(tmp_path / "set", {high: 32, low: 8})
    assert folders(find_pairs(tmp_path / "set", 4)) == {(high, low)}
    assert folders(find_pairs(tmp_path / "set" / high, 4)) == {(high, low)}
    with pytest.raises(DataError, match=rf"{low}: name .*{high} instead; this folder is its low"):
        find_pairs(tmp_path / "set" / low, 4)


@pytest.mark.parametrize(("high", "low"), [("GT", "LQ"), ("target", "input"), ("sharp", "blur")])
def test_pairs_of_one_size(tmp_path, write_set, high, low):
    write_set(tmp_path / "set", {high: 32, low: 32})
    pairs = open_pairs(
        ["set"], data_root=tmp_path, scale_factor=1, purpose="train", cache_dir=tmp_path / "cache"
    )
    assert len(pairs) == 2
    assert folders(find_pairs(tmp_path / "set", 1)) == {(high, low)}


@pytest.mark.parametrize(
    "name", ["slow", "photos", "highway", "cars", "train", "Lorem", "chronic", "glow", "inputted"]
)
def test_other_names_mean_nothing(name):
    assert role_of(name) is None


def test_words_alone_do_not_make_a_pair(tmp_path, save_photo):
    """Photographs from high and from low places are not pairs, and all of them are used."""
    for number in range(3):
        save_photo(tmp_path / f"high/{number}.png", seed=number)
        save_photo(tmp_path / f"low/other{number}.png", seed=10 + number)
    assert folders(find_pairs(tmp_path, 4)) == {("high", None), ("low", None)}


def test_folders_of_the_factor_are_looked_into(tmp_path, write_set):
    write_set(tmp_path, {"GT": 32, "LQ/X2": 16, "LQ/X4": 8})
    assert folders(find_pairs(tmp_path, 4)) == {("GT", "X4")}
    assert folders(find_pairs(tmp_path, 2)) == {("GT", "X2")}
    assert folders(find_pairs(tmp_path, 3)) == {("GT", None)}


def test_a_split_below_both(tmp_path, write_set):
    write_set(tmp_path, {"GT/train": 32, "LQ/train": 8})
    assert folders(find_pairs(tmp_path / "GT/train", 4)) == {("train", "train")}
    assert find_pairs(tmp_path / "GT/train", 4)[0].lr == tmp_path / "LQ/train/a.png"


def test_several_low_resolutions_are_a_choice_that_is_reported(tmp_path, write_set):
    write_set(tmp_path, {"GT": 32, "LQ_jpeg": 8, "LQ_blur": 8})
    with pytest.raises(DataError, match=r":GT<LQ_blur for one .*:GT<LQ_blur<LQ_jpeg for all"):
        find_pairs(tmp_path, 4)
    assert len(resolve_custom(tmp_path, "GT<LQ_blur<LQ_jpeg", 4).pairs) == 4
    write_set(tmp_path, {"LQ": 8})
    found = resolve_custom(tmp_path, "", 4)
    assert folders(found.pairs) == {("GT", "LQ")}
    assert "LQ_blur is not used" in found.warnings[0]
    assert "GT<LQ<LQ_blur for pairs" in found.warnings[0]


# --- What is not used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ({"HR": 32, "phone": 8}, r"write .*:HR<phone to train on .*, or .*:HR to train without"),
        ({"big": 32, "small": 8}, r"write .*:big<small to train on pairs, or name one"),
        ({"1": 8, "2": 32}, r"write .*:2<1 to train on pairs"),
        ({"a": 32, "LR": 8}, r"write .*:a<LR to train on pairs"),
        (
            {"train/input": 8, "train/target": 32, "test/input": 8, "test/target": 32},
            r"name .*test instead, which contains the pairs target and input",
        ),
        (
            {"train/HR": 32, "train/LR": 8},
            r"name .*train instead, which contains the pairs HR and LR",
        ),
    ],
)
def test_low_resolution_is_never_ignored_nor_taken_for_originals(
    tmp_path, write_set, heights, words
):
    write_set(tmp_path / "set", heights)
    with pytest.raises(DataError, match=words) as caught:
        resolve_custom(tmp_path / "set", "", 4)
    assert "\n" not in str(caught.value)
    _, findings = datasets_of({"train": ["set"]}, tmp_path, 4)
    assert [finding.severity for finding in findings] == ["error"]


def test_what_the_error_proposes_works(tmp_path, write_set):
    write_set(tmp_path / "set", {"HR": 32, "phone": 8})
    assert folders(resolve_custom(tmp_path / "set", "HR<phone", 4).pairs) == {("HR", "phone")}
    assert folders(resolve_custom(tmp_path / "set", "HR", 4).pairs) == {("HR", None)}


@pytest.mark.parametrize(
    ("name", "heights", "words"),
    [
        ("photos", {"photos": 32, "small": 8}, r"photos<small for pairs: .*small is not used"),
        ("photos", {"photos": 32, "large": 128}, r":large if those are the originals: .*4 times"),
        ("set", {"set/HR": 32, "set/half": 16}, "scale_factor 2 to use it: .*half is not used"),
        (
            "set",
            {"set/one": 32, "set/two": 32},
            "name one of the folders .*one and two have",
        ),
        ("photos", {"photos": 32, "photos/more": 32}, r"sub-folders of .* too .*: more \(2\)"),
    ],
)
def test_possible_meanings_is_reported(tmp_path, write_set, name, heights, words, caplog):
    write_set(tmp_path, heights)
    found = resolve_custom(tmp_path / name, "", 4)
    assert found.pairs
    with caplog.at_level(logging.WARNING):
        open_pairs(
            [name],
            data_root=tmp_path,
            scale_factor=4,
            purpose="train",
            cache_dir=tmp_path / "cache",
            decode=False,
        )
    assert any(re.search(words, warning) for warning in found.warnings), found.warnings
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: {warning}" for warning in found.warnings
    ]
    _, findings = datasets_of({"train": [name]}, tmp_path, 4)
    assert [(f.severity, f.check, f.message) for f in findings] == [
        ("warning", "unused", warning) for warning in found.warnings
    ]


def test_sound_sets_give_no_warnings(tmp_path, write_set, save_photo):
    write_set(tmp_path / "one", {"GT": 32, "LQ": 8})
    write_set(tmp_path / "two", {"HR": 32, "LR_bicubic/X4": 8, "LR_bicubic/X2": 16})
    write_set(tmp_path / "cameras", {"A": 32, "B": 24}, names=("IMG_0001", "IMG_0002"))
    for name in ("readme.txt", "Thumbs.db", "hashes.sha256", ".hidden.png"):
        (tmp_path / "one/GT" / name).write_text("")
    for name in ("one", "two", "cameras"):
        assert resolve_custom(tmp_path / name, "", 4).warnings == []
    assert find_datasets(tmp_path / "one", 4)[1] == []


def test_images_under_unusual_names_are_reported(tmp_path, write_set):
    root = write_set(tmp_path / "set", {".": 32})
    (root / "a.png").rename(root / "a.picture")
    (root / "c").write_bytes((root / "b.png").read_bytes())
    (root / "film.mov").write_text("no image")
    (warning,) = resolve_custom(root, "", 4).warnings
    assert warning.startswith(f"rename the images in {root} that do not have an image suffix")
    assert warning.endswith("1 .picture, 1 without a suffix")


def test_repeated_lines_of_a_list_are_reported(tmp_path, write_set):
    write_set(tmp_path, {"photos": 32})
    (tmp_path / "list.txt").write_text("photos/a.png\nphotos/b.png\nphotos/../photos/a.png\n")
    (warning,) = resolve_custom(tmp_path / "list.txt", "", 4).warnings
    assert "remove the repeated lines" in warning
    assert "a.png is listed more than once" in warning


def test_folders_that_cannot_be_read_are_reported(tmp_path, write_set, monkeypatch):
    root = write_set(tmp_path / "set", {"open": 32, "closed": 24})
    scandir = os.scandir

    def closed(path):  # as root, every folder can be read
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = resolve_custom(root, "", 4)
    assert {pair.hr.parent.name for pair in found.pairs} == {"open"}
    assert found.warnings == [
        f"check the permissions of {root / 'closed'}, which is left out: Permission denied"
    ]


def test_parts_below_both_resolutions_are_named_by_a_colon(tmp_path, write_set):
    write_set(tmp_path, {"HR/train": 32, "LR/train": 8, "HR/val": 32, "LR/val": 8})
    pairs = resolve_custom(tmp_path, "train", 4).pairs
    assert {pair.lr.relative_to(tmp_path).as_posix() for pair in pairs} == {
        "LR/train/a.png",
        "LR/train/b.png",
    }
    assert resolve_custom(tmp_path / "HR/train", "", 4).pairs == pairs


def test_low_resolution_below_originals_is_refused_with_the_way_to_use_it(tmp_path, write_set):
    write_set(tmp_path, {".": 32, "LR/X4": 8})
    with pytest.raises(DataError, match=r":\.<LR/X4 to train on these pairs"):
        resolve_custom(tmp_path, "", 4)
    pairs = resolve_custom(tmp_path, ".<LR/X4", 4).pairs
    assert [pair.lr.relative_to(tmp_path).as_posix() for pair in pairs] == [
        "LR/X4/a.png",
        "LR/X4/b.png",
    ]


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ({"HR": 32, "LR_bicubic/X2": 16}, r"use a scale factor that .*LR_bicubic has \(X2\)"),
        ({"GT": 32, "LQ/X2": 16}, r"use a scale factor that .*LQ has \(X2\)"),
        ({"HR_x2": 32, "LR_x2": 16}, "HR_x2 alone, or use scale factor 2"),
    ],
)
def test_low_resolution_of_other_factors_is_reported(tmp_path, write_set, heights, words):
    write_set(tmp_path / "set", heights)
    assert re.search(words, " ".join(resolve_custom(tmp_path / "set", "", 4).warnings))


def test_low_resolution_under_other_names_or_missing_is_reported(tmp_path, write_set):
    write_set(tmp_path, {"GT": 32})
    write_set(tmp_path, {"LQ": 8}, names=("x", "y"))
    assert "give the images in" in resolve_custom(tmp_path, "", 4).warnings[0]
    for file in (tmp_path / "LQ").iterdir():
        file.unlink()
    assert "contains no images" in resolve_custom(tmp_path, "", 4).warnings[0]


def test_all_sets_below_a_folder_are_proposed_together(tmp_path, write_set):
    write_set(tmp_path, {"s1/HR": 32, "s1/LR": 8, "s2/HR": 32, "s2/LR": 8})
    with pytest.raises(DataError, match=r"or .*:s1\+s2 for all of them"):
        resolve_custom(tmp_path, "", 4)
    assert len(resolve_custom(tmp_path, "s1+s2", 4).pairs) == 4
