"""Specifications become image pairs, with small files and with real data."""

import os

import numpy as np
import pytest
from skimage.io import imread, imsave

from torch_sr.data.cache import default_cache_dir
from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.resize import downscale
from torch_sr.data.sets.resolve import resolve
from torch_sr.data.sets.spec_syntax import parse_spec, split_specs
from torch_sr.data.sets.table import DATASETS, find_known
from torch_sr.errors import DataError, MissingDatasetError


def make(root, *files):
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def hr_names(spec, root, purpose="train", scale_factor=4):
    return [
        pair.hr.relative_to(root).as_posix() for pair in resolve(spec, root, scale_factor, purpose)
    ]


@pytest.fixture
def bsds(tmp_path):
    for split, number in (("train", 1), ("val", 2), ("test", 3)):
        base = f"BSR/BSDS500/data/images/{split}"
        make(tmp_path, f"{base}/{number}.jpg", f"{base}/Thumbs.db")
    return tmp_path


def splits_of(names):
    return [name.split("/")[-2] for name in names]


def test_bsds500_never_trains_on_b100(bsds):
    assert splits_of(hr_names("bsds500", bsds, "train")) == ["train", "test"]
    assert splits_of(hr_names("bsds500", bsds, "val")) == ["val"]
    assert splits_of(hr_names("bsds500", bsds, "test")) == ["val"]


def test_splits_are_named_and_added(bsds):
    assert splits_of(hr_names("bsds500:val", bsds)) == ["val"]
    assert splits_of(hr_names("BSDS500:test+val", bsds)) == ["test", "val"]
    assert splits_of(hr_names("bsds500:", bsds)) == ["train", "test"]


@pytest.mark.parametrize("inside", ["DIV2K", "div2k", "."])
def test_div2k(tmp_path, inside):
    root = tmp_path / inside
    make(
        root,
        "DIV2K_train_HR/0001.png",
        "DIV2K_valid_HR/0801.png",
        "DIV2K_train_LR_bicubic/X4/0001x4.png",
        "DIV2K_train_LR_x8/0001x8.png",
        "DIV2K_valid_LR_bicubic/X2/0801x2.png",
    )
    (train,) = resolve("div2k", tmp_path, 4, "train")
    assert (train.name, train.hr) == ("0001", root / "DIV2K_train_HR/0001.png")
    assert train.lr == root / "DIV2K_train_LR_bicubic/X4/0001x4.png"
    assert resolve("div2k", tmp_path, 8, "train")[0].lr == root / "DIV2K_train_LR_x8/0001x8.png"
    (val,) = resolve("div2k", tmp_path, 4, "val")
    assert (val.name, val.lr) == ("0801", None)
    assert resolve("div2k:val", tmp_path, 2, "train")[0].lr is not None
    assert resolve("div2k", tmp_path, 2, "test")[0].name == "0801"


@pytest.mark.parametrize("track", ["unknown", "mild", "difficult", "wild"])
def test_tracks_of_div2k(tmp_path, track):
    letter = {"unknown": "", "mild": "m", "difficult": "d", "wild": "w"}[track]
    inside = f"DIV2K_valid_LR_{track}/X4" if track == "unknown" else f"DIV2K_valid_LR_{track}"
    make(tmp_path, "DIV2K/DIV2K_valid_HR/0801.png", f"DIV2K/{inside}/0801x4{letter}.png")
    (pair,) = resolve(f"div2k-{track}", tmp_path, 4, "val")
    assert (pair.name, pair.lr) == ("0801", tmp_path / f"DIV2K/{inside}/0801x4{letter}.png")
    with pytest.raises(DataError, match=rf"div2k-{track}: choose one of .*x4; .* not have x8"):
        resolve(f"div2k-{track}", tmp_path, 8, "val")
    make(tmp_path, "DIV2K/DIV2K_train_HR/0001.png")
    with pytest.raises(MissingDatasetError, match=f"DIV2K_train_LR_{track}.*data download"):
        resolve(f"div2k-{track}", tmp_path, 4, "train")


def test_wild_images_are_four_each(tmp_path):
    make(tmp_path, "DIV2K/DIV2K_train_HR/0001.png")
    copies = [f"0001x4w{number}" for number in (1, 2, 3, 4)]
    make(tmp_path, *(f"DIV2K/DIV2K_train_LR_wild/{name}.png" for name in copies))
    pairs = resolve("div2k-wild", tmp_path, 4, "train")
    assert [pair.name for pair in pairs] == copies
    assert len({pair.hr for pair in pairs}) == 1


def test_lsdir_and_flickr2k(tmp_path):
    make(tmp_path, "LSDIR/HR/train/0001000/0000001.png", "LSDIR/X4/train/0001000/0000001x4.png")
    make(tmp_path, "LSDIR/HR/train/0002000/0001001.png", "LSDIR/X4/train/0002000/0001001x4.png")
    first, second = resolve("lsdir", tmp_path, 4, "train")
    assert (first.name, second.name) == ("0001000/0000001", "0002000/0001001")
    assert first.lr == tmp_path / "LSDIR/X4/train/0001000/0000001x4.png"
    assert resolve("lsdir", tmp_path, 2, "train")[0].lr is None
    make(tmp_path, "Flickr2K/Flickr2K_HR/000001.png")
    make(tmp_path, "Flickr2K/Flickr2K_LR_bicubic/X4/000001x4.png")
    assert resolve("flickr2k", tmp_path, 4, "train")[0].lr is not None


def test_b100_is_the_val_split_of_bsds500(bsds):
    assert hr_names("b100", bsds) == hr_names("bsds500:val", bsds)
    make(bsds, "benchmark/B100/HR/101085.png")
    assert hr_names("b100", bsds) == ["benchmark/B100/HR/101085.png"]


def test_what_is_present_is_listed(bsds):
    make(bsds, "benchmark/Set5/HR/baby.png", "DIV2K/DIV2K_valid_HR/0801.png")
    found = dict(find_known(bsds))
    assert list(found)[:2] == ["div2k:val", "div2k-unknown:val"]
    assert {"bsds500:train", "bsds500:val", "bsds500:test", "set5", "b100"} < set(found)
    assert found["set5"] == bsds / "benchmark/Set5"
    assert not {"set14", "div2k:train"} & set(found)


def test_lists_are_specifications_too(tmp_path):
    make(tmp_path, "a/1.png", "a/2.png", "low/1x4.png")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/mine.txt").write_text("# mine\n\n../a/1.png\t../low/1x4.png\n../a/2.png\n")
    first, second = resolve("lists/mine.txt", tmp_path, 4, "train")
    assert (first.name, first.lr) == ("1", tmp_path / "lists/../low/1x4.png")
    assert (second.name, second.lr) == ("2", None)
    with pytest.raises(DataError, match=r"mine\.txt:extra: write train or val after the colon"):
        resolve("lists/mine.txt:extra", tmp_path, 4, "train")


def test_folders_are_specifications_too(tmp_path):
    make(tmp_path, "mine/HR/a.png", "mine/LR_bicubic/X4/ax4.png", "deep/er/b.jpg")
    assert hr_names("mine", tmp_path) == ["mine/HR/a.png"]
    assert hr_names("deep/er", tmp_path) == ["deep/er/b.jpg"]
    assert hr_names(str(tmp_path / "mine"), tmp_path) == ["mine/HR/a.png"]
    with pytest.raises(DataError, match="mine:test: write train or val, a sub-folder, or two"):
        resolve("mine:test", tmp_path, 4, "train")


def test_home_is_expanded(tmp_path, monkeypatch):
    make(tmp_path, "mine/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert hr_names("~/mine", tmp_path) == ["mine/a.png"]


@pytest.mark.parametrize("folder", ["benchmark/Set5", "Set5", "set5"])
def test_benchmarks(tmp_path, folder):
    make(tmp_path, f"{folder}/HR/baby.png", f"{folder}/LR_bicubic/X4/babyx4.png")
    (pair,) = resolve("Set5", tmp_path, 4, "test")
    assert pair.lr == tmp_path / folder / "LR_bicubic/X4/babyx4.png"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("bsds500:dev", "no split 'dev'; choose from train, val, test"),
        ("bsds500:train+", "no split ''; choose from"),
        ("set5:train", "leave out ':train'; this data set has no splits"),
        ("bsd500", "did you mean bsds500?"),
        ("Dvi2K", "did you mean div2k?"),
        ("nothing", "known names: div2k, div2k-unknown, .*, manga109"),
        ("div2k", "DIV2K not found: no folder DIV2K/DIV2K_train_HR in .*--data-root"),
        ("set14", "Set14 not found: no folder benchmark/Set14 in"),
    ],
)
def test_errors_are_reported(bsds, spec, words):
    make(bsds, "Set5/a.png")
    with pytest.raises(DataError, match=words) as caught:
        resolve(spec, bsds, 4, "train")
    assert "\n" not in str(caught.value)


def test_every_row_is_valid():
    for name, row in DATASETS.items():
        assert name == name.lower()
        assert {*row.train, *row.val, *row.test} <= set(row.splits)
        assert bool(row.splits) == bool(row.train)
        assert not (row.benchmark and row.splits)
        assert not set(row.train) & {*row.val, *row.test}


# --- open.py ------------------------------------------------------------------------------------


def test_pairs_are_opened_with_low_resolution_given_or_made(tmp_path, save_photo):
    hr = save_photo(tmp_path / "given/HR/a.png", 24, 32)
    lr = save_photo(tmp_path / "given/LR/X4/ax4.png", 6, 8, seed=1)
    odd = save_photo(tmp_path / "made/b.png", 27, 30, seed=2)
    pairs = open_pairs(
        ["given", "made"],
        data_root=tmp_path,
        scale_factor=4,
        purpose="train",
        cache_dir=tmp_path / "cache",
    )
    assert pairs.names == ["given/a", "made/b"]
    np.testing.assert_array_equal(pairs[0][0], lr)
    np.testing.assert_array_equal(pairs[0][1], hr)
    np.testing.assert_array_equal(pairs[1][0], downscale(odd, 4))
    np.testing.assert_array_equal(pairs[1][1], odd[:24, :28])
    assert pairs.lr_size(1) == (6, 7)


def test_several_low_resolutions_of_one_image(tmp_path, save_photo):
    hr = save_photo(tmp_path / "DIV2K_train_HR/0001.png", 8, 8)
    folder = tmp_path / "DIV2K_train_LR_wild"
    lrs = [save_photo(folder / f"0001x4w{n}.png", 2, 2, seed=n) for n in (1, 2, 3, 4)]
    pairs = open_pairs(
        ["div2k-wild"],
        data_root=tmp_path,
        scale_factor=4,
        purpose="train",
        cache_dir=tmp_path / "c",
    )
    assert len(pairs) == 4
    for (lr, same_hr), expected in zip((pairs[i] for i in range(4)), lrs, strict=True):
        np.testing.assert_array_equal(lr, expected)
        np.testing.assert_array_equal(same_hr, hr)
    sizes = sorted(file.stat().st_size for file in (tmp_path / "c").glob("*.bin"))
    assert sizes == [4 * 16, 8 * 8 * 3]  # HR is there once; 12 bytes are padded to 16


def test_one_data_set_may_have_both(tmp_path, save_photo):
    train = save_photo(tmp_path / "DIV2K_train_HR/0001.png", 8, 8)
    save_photo(tmp_path / "DIV2K_train_LR_bicubic/X4/0001x4.png", 2, 2)
    valid = save_photo(tmp_path / "DIV2K_valid_HR/0801.png", 12, 8)
    for spec in ("div2k:val+train", "div2k:train+val"):
        pairs = open_pairs(
            [spec], data_root=tmp_path, scale_factor=4, purpose="train", cache_dir=tmp_path / "c"
        )
        assert [name[-4:] for name in pairs.names] == ["0001", "0801"]
        np.testing.assert_array_equal(pairs[0][1], train)
        np.testing.assert_array_equal(pairs[1][1], valid)


@pytest.mark.parametrize(("purpose", "channels"), [("train", 3), ("val", 3), ("test", 1)])
def test_gray_files_stay_gray_only_for_tests(tmp_path, photo, purpose, channels):
    gray = photo(8, 12, 1)
    (tmp_path / "set").mkdir()
    imsave(tmp_path / "set/a.png", gray[..., 0])
    pairs = open_pairs(
        ["set"], data_root=tmp_path, scale_factor=2, purpose=purpose, cache_dir=tmp_path / "c"
    )
    np.testing.assert_array_equal(pairs[0][1], np.repeat(gray, channels, axis=2))


def test_gray_partner_of_an_rgb_file(tmp_path, photo):
    gray = photo(8, 12, 1)
    for folder in ("set/HR", "set/LR"):
        (tmp_path / folder).mkdir(parents=True)
    imsave(tmp_path / "set/HR/a.png", gray[..., 0])
    imsave(tmp_path / "set/LR/a.png", np.repeat(gray[::2, ::2], 3, axis=2))
    lr, hr = open_pairs(
        ["set"], data_root=tmp_path, scale_factor=2, purpose="test", cache_dir=tmp_path / "c"
    )[0]
    assert lr.shape == (4, 6, 3)
    np.testing.assert_array_equal(hr, np.repeat(gray, 3, axis=2))


def test_gray_pairs(tmp_path, save_photo):
    save_photo(tmp_path / "set/a.png", 8, 12)
    pairs = open_pairs(
        ["set"],
        data_root=tmp_path,
        scale_factor=2,
        purpose="test",
        channels=1,
        cache_dir=tmp_path / "c",
    )
    lr, hr = pairs[0]
    assert (lr.shape, hr.shape) == ((4, 6, 1), (8, 12, 1))


@pytest.mark.parametrize("name", ["фото", "a" * 200, "with spaces & more"])
def test_any_folder_name_makes_a_cache_file(tmp_path, save_photo, name):
    save_photo(tmp_path / name / "a.png")
    pairs = open_pairs(
        [str(tmp_path / name)],
        data_root=tmp_path,
        scale_factor=2,
        purpose="test",
        cache_dir=tmp_path / "c",
    )
    np.testing.assert_array_equal(pairs[0][1], imread(tmp_path / name / "a.png"))


def test_partner_of_another_size_is_named(tmp_path, save_photo):
    save_photo(tmp_path / "set/HR/a.png", 24, 32)
    save_photo(tmp_path / "set/LR/a.png", 12, 16)
    words = r"set/a: use scale factor 2.*; LR is 16x12 and HR 32x24 .* factor of 4"
    with pytest.raises(DataError, match=words):
        open_pairs(
            ["set"],
            data_root=tmp_path,
            scale_factor=4,
            purpose="test",
            cache_dir=tmp_path / "c",
        )


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "datasets"
    monkeypatch.delenv("TORCH_SR_HOME")
    assert default_cache_dir().parts[-2:] == ("torch-sr", "datasets")


# --- Names with colons and commas ---------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids colons in names")
@pytest.mark.parametrize("name", ["my:set", "a:b:c", "my, set", "C:", "set5:more"])
def test_existing_folders_win_over_colons_and_commas(tmp_path, name):
    make(tmp_path, f"{name}/a.png", f"{name}/new/b.png", "my/c.png", "a/d.png")
    if name != "set5:more":  # a known name goes first
        assert hr_names(name, tmp_path) == [f"{name}/a.png"]
        assert hr_names(f"{name}:new", tmp_path) == [f"{name}/new/b.png"]
    assert hr_names(str(tmp_path / name), tmp_path) == [f"{name}/a.png"]


@pytest.mark.parametrize("spec", ["C:/images", "C:\\images", "C:/images:train"])
def test_the_colon_of_a_drive_is_not_a_separator(tmp_path, spec):
    assert parse_spec(spec, tmp_path) == (spec.removesuffix(":train"), spec[9 + 1 :])


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("set5,set14", ["set5", "set14"]),
        (" set5 ,, bsds500:train+test,", ["set5", "bsds500:train+test"]),
        ("one, two", ["one, two"]),
        ("set5,one, two:new,set14", ["set5", "one, two:new", "set14"]),
        ("one,three", ["one", "three"]),
        ('set5,"not, there",set14', ["set5", "not, there", "set14"]),
        ('"not, there":val', ["not, there:val"]),
        ('"say ""a, b"""', ['say "a, b"']),
        ('5" screens,set5', ['5" screens', "set5"]),
        ("", []),
    ],
)
def test_lists_of_specifications(tmp_path, text, specs):
    make(tmp_path, "one, two/a.png", "one/a.png")
    assert split_specs(text, tmp_path) == specs


# --- Sub-folders and pairs of them ---------------------------------------------------------------


def test_parts_of_a_folder(tmp_path):
    make(tmp_path, "set/2023/a.png", "set/2024/a.png", "set/more+less/b.png", "set/GT/c.png")
    assert hr_names("set:2023+2024", tmp_path) == ["set/2023/a.png", "set/2024/a.png"]
    assert [p.name for p in resolve("set:2023+2024", tmp_path, 4, "train")] == ["a", "a-2"]
    assert hr_names("set:more+less", tmp_path) == ["set/more+less/b.png"]
    with pytest.raises(DataError, match=r"set:2025: write train or val, a sub-folder, or two"):
        resolve("set:2025", tmp_path, 4, "train")


def test_a_named_sub_folder_is_used_alone(tmp_path):
    make(tmp_path, "set/GT/a.png", "set/LQ/a.png", "set/train/HR/b.png", "set/train/LR/b.png")
    assert [pair.lr is None for pair in resolve("set:GT", tmp_path, 4, "train")] == [True]
    assert [pair.lr is None for pair in resolve("set:train", tmp_path, 4, "train")] == [False]


def test_several_low_resolutions_of_one(tmp_path):
    make(
        tmp_path,
        *(f"set/{folder}/{name}.png" for folder in ("GT", "jpeg", "blur") for name in "ab"),
    )
    make(tmp_path, "set/small/X4/ax4.png", "set/small/X4/bx4.png", "set/jpeg/left.png")
    (one, _) = resolve("set:GT<jpeg", tmp_path, 4, "train")
    assert (one.name, one.lr) == ("a", tmp_path / "set/jpeg/a.png")
    pairs = resolve("set:GT<jpeg<blur<small", tmp_path, 4, "train")
    assert [pair.name for pair in pairs] == [
        f"{low}/{name}" for low in ("jpeg", "blur", "small") for name in "ab"
    ]
    assert {pair.hr.parent.name for pair in pairs} == {"GT"}
    assert pairs[-1].lr == tmp_path / "set/small/X4/bx4.png"
    with pytest.raises(DataError, match="set:GT<none: correct the folder 'none'"):
        resolve("set:GT<none", tmp_path, 4, "train")
    with pytest.raises(DataError, match="set:GT<: correct the folder ''"):
        resolve("set:GT<", tmp_path, 4, "train")
