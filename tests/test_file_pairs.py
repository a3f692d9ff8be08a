"""file_pairs.py: every common structure of data sets, as small files."""

import pytest
from PIL import Image as Pillow

from torch_sr.data.sets.file_pairs import find_pairs, list_images, pair_folders
from torch_sr.errors import DataError


def make(root, *files):
    """Empty files: pairing goes by names alone."""
    for file in files:
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(folder, scale_factor):
    """``(name, HR, LR)`` relative to the folder."""
    return [
        (
            pair.name,
            pair.hr.relative_to(folder).as_posix(),
            pair.lr and pair.lr.relative_to(folder).as_posix(),
        )
        for pair in find_pairs(folder, scale_factor)
    ]


LAYOUTS = {
    "selfexsr": (
        "image_SRF_4/img_001_SRF_4_HR.png",
        "image_SRF_4/img_001_SRF_4_LR.png",
        "img_001_SRF_4",
    ),
    "edsr": ("HR/baby.png", "LR_bicubic/X4/babyx4.png", "baby"),
    "edsr, small x": ("HR/baby.png", "LR_bicubic/x4/baby_x4.png", "baby"),
    "basicsr": ("GTmod12/baby.png", "LRbicx4/baby.png", "baby"),
    "gt": ("GT/baby.png", "LR/baby.jpg", "baby"),
    "small": ("hr/baby.png", "lr/babyX4.PNG", "baby"),
    "flickr2k": ("Flickr2K_HR/000001.png", "Flickr2K_LR_bicubic/X4/000001x4.png", "000001"),
    "div2k x4 mild": ("HR/0001.png", "LR/X4/0001x4m.png", "0001"),
    "div2k x4 wild": ("HR/0001.png", "LR/X4/0001x4w1.png", "0001"),
    "folder by factor": ("HR/baby.png", "X4/baby.png", "baby"),
    "lr by factor": ("HR/baby.png", "LR_x4/baby.png", "baby"),
    "plain names": ("mine_HR/baby.png", "mine_LR/baby.png", "baby"),
    "made": ("baby.png", None, "baby"),
    "made, below HR": ("HR/baby.png", None, "baby"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    hr, lr, name = LAYOUTS[layout]
    make(tmp_path, *filter(None, (hr, lr)), "Thumbs.db", ".DS_Store", "readme.txt", "._baby.png")
    folder = (tmp_path / hr).parent
    make(folder, "Thumbs.db", ".DS_Store", "readme.txt", "._x.png", "noise.npy")
    assert listed(tmp_path, 4) == [(name, hr, lr)]


def test_x8(tmp_path):
    make(tmp_path, "DIV2K_train_HR/0001.png", "DIV2K_train_LR_x8/0001x8.png")
    expected = ("0001", "DIV2K_train_HR/0001.png", "DIV2K_train_LR_x8/0001x8.png")
    assert listed(tmp_path, 8) == [expected]
    assert listed(tmp_path, 4) == [(*expected[:2], None)]


def test_hr_folder_itself_finds_its_partner(tmp_path):
    make(tmp_path, "X_HR/1.png", "X_LR_bicubic/X2/1x2.png", "HR/1.png", "LR_bicubic/X2/1x2.png")
    assert find_pairs(tmp_path / "X_HR", 2)[0].lr == tmp_path / "X_LR_bicubic/X2/1x2.png"
    assert find_pairs(tmp_path / "HR", 2)[0].lr == tmp_path / "LR_bicubic/X2/1x2.png"


def test_only_the_wanted_scale_is_taken(tmp_path):
    for s in (2, 3, 4):
        make(tmp_path, f"image_SRF_{s}/a_HR.png", f"image_SRF_{s}/a_LR.png")
    assert listed(tmp_path, 3) == [("a", "image_SRF_3/a_HR.png", "image_SRF_3/a_LR.png")]
    other = tmp_path / "other"
    make(other, "HR/a.png", "LR_bicubic/X2/ax2.png", "LR_bicubic/X4/ax4.png")
    assert listed(other, 4) == [("a", "HR/a.png", "LR_bicubic/X4/ax4.png")]
    assert listed(other, 3) == [("a", "HR/a.png", None)]


def test_names_are_sorted_and_numbers_are_no_suffixes(tmp_path):
    make(tmp_path, *(f"HR/{name}.png" for name in ("b", "a", "max4")))
    make(tmp_path, *(f"LR_bicubic/X4/{name}.png" for name in ("bx4", "ax4", "max4x4")))
    assert listed(tmp_path, 4) == [
        (name, f"HR/{name}.png", f"LR_bicubic/X4/{name}x4.png") for name in ("a", "b", "max4")
    ]


def test_missing_partner_is_named(tmp_path):
    make(tmp_path, *(f"HR/{name}.png" for name in "abc"), "LR_bicubic/X4/ax4.png")
    with pytest.raises(DataError, match=r"X4: no low-resolution partner for .*b\.png and 1 more"):
        find_pairs(tmp_path, 4)
    make(tmp_path, "LR_bicubic/X4/bx4.png")
    with pytest.raises(DataError, match=r"c\.png$"):
        find_pairs(tmp_path, 4)


def test_a_missing_partner_in_the_same_folder_is_named(tmp_path):
    make(tmp_path, *(f"image_SRF_4/{name}.png" for name in ("a_HR", "a_LR", "b_HR")))
    with pytest.raises(DataError, match=r"no low-resolution partner for .*b_HR\.png$"):
        find_pairs(tmp_path, 4)


def test_without_any_partner_low_resolution_is_made(tmp_path):
    make(tmp_path, "image_SRF_4/a_HR.png", "image_SRF_4/b_HR.png")
    assert [pair.lr for pair in find_pairs(tmp_path, 4)] == [None, None]


def test_nothing_to_pair(tmp_path):
    with pytest.raises(DataError, match="none: no such folder"):
        find_pairs(tmp_path / "none", 4)
    with pytest.raises(DataError, match="contains no images"):
        find_pairs(tmp_path, 4)
    make(tmp_path, "HR/readme.txt")
    with pytest.raises(DataError, match="HR: contains no images"):
        find_pairs(tmp_path, 4)
    make(tmp_path, "srf/image_SRF_4/a.png")
    with pytest.raises(DataError, match=r"\*_HR and \*_LR"):
        find_pairs(tmp_path / "srf", 4)


def test_several_sets_are_not_mixed(tmp_path):
    make(tmp_path, "DIV2K_train_HR/1.png", "DIV2K_valid_HR/2.png")
    with pytest.raises(DataError, match="name one of its folders DIV2K_train_HR, DIV2K_valid_HR;"):
        find_pairs(tmp_path, 4)


def test_folders_named_like_images_are_passed_over(tmp_path):
    make(tmp_path, "a.png", "b.png/inside.png")
    assert [file.name for file in list_images(tmp_path)] == ["a.png"]
    with pytest.raises(DataError, match="check the data root"):
        list_images(tmp_path / "none")


def test_pair_folders_prefers_the_equal_name(tmp_path):
    make(tmp_path, "hr/a.png", "lr/ax4.png", "lr/a.png")
    (pair,) = pair_folders(tmp_path / "hr", tmp_path / "lr", 4)
    assert pair.lr == tmp_path / "lr" / "a.png"


# --- Sub-folders and lists ----------------------------------------------------------------------


def test_sub_folders_are_taken_where_there_is_nothing_above(tmp_path):
    make(tmp_path, "cats/a.png", "cats/Thumbs.db", "dogs/big/a.png", "notes.txt")
    assert listed(tmp_path, 4) == [
        ("cats/a", "cats/a.png", None),
        ("dogs/big/a", "dogs/big/a.png", None),
    ]
    make(tmp_path, "b.png")
    assert [name for name, *_ in listed(tmp_path, 4)] == ["b"]


def test_sub_folders_are_paired_by_their_own_names(tmp_path):
    make(tmp_path, "HR/1/a.png", "HR/2/a.png", "LR/2/ax4.png", "LR/1/ax4.png")
    assert listed(tmp_path, 4) == [
        ("1/a", "HR/1/a.png", "LR/1/ax4.png"),
        ("2/a", "HR/2/a.png", "LR/2/ax4.png"),
    ]


def test_low_resolution_is_never_taken_for_originals(tmp_path):
    make(tmp_path, "a/1.png", "LR/1.png", "X4/1x4.png", "b_LR_bicubic/X4/1x4.png", ".cache/1.png")
    assert [hr for _, hr, _ in listed(tmp_path, 4)] == ["a/1.png"]


def test_a_factor_that_is_not_there_is_reported(tmp_path):
    make(tmp_path, "image_SRF_2/a_HR.png", "image_SRF_4/a_HR.png")
    with pytest.raises(DataError, match=r"choose one of x2, x4; .* not have x8"):
        find_pairs(tmp_path, 8)


def test_loops_of_links_end(tmp_path):
    make(tmp_path, "inner/a.png")
    (tmp_path / "inner/loop").symlink_to(tmp_path, target_is_directory=True)
    assert [name for name, *_ in listed(tmp_path, 4)] == ["inner/a"]


def test_images_of_one_stem_are_paired_by_their_suffix(tmp_path):
    for name in ("HR/a.png", "HR/a.bmp", "LR/a.png", "LR/a.bmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Pillow.new("RGB", (8, 8)).save(tmp_path / name)
    pairs = find_pairs(tmp_path / "HR", 1)
    assert {pair.hr.name: pair.lr.name for pair in pairs} == {"a.png": "a.png", "a.bmp": "a.bmp"}
    (tmp_path / "HR/a.bmp").rename(tmp_path / "HR/a.tif")
    with pytest.raises(DataError, match=r"^rename .*both could be the low resolution of .*a\.tif"):
        find_pairs(tmp_path / "HR", 1)
