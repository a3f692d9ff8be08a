"""grouping.py and splits.py: the two sides of a custom data set."""

import json

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.data.sets.file_pairs import unpaired_lr
from torch_sr.data.sets.resolve import resolve, resolve_with_warnings
from torch_sr.errors import DataError


@pytest.fixture
def cache_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def scene(seed, height=48, width=60):
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
    return PillowImage.fromarray(coarse).resize((width, height))


@pytest.fixture
def photos(tmp_path):
    """Ten scenes, each stored as PNG and as JPEG, in a folder named photos."""
    (tmp_path / "photos").mkdir()
    for seed in range(10):
        scene(seed).save(tmp_path / f"photos/{seed}.png")
        scene(seed).save(tmp_path / f"photos/{seed}b.jpg", quality=70)
    return tmp_path / "photos"


def sides(root, name="photos"):
    return [
        {pair.hr.name for pair in resolve(f"{name}:{side}", root, 4, "train")}
        for side in ("train", "val")
    ]


def test_both_sides_make_up_the_whole_and_share_no_scene(tmp_path, photos, cache_home):
    train, val = sides(tmp_path)
    assert train | val == {file.name for file in photos.iterdir()}
    assert len(val) == 2
    assert not {name[0] for name in train} & {name[0] for name in val}


def test_the_split_is_recorded_and_found_again(tmp_path, photos, cache_home, monkeypatch):
    first = sides(tmp_path)
    (record,) = (cache_home / "datasets/splits").iterdir()
    assert set(json.loads(record.read_text())) == {"train", "val"}
    monkeypatch.setattr("torch_sr.data.sets.splits.inspect_all", None)  # no image is decoded again
    assert sides(tmp_path) == first
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_SR_HOME", str(cache_home))
    record.write_text("{}")
    assert sides(tmp_path) == first
    scene(20).save(photos / "new.png")
    train, val = sides(tmp_path)
    assert "new.png" in train | val


def test_pairs_lists_and_folders_with_a_colon_are_split_too(tmp_path, cache_home):
    for seed in range(3):
        for folder, height in (("GT", 48), ("LQ", 12)):
            (tmp_path / "a:set" / folder).mkdir(parents=True, exist_ok=True)
            image = scene(seed, height, height * 5 // 4)
            image.save(tmp_path / "a:set" / folder / f"{seed}.png")
    (tmp_path / "list.txt").write_text("".join(f"a:set/GT/{seed}.png\n" for seed in range(3)))
    pairs = resolve("a:set:val", tmp_path, 4, "val")
    assert [pair.lr.parent.name for pair in pairs] == ["LQ"]
    train, val = sides(tmp_path, "list.txt")
    assert (len(train), len(val)) == (2, 1)
    assert val == {pairs[0].hr.name}


def test_low_resolution_of_the_other_side_is_not_reported(tmp_path, cache_home):
    for seed in range(3):
        for folder, height in (("GT", 48), ("LQ", 12)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            image = scene(seed, height, height * 5 // 4)
            image.save(tmp_path / "set" / folder / f"{seed}.png")
    for spec in ("set:train", "set:GT<LQ:train", "set:GT<LQ:val"):
        found = resolve_with_warnings(spec, tmp_path, 4, "train")
        assert unpaired_lr(found.pairs, found.other_side) == []
    scene(9, 12, 15).save(tmp_path / "set/LQ/9.png")
    found = resolve_with_warnings("set:GT<LQ:train", tmp_path, 4, "train")
    assert [file.name for file in unpaired_lr(found.pairs, found.other_side)] == ["9.png"]


def test_sub_folders_of_these_names_have_priority(tmp_path, photos, cache_home):
    for side, seed in (("train", 20), ("val", 21)):
        (photos / side).mkdir()
        scene(seed).save(photos / side / "own.png")
    assert sides(tmp_path) == [{"own.png"}, {"own.png"}]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.png"], "photos: add images; 1 of 1 can be read and a split needs 2"),
        (["a.png", "bad.png"], r"1 of 2 can be read .*bad\.png"),
        (["a.png", "a.jpg"], "add images of other scenes"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path, cache_home, names, words):
    (tmp_path / "photos").mkdir()
    for name in names:
        scene(1).save(tmp_path / "photos" / name)
        if name == "bad.png":
            (tmp_path / "photos" / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=words):
        resolve("photos:val", tmp_path, 4, "val")
