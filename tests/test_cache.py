"""Caches: exact pixels, built once, never incomplete, with clear errors."""

import multiprocessing
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image as PillowImage
from skimage.io import imread, imsave

from torch_sr.data import sources as sources_module
from torch_sr.data.cache import CacheRecipe
from torch_sr.data.cached_images import ImageCache
from torch_sr.data.resize import downscale
from torch_sr.data.sources import SourceImages
from torch_sr.errors import DataError, ImageError
from torch_sr.images import Header

NINE = Header(9, 9, 3, 8, False)


def open_cache(name, paths, folder, *, progress=None, workers=None, **stored):
    return CacheRecipe(name, tuple(paths), folder, **stored).open(progress, workers)


@pytest.fixture
def sources(tmp_path, save_photo):
    files = [tmp_path / "images" / f"{name}.png" for name in ("c", "a", "b")]
    for seed, file in enumerate(files):
        save_photo(file, 18 + seed, 25 - seed, seed)
    return files


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The files decoded so far."""
    seen = []
    original = sources_module.read_samples

    def counting(path, **how):
        seen.append(os.fspath(path))
        return original(path, **how)

    monkeypatch.setattr(sources_module, "read_samples", counting)
    return seen


def names(folder):
    return sorted(path.suffix for path in folder.iterdir())


def same(cache, files):
    assert len(cache) == len(files)
    for index, file in enumerate(files):
        expected = imread(file)
        assert cache.pixel_format(index).shape == expected.shape
        np.testing.assert_array_equal(cache[index], expected)


def test_pixels_are_those_of_another_reader(sources, folder):
    cache = open_cache("set", sources, folder)
    same(cache, sources)
    assert cache[0].dtype == np.uint8
    assert not cache[0].flags.writeable
    assert names(folder) == [".bin", ".json"]


def test_iteration_ends(sources, folder):
    assert [image.shape[0] for image in open_cache("set", sources, folder)] == [18, 19, 20]


def test_second_opening_decodes_nothing(sources, folder, decoded):
    reported = []
    open_cache("set", sources, folder, progress=lambda done, total: reported.append((done, total)))
    assert sorted(decoded) == sorted(map(str, sources))
    assert reported == [(1, 3), (2, 3), (3, 3)]
    same(open_cache("set", sources, folder, progress=lambda *_: reported.append(None)), sources)
    assert len(decoded) == 3
    assert len(reported) == 3


def test_changed_source_is_decoded_again(sources, folder, save_photo):
    open_cache("set", sources, folder)
    outdated = next(folder.glob("*.bin"))
    save_photo(sources[1], 30, 30, seed=9)
    same(open_cache("set", sources, folder), sources)
    assert not outdated.exists()
    assert names(folder) == [".bin", ".json"]


def test_change_that_keeps_the_file_size_is_noticed(tmp_path, folder, photo):
    file = tmp_path / "a.bmp"
    imsave(file, photo(12, 16))
    open_cache("set", [file], folder)
    size = file.stat().st_size
    imsave(file, 255 - photo(12, 16))
    os.utime(file, ns=(1, 1))  # a clock may be too coarse to tell
    assert file.stat().st_size == size
    same(open_cache("set", [file], folder), [file])


def test_touched_source_is_not_decoded_again(sources, folder, decoded):
    open_cache("set", sources, folder)
    os.utime(sources[0], ns=(123, 456))
    same(open_cache("set", sources, folder), sources)
    assert len(decoded) == 3


def test_recipes_and_orders_have_separate_caches(sources, folder):
    first = open_cache("set", sources, folder)
    turned = open_cache("set", sources[::-1], folder)
    gray = open_cache("set", sources, folder, channels=1)
    same(first, sources)
    same(turned, sources[::-1])
    assert gray.pixel_format(0).shape == (18, 25, 1)
    assert len(list(folder.glob("*.bin"))) == 3


def test_shrink_is_downscale(sources, folder):
    cache = open_cache("set", sources, folder, shrink=4)
    for index, file in enumerate(sources):
        np.testing.assert_array_equal(cache[index], downscale(imread(file), 4))
        assert cache.pixel_format(index).shape == cache[index].shape


@pytest.mark.parametrize("workers", [1, 4])
def test_number_of_workers_changes_nothing(tmp_path, folder, save_photo, workers):
    files = [tmp_path / f"{i}.png" for i in range(20)]
    for i, file in enumerate(files):
        save_photo(file, 5 + i, 40 - i, seed=i)
    same(open_cache("set", files, folder, workers=workers), files)


def test_kinds_of_sources(tmp_path, folder, photo):
    rgba, gray, deep = photo(9, 7, 4), photo(8, 6, 1)[..., 0], photo(7, 5, 1, np.uint16)[..., 0]
    files = [tmp_path / f"{name}.png" for name in ("rgba", "gray", "deep")]
    for file, pixels in zip(files, (rgba, gray, deep), strict=True):
        PillowImage.fromarray(pixels).save(file)
    cache = open_cache("kinds", files, folder)
    np.testing.assert_array_equal(cache[0], rgba[..., :3])
    np.testing.assert_array_equal(cache[1], np.stack([gray] * 3, axis=2))
    np.testing.assert_array_equal(cache[2][..., 0], deep)  # all 16 bits of it
    assert [cache.pixel_format(i).depth for i in range(3)] == [8, 8, 16]
    four = open_cache("kinds", files, folder, channels=4)
    np.testing.assert_array_equal(four[0], rgba)
    assert (four[1][..., 3] == 255).all()
    own = open_cache("kinds", files, folder, channels=None)
    assert [own.pixel_format(i).shape for i in range(3)] == [(9, 7, 3), (8, 6, 1), (7, 5, 1)]
    np.testing.assert_array_equal(own[1][..., 0], gray)
    one = open_cache("kinds", files, folder, channels=1)
    np.testing.assert_array_equal(one[1][..., 0], gray)
    assert np.abs(one[0][..., 0] - rgba[..., :3] @ [0.299, 0.587, 0.114]).max() <= 0.5 + 1e-9


def test_damaged_pixels_and_changed_sources_are_found(sources, folder):
    cache = open_cache("set", sources, folder)
    assert cache.find_damaged() == []
    assert cache.num_bytes == next(folder.glob("*.bin")).stat().st_size
    with next(folder.glob("*.bin")).open("r+b") as file:
        file.seek(cache.pixel_format(0).num_bytes + 30)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))  # one bit
    before = sources[2].stat()
    changed = bytearray(sources[2].read_bytes())
    changed[-20] ^= 1
    sources[2].write_bytes(changed)
    os.utime(sources[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    reported = []
    found = cache.find_damaged(lambda *so_far: reported.append(so_far))
    assert found == sources[1:3]
    assert reported[-1] == (len(sources), len(sources))


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no time of the last change")
def test_new_content_with_the_old_size_and_time_is_detected(tmp_path, folder, photo):
    path = tmp_path / "raw.bmp"  # of which every image of a size takes as many bytes
    PillowImage.fromarray(photo(16, 20, seed=1)).save(path)
    before = path.stat()
    open_cache("set", [path], folder)
    changed = photo(16, 20, seed=2)
    PillowImage.fromarray(changed).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert CacheRecipe("set", (path,), folder).find() is None
    np.testing.assert_array_equal(open_cache("set", [path], folder)[0], changed)


def test_contents_missing_from_the_cache_are_reported(tmp_path, folder, photo):
    files = [tmp_path / name for name in ("a.png", "b.png", "c.tif", "d.png")]
    for file in files[:2]:
        PillowImage.fromarray(photo(16, 20, 4)).save(file)
    frames = [PillowImage.fromarray(photo(16, 20, seed=seed)) for seed in range(3)]
    frames[0].save(files[2], save_all=True, append_images=frames[1:])
    frames[0].save(files[3])
    reported = [
        f"{files[0]} and 1 more: the alpha channel is left out",
        f"{files[2]}: only the first of several frames or pages is used",
    ]
    assert open_cache("set", files, folder).warnings == reported
    assert open_cache("set", files, folder).warnings == reported  # from the index
    assert SourceImages(files).warnings == reported
    assert open_cache("set", files, folder, channels=4).warnings == reported[1:]


def test_pickles_as_its_path(sources, folder):
    packed = pickle.dumps(open_cache("set", sources, folder))
    assert len(packed) < 2000
    same(pickle.loads(packed), sources)


# --- What can go wrong --------------------------------------------------------------------------


def damage_bin(index_file, data_file):
    os.truncate(data_file, data_file.stat().st_size - 1)


def damage_missing_bin(index_file, data_file):
    data_file.unlink()


def damage_json(index_file, data_file):
    index_file.write_bytes(index_file.read_bytes()[:-20])


def damage_list(index_file, data_file):
    index_file.write_text("[1, 2]")


def damage_binary(index_file, data_file):
    index_file.write_bytes(b"\xff\xfe\x00")


def damage_fields(index_file, data_file):
    index_file.write_text(index_file.read_text().replace('"sha256"', '"md5"'))


def damage_sources(index_file, data_file):
    index_file.write_text(index_file.read_text().replace("b.png", "x.png"))


@pytest.mark.parametrize(
    "damage",
    [
        damage_bin,
        damage_missing_bin,
        damage_json,
        damage_list,
        damage_binary,
        damage_fields,
        damage_sources,
    ],
)
def test_a_damaged_cache_is_rebuilt(sources, folder, damage):
    open_cache("set", sources, folder)
    (index_file,), (data_file,) = folder.glob("*.json"), folder.glob("*.bin")
    damage(index_file, data_file)
    same(open_cache("set", sources, folder), sources)
    assert names(folder) == [".bin", ".json"]


def test_no_images(folder):
    with pytest.raises(DataError, match=r"set: .*no images to cache"):
        open_cache("set", [], folder)


@pytest.mark.parametrize("cached", [True, False])
def test_missing_source_is_named(sources, folder, cached):
    if cached:
        open_cache("set", sources, folder)
    sources[1].unlink()
    with pytest.raises(ImageError, match=r"a\.png: no such file") as caught:
        open_cache("set", sources, folder)
    assert "\n" not in str(caught.value)


def test_a_source_that_disappears_during_the_build_is_named(sources, folder, monkeypatch):
    monkeypatch.setattr(sources_module, "read_header", lambda path, pages: (path.unlink(), NINE)[1])
    with pytest.raises(ImageError, match=r"\.png: No such file"):
        open_cache("set", sources, folder)


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_corrupt_source_is_named_and_leaves_nothing(sources, folder, keep):
    sources[2].write_bytes(sources[2].read_bytes()[:keep])
    with pytest.raises(ImageError, match=r"b\.png"):
        open_cache("set", sources, folder)
    assert names(folder) == []


def test_a_source_that_changes_during_the_build_is_named(sources, folder, monkeypatch):
    monkeypatch.setattr(sources_module, "read_header", lambda path, pages: NINE)
    with pytest.raises(DataError, match=r"\.png: .*changed while it was read"):
        open_cache("set", sources, folder)
    assert names(folder) == []


def test_too_small_to_shrink_is_named(sources, folder, save_photo):
    save_photo(sources[1], 3, 40)
    with pytest.raises(DataError, match=r"a\.png: 40x3 pixels are too few to shrink by 4"):
        open_cache("set", sources, folder, shrink=4)


def test_interrupted_build_leaves_nothing_and_the_old_one_stays(sources, folder, save_photo):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_cache("set", sources, folder, progress=interrupt)
    assert names(folder) == []
    open_cache("set", sources, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_photo(sources[0], 9, 9, seed=5)
    with pytest.raises(KeyboardInterrupt):
        open_cache("set", sources, folder, progress=interrupt)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_folder_that_cannot_be_written(sources, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "cache"):
        with pytest.raises(DataError, match="cannot write the image cache") as caught:
            open_cache("set", sources, folder)
        assert str(caught.value).startswith(str(folder))
        assert "\n" not in str(caught.value)
        assert "None" not in str(caught.value)


def test_full_disk_is_reported_before_decoding(sources, folder, decoded, monkeypatch):
    usage = shutil.disk_usage(sources[0].parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match=r"0\.00 GB are needed and 0\.00 GB are free"):
        open_cache("set", sources, folder)
    assert decoded == []
    assert names(folder) == []


# --- Several processes --------------------------------------------------------------------------


def build(sources, folder, barrier, results):
    barrier.wait()
    cache = open_cache("set", sources, folder)
    results.put([int(cache[i].sum()) for i in range(len(cache))])


def test_two_processes_build_the_same_cache_at_once(sources, folder):
    spawn = multiprocessing.get_context("spawn")
    barrier, results = spawn.Barrier(2), spawn.Queue()
    processes = [
        spawn.Process(target=build, args=(sources, folder, barrier, results)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    sums = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sums == [[int(imread(file).sum()) for file in sources]] * 2
    assert names(folder) == [".bin", ".json"]
    same(open_cache("set", sources, folder), sources)


def test_a_mapped_cache_outlives_its_replacement(sources, folder, save_photo):
    old = open_cache("set", sources, folder)
    before = old[0].copy()
    save_photo(sources[0], 18, 25, seed=8)
    new = open_cache("set", sources, folder)
    assert isinstance(new, ImageCache)
    np.testing.assert_array_equal(old[0], before)
    assert (new[0] != before).any()
