"""similar_names.py: high and low resolution with similar names, in two folders or in one."""

import pytest

from torch_sr.data.sets.custom import resolve_custom
from torch_sr.data.sets.file_pairs import find_pairs
from torch_sr.errors import DataError

NAMES = [
    ("{}_HR", "{}_LR"),
    ("{}_hr", "{}_lr"),
    ("{}_gt", "{}_lq"),
    ("{}", "{}_LR"),
    ("{}", "{}(lq)"),
    ("{}", "{}-x4"),
    ("{}", "{}_LRx4"),
    ("{}", "{}_lr_x4"),
    ("{}", "{}_bicubic"),
    ("{}", "{}.LR"),
    ("HR_{}", "LR_{}"),
    ("hr_{}", "lr_{}"),
]


@pytest.fixture
def write(tmp_path, save_photo):
    """Write an image and its low resolution: ``write("HR/a.png", "LR/a.png")``."""

    def write(high, low, height=32, factor=4):
        save_photo(tmp_path / high, height, height * 5 // 4)
        save_photo(tmp_path / low, height // factor, height * 5 // 4 // factor)

    return write


def files(pairs, root):
    return [
        (p.hr.relative_to(root).as_posix(), p.lr and p.lr.relative_to(root).as_posix())
        for p in pairs
    ]


@pytest.mark.parametrize(("high", "low"), NAMES)
@pytest.mark.parametrize("folders", [("HR", "LR"), ("GT", "LQ"), (".", ".")])
def test_names_that_differ_by_words_of_resolution_are_pairs(tmp_path, write, high, low, folders):
    expected = []
    for name in ("cat", "dog"):
        pair = tuple(
            f"{folder}/{form.format(name)}.png".removeprefix("./")
            for folder, form in zip(folders, (high, low), strict=True)
        )
        write(*pair)
        expected.append(pair)
    found = resolve_custom(tmp_path, "", 4)
    assert files(found.pairs, tmp_path) == expected
    assert not found.warnings


def test_exact_names_go_before_similar_ones(tmp_path, write):
    write("HR/a.png", "LR/a.png")
    write("HR/a_HR.png", "LR/a_LR.png")
    assert files(find_pairs(tmp_path, 4), tmp_path) == [
        ("HR/a.png", "LR/a.png"),
        ("HR/a_HR.png", "LR/a_LR.png"),
    ]


def test_names_that_could_mean_two_images_are_refused(tmp_path, write):
    write("HR/a_HR.png", "LR/a_LR.png")
    write("HR/a_gt.png", "LR/a_lq.png")
    with pytest.raises(DataError, match="no low-resolution partner for"):
        find_pairs(tmp_path, 4)


def test_another_factor_in_the_name_is_not_a_partner(tmp_path, write):
    write("HR/a.png", "LR/a_LRx2.png", factor=2)
    write("HR/a.png", "LR/a_LRx4.png")
    assert files(find_pairs(tmp_path, 4), tmp_path) == [("HR/a.png", "LR/a_LRx4.png")]
    assert files(find_pairs(tmp_path, 2), tmp_path) == [("HR/a.png", "LR/a_LRx2.png")]


def test_one_image_of_a_mixed_folder_without_a_partner_is_refused(tmp_path, write, save_photo):
    write("a.png", "a_LR.png")
    save_photo(tmp_path / "c.png", 32, 40)
    with pytest.raises(DataError, match=r"a_LR\.png is the low resolution of a\.png, and c\.png"):
        find_pairs(tmp_path, 4)


def test_a_mixed_folder_of_another_factor_is_refused(tmp_path, write):
    write("a_HR.png", "a_LR.png", factor=2)
    with pytest.raises(DataError, match=r"use scale factor 2: it is 1/2 the size of a_HR\.png"):
        find_pairs(tmp_path, 4)
    assert files(find_pairs(tmp_path, 2), tmp_path) == [("a_HR.png", "a_LR.png")]


def test_folders_of_a_scene_each(tmp_path, write):
    write("s1/HR.png", "s1/LR.png")
    write("s2/HR.png", "s2/LR.png")
    assert [pair.name for pair in find_pairs(tmp_path, 4)] == ["s1/HR", "s2/HR"]
    write("s3/gt.png", "s3/lq7.png")
    with pytest.raises(DataError, match=r"lq7|gt"):
        find_pairs(tmp_path, 4)


def test_scenes_whose_names_do_not_match_are_refused(tmp_path, write):
    write("s1/gt.png", "s1/lq1.png")
    write("s1/gt.png", "s1/lq2.png")
    with pytest.raises(DataError, match=r"lq1\.png is 1/4 the size of gt\.png"):
        find_pairs(tmp_path, 4)


def test_photographs_with_such_words_stay_originals(tmp_path, save_photo):
    for name in ("low_tide", "high_tide", "target", "input", "IMG_1x1", "photo_small"):
        save_photo(tmp_path / f"{name}.png", 32, 40)
    assert {pair.lr for pair in find_pairs(tmp_path, 4)} == {None}


def test_two_originals_of_one_low_resolution_are_refused(tmp_path, write, save_photo):
    write("HR/a.png", "LR/a.png")
    save_photo(tmp_path / "HR/a.jpg", 32, 40)
    with pytest.raises(DataError, match=r"rename or remove .*a\.\w+: both could be the original"):
        find_pairs(tmp_path, 4)
