"""Archives: valid addresses; unsafe archives are refused; downloads are complete or absent."""

import hashlib
import io
import re
import shutil
import stat
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from hostile_server import answer, break_off, run_site

from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.sets import archives
from torch_sr.data.sets.archives import DOWNLOADABLE, Archive, archives_of
from torch_sr.data.sets.downloads import download_dataset, download_missing
from torch_sr.data.sets.resolve import resolve
from torch_sr.data.sets.table import DATASETS
from torch_sr.data.sets.unpacking import unpack
from torch_sr.errors import DataError, DownloadError


def zipped(files, path=None, change=lambda entry: None):
    """A zip archive as bytes, or as a file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            change(entry)
            archive.writestr(entry, content)
    if path is None:
        return buffer.getvalue()
    path.write_bytes(buffer.getvalue())
    return path


def tarred(path, *entries, mode="w:gz"):
    """A tar archive of pairs of a TarInfo, or a name, and its content."""
    with tarfile.open(path, mode) as archive:
        for entry, content in entries:
            info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


# --- The table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOWNLOADABLE)
@pytest.mark.parametrize("scale_factor", [2, 3, 4, 8])
def test_every_archive_is_sound(name, scale_factor):
    found = archives_of(name, scale_factor)
    assert found
    assert name in DATASETS
    for archive in found:
        assert re.fullmatch(r"md5:[0-9a-f]{32}", archive.digest)
        assert all(re.fullmatch(r"https?://[^ ]+", url) for url in archive.urls)
        assert len(archive.urls) == 2
    assert len({archive.name for archive in found}) == len(found)


def test_the_archives_of_div2k():
    names = [archive.name for archive in archives_of("div2k", 4)]
    assert names == [
        "DIV2K_train_HR.zip",
        "DIV2K_train_LR_bicubic_X4.zip",
        "DIV2K_valid_HR.zip",
        "DIV2K_valid_LR_bicubic_X4.zip",
    ]
    assert archives_of("div2k", 4)[1].holds == "DIV2K_train_LR_bicubic/X4"
    assert [a.holds for a in archives_of("div2k", 8, "val")] == [
        "DIV2K_valid_HR",
        "DIV2K_valid_LR_x8",
    ]
    assert archives_of("div2k-unknown", 3, "train")[1].name == "DIV2K_train_LR_unknown_X3.zip"
    assert archives_of("div2k-wild", 4, "train")[1].holds == "DIV2K_train_LR_wild"
    assert len(archives_of("div2k", 5)) == 2  # of x5 nothing is published; it is made


def test_hashes_are_all_different():
    assert len(set(archives._DIV2K_MD5.values())) == len(archives._DIV2K_MD5) == 22


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("manga109", "benchmark/Manga109/HR"),
        ("lsdir", "LSDIR/HR/train"),
        ("x", "choose from div2k"),
    ],
)
def test_what_cannot_be_downloaded_is_reported(name, words):
    with pytest.raises(DataError, match=words):
        archives_of(name, 4)


# --- Unpacking ----------------------------------------------------------------------------------

GOOD = {"set/HR/a.png": b"a" * 1000, "set/LR/a.png": b"b", "set/Thumbs.db": b"", "__MACOSX/x": b""}


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz"])
def test_good_archives(tmp_path, kind):
    path = tmp_path / "set.bin"
    zipped(GOOD, path) if kind == "zip" else tarred(path, *GOOD.items(), mode=kind)
    (tmp_path / "root" / "set" / "HR").mkdir(parents=True)
    (tmp_path / "root" / "set" / "HR" / "b.png").write_bytes(b"was here")
    reported = []
    unpack(path, tmp_path / "root", lambda *so_far: reported.append(so_far))
    assert tree(tmp_path / "root") == ["set/HR/a.png", "set/HR/b.png", "set/LR/a.png"]
    assert (tmp_path / "root/set/HR/a.png").read_bytes() == GOOD["set/HR/a.png"]
    assert reported[-1] == (1001, 1001)


def test_files_of_a_killed_try_are_removed(tmp_path):
    path = zipped(GOOD, tmp_path / "set.zip")
    left = tmp_path / "root" / ".unpacking-set.zip" / "set"
    left.mkdir(parents=True)
    (left / "half.png").write_bytes(b"half")
    unpack(path, tmp_path / "root")
    assert tree(tmp_path / "root") == ["set/HR/a.png", "set/LR/a.png"]
    assert [entry.name for entry in (tmp_path / "root").iterdir()] == ["set"]


def test_files_are_plain_whatever_the_archive_says(tmp_path):
    info = tarfile.TarInfo("set/run.png")
    info.mode = 0o6777
    unpack(tarred(tmp_path / "x.tgz", (info, b"x")), tmp_path / "root")
    mode = (tmp_path / "root/set/run.png").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


HOSTILE_NAMES = [
    "../evil.png",
    "a/../../evil.png",
    "/tmp/evil.png",
    "C:/evil.png",
    "..\\evil.png",
    "a\\b",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_path_leaves_the_folder(tmp_path, name, kind):
    path = tmp_path / "evil.bin"
    files = {"good.png": b"good", name: b"evil"}
    if kind == "zip":
        zipped(files, path, lambda entry: setattr(entry, "filename", entry.orig_filename))
    else:
        tarred(path, *files.items())
    refuse(path, tmp_path, "nothing was unpacked")


def refuse(path, tmp_path, words):
    root = tmp_path / "root"
    with pytest.raises(DataError, match=words) as caught:
        unpack(path, root)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not root.exists() or not tree(root)
    assert not (tmp_path / "evil.png").exists()


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc"),
        (tarfile.SYMTYPE, "good.png"),
        (tarfile.LNKTYPE, "good.png"),
        (tarfile.CHRTYPE, ""),
        (tarfile.FIFOTYPE, ""),
    ],
)
def test_links_and_devices_are_refused(tmp_path, kind, target):
    path = tarred(tmp_path / "evil.tgz", ("good.png", b"good"), (link("evil", target, kind), b""))
    refuse(path, tmp_path, "'evil' in it is a link or device")


def test_links_in_zip_are_refused(tmp_path):
    def as_link(entry):
        entry.create_system = 3
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    refuse(zipped({"evil": b"/etc"}, tmp_path / "evil.zip", as_link), tmp_path, "is a link")


def test_an_archive_bomb_is_refused_before_unpacking(tmp_path, monkeypatch):
    path = zipped({"bomb": b"\0" * 50_000_000}, tmp_path / "bomb.zip")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000_000))
    with pytest.raises(DownloadError, match=r"0\.05 GB are needed and 0\.01 GB are free"):
        unpack(path, tmp_path / "root")
    assert not tree(tmp_path / "root")


def test_a_file_larger_than_declared_is_refused(tmp_path):
    data = bytearray(zipped({"bomb": b"\0" * 100_000}))
    for place in [match.start() for match in re.finditer(rb"PK\x01\x02", data)]:
        data[place + 24 : place + 28] = (10).to_bytes(4, "little")  # of the central directory
    (tmp_path / "liar.zip").write_bytes(data)
    refuse(tmp_path / "liar.zip", tmp_path, "Bad CRC|larger than declared|cannot be unpacked")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["zip", "tgz", "tar"])
def test_cut_archives(tmp_path, share, kind):
    content = {f"set/{n}.png": hashlib.sha256(bytes([n])).digest() * 500 for n in range(20)}
    path = tmp_path / f"cut.{kind}"
    if kind == "zip":
        zipped(content, path)
    else:
        tarred(path, *content.items(), mode="w:gz" if kind == "tgz" else "w")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refuse(path, tmp_path, "remove it to download it again; it cannot be unpacked")


def test_a_changed_byte_is_found(tmp_path):
    path = zipped({"set/a.png": hashlib.sha256().digest() * 300}, tmp_path / "x.zip")
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    refuse(path, tmp_path, "cannot be unpacked")


def test_encrypted_zip(tmp_path):
    data = bytearray(zipped({"a.png": b"x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    refuse(tmp_path / "x.zip", tmp_path, "is encrypted")


@pytest.mark.parametrize("content", [b"", b"no archive", b"<html>404</html>" * 100])
def test_what_is_not_an_archive(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    refuse(tmp_path / "x.zip", tmp_path, "cannot be unpacked")


# --- Whole data sets ----------------------------------------------------------------------------


@pytest.fixture
def server():
    yield from run_site()


@pytest.fixture
def div2k(server, monkeypatch, photo):
    """A site that has a small DIV2K, and a table that leads there."""
    from PIL import Image

    def png(height, width, seed):
        buffer = io.BytesIO()
        Image.fromarray(photo(height, width, seed=seed)).save(buffer, "PNG")
        return buffer.getvalue()

    site, address = server
    table = {}
    for part, name in (("train", "0001"), ("valid", "0801")):
        for stem, inside, image in (
            (f"DIV2K_{part}_HR", f"DIV2K_{part}_HR/{name}.png", png(16, 24, 0)),
            (
                f"DIV2K_{part}_LR_bicubic_X4",
                f"DIV2K_{part}_LR_bicubic/X4/{name}x4.png",
                png(4, 6, 1),
            ),
        ):
            content = zipped({inside: image, "Thumbs.db": b""})
            site.files[f"/{stem}.zip"] = content
            table[stem] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(archives, "_DIV2K_MD5", table)
    monkeypatch.setattr(archives, "_ETHZ", (f"{address}/gone", address))
    real = archives._div2k_archive
    monkeypatch.setattr(
        archives,
        "_div2k_archive",
        lambda stem: Archive(**{**vars(real(stem)), "num_bytes": None}),
    )
    return site


def test_a_data_set_is_downloaded_once_and_then_found(div2k, tmp_path):
    reported = []
    folders = download_dataset(
        "div2k", tmp_path, 4, progress=lambda *so_far: reported.append(so_far)
    )
    assert len(folders) == 4
    assert {text for text, *_ in reported} >= {"DIV2K_train_HR.zip", "unpacking DIV2K_train_HR.zip"}
    assert tree(tmp_path) == [
        "DIV2K/DIV2K_train_HR/0001.png",
        "DIV2K/DIV2K_train_LR_bicubic/X4/0001x4.png",
        "DIV2K/DIV2K_valid_HR/0801.png",
        "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png",
    ]
    assert not list((tmp_path / ".downloads").iterdir())
    (pair,) = resolve("div2k", tmp_path, 4, "train")
    assert pair.lr.name == "0001x4.png"
    requested = len(div2k.requests)
    download_dataset("div2k", tmp_path, 4)
    assert len(div2k.requests) == requested


def test_archives_are_kept_if_requested(div2k, tmp_path):
    download_dataset("div2k", tmp_path, 4, split="val", keep_archives=True)
    assert tree(tmp_path / ".downloads") == ["DIV2K_valid_HR.zip", "DIV2K_valid_LR_bicubic_X4.zip"]


def test_the_next_try_resumes_after_a_failure(div2k, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    stem = "/DIV2K_valid_LR_bicubic_X4.zip"
    div2k.behaviors[stem] = [break_off(50), *[answer(500)] * 9]
    with pytest.raises(DownloadError, match=r"DIV2K_valid_LR_bicubic_X4.zip .*answers 404.*500"):
        download_dataset("div2k", tmp_path, 4, split="val")
    assert (tmp_path / "DIV2K/DIV2K_valid_HR/0801.png").is_file()
    assert not (tmp_path / "DIV2K/DIV2K_valid_LR_bicubic").exists()
    div2k.behaviors.clear()
    download_dataset("div2k", tmp_path, 4, split="val")
    assert (tmp_path / "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png").is_file()
    assert sum(path == "/DIV2K_valid_HR.zip" for path, _ in div2k.requests) == 1


def test_an_interrupted_unpacking_is_repeated(div2k, tmp_path):
    def interrupt(text, done, total):
        if text.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download_dataset("div2k", tmp_path, 4, split="val", progress=interrupt)
    names = ["DIV2K_valid_HR.zip", "DIV2K_valid_HR.zip.unpacking"]
    assert tree(tmp_path) == [f".downloads/{name}" for name in names]
    download_dataset("div2k", tmp_path, 4, split="val")
    assert len(tree(tmp_path)) == 2
    assert sum(path == "/DIV2K_valid_HR.zip" for path, _ in div2k.requests) == 1


def test_several_processes_download_once(div2k, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        for done in [
            pool.submit(download_dataset, "div2k", tmp_path, 4, split="val") for _ in range(4)
        ]:
            assert len(done.result()) == 2
    assert tree(tmp_path) == [
        "DIV2K/DIV2K_valid_HR/0801.png",
        "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png",
    ]
    assert sum(path == "/DIV2K_valid_HR.zip" for path, _ in div2k.requests) == 1


def test_an_archive_of_other_content_is_reported(div2k, tmp_path):
    content = zipped({"other/0801.png": b""})
    div2k.files["/DIV2K_valid_HR.zip"] = content
    archives._DIV2K_MD5["DIV2K_valid_HR"] = hashlib.md5(content).hexdigest()
    with pytest.raises(DataError, match="does not contain DIV2K_valid_HR"):
        download_dataset("div2k", tmp_path, 4, split="val")


def test_missing_data_sets_are_downloaded_if_requested(div2k, tmp_path):
    where = {"data_root": tmp_path, "scale_factor": 4, "purpose": "val"}
    with pytest.raises(DataError, match="torch-sr data download"):
        open_pairs(["div2k"], cache_dir=tmp_path / "cache", **where)
    pairs = open_pairs(["div2k"], cache_dir=tmp_path / "cache", download=True, **where)
    assert pairs[0][1].shape == (16, 24, 3)
    assert not (tmp_path / "DIV2K/DIV2K_train_HR").exists()  # only what was requested
    download_missing(["div2k:train"], **where)
    assert (tmp_path / "DIV2K/DIV2K_train_HR").exists()
