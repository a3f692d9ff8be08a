"""report.py: the page is complete, escaped and makes no requests; its slider moves in a browser."""

import dataclasses
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from torch_sr.errors import DataError
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.presentation.report import Report
from torch_sr.evaluation.statistics import mean_scores

HOSTILE = "</script><script>alert('x')</script>&\"<b>"


def comparison(photo, name, psnrs=(25.0, 27.0), size=(64, 96), dataset="set", seed=0):
    hr = photo(*size, seed=seed)
    methods = ("bicubic", "mine")
    results = {
        m: np.clip(hr.astype(int) + 9 * i, 0, 255).astype(np.uint8)
        for i, m in enumerate(methods, 1)
    }
    metrics = {m: {"psnr": p, "ssim": p / 40} for m, p in zip(methods, psnrs, strict=True)}
    return Comparison(dataset, name, hr[::4, ::4], hr, results, metrics)


@pytest.fixture
def report(photo):
    report = Report("Set at x4", "paper", 4, notes=["Two & two."])
    report.add(comparison(photo, "set/good", (25, 29)))
    report.add(comparison(photo, "set/worst", (28, 27), seed=1))
    report.add(comparison(photo, "other/large", (20, 21), (640, 800), "other", seed=2))
    return report


class Page(HTMLParser):
    """What the tests read from a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.addresses, self.policies, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        if tag == "article":
            self.names.append(found["data-name"])
        self.addresses += [found[key] for key in ("src", "href") if key in found]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(found["content"])


def test_the_page_is_complete_and_makes_no_requests(report, tmp_path):
    report.write(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.names == ["set/worst", "other/large", "set/good"]  # the least gain first
    assert len(page.addresses) == 3 * 4
    assert all(re.match(r"data:image/(png|jpeg);base64,", address) for address in page.addresses)
    assert page.policies[0].startswith("default-src 'none';")
    assert not re.search(r"https?:|@import|url\(", text)
    assert "Two &amp; two." in text
    assert "$" not in re.sub(r"base64,[^\"]*", "", text)  # every place is filled
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]


def test_numbers_are_those_of_the_scores(report):
    text = report.to_html()
    embedded = json.loads(re.search(r'id="scores">(.*?)</script>', text)[1])
    assert len(embedded) == 6
    assert embedded[0]["metrics"] == {"psnr": 25, "ssim": 0.625}
    for methods in mean_scores(report.scores).values():
        for means in methods.values():
            assert f"{means['psnr']:.2f}<small>" in text
    assert '<td class=best data-title="PSNR (dB)">28.00<small>' in text  # mine with 29 and 27


def test_only_a_detail_of_a_large_image_is_shown(report):
    assert "aspect-ratio: 480 / 480" in report.to_html()
    assert "aspect-ratio: 96 / 64" in report.to_html()


def test_equal_input_makes_equal_bytes(report):
    assert report.to_html() == report.to_html()


def test_names_are_only_text(photo):
    report = Report(HOSTILE, "paper", 4, [HOSTILE])
    hostile = comparison(photo, HOSTILE, dataset=HOSTILE)
    report.add(hostile)
    text = report.to_html()
    page = Page(text)
    assert page.names == [HOSTILE]
    assert page.tags.count("script") == 2
    assert "b" not in page.tags
    assert json.loads(re.search(r'id="scores">(.*?)</script>', text)[1])[0]["image"] == HOSTILE


def test_equal_images_are_infinite(photo):
    report = Report("t", "paper", 4)
    report.add(comparison(photo, "a", (math.inf, math.inf)))
    text = report.to_html()
    assert "∞" in text
    assert "Infinity" not in re.search(r'id="scores">(.*?)</script>', text)[1]
    assert 'data-gain="0.000000" data-psnr="inf"' in text


def test_an_identical_image_is_left_out_of_the_mean_and_named(photo):
    report = Report("t", "paper", 4)
    report.add(comparison(photo, "set/a", (25, 27)))
    report.add(comparison(photo, "set/flat", (math.inf, 29)))
    text = report.to_html()
    assert "1 of 2 images identical to the original: not in the mean (set/flat)" in text
    assert ">25.00<small>" in text
    assert ">28.00<small>" in text
    assert 'class=best data-title="PSNR' not in text  # the means are over different images


def test_long_names_are_complete_in_the_plots(photo):
    name = "192_cr_23_rrdb_div2k_bsds500_perceptual_gan_epoch_12000_best"
    report = Report("t", "paper", 4)
    found = comparison(photo, "set/a")
    names = ("bicubic", name)
    results = dict(zip(names, found.results.values(), strict=True))
    metrics = dict(zip(names, found.metrics.values(), strict=True))
    report.add(dataclasses.replace(found, results=results, metrics=metrics))
    text = report.to_html()
    svg = text[text.index("<svg") : text.index("</svg>")]
    assert name in "".join(re.findall(r"<text class=m[^>]*>([^<]*)</text>", svg))
    assert "…" not in text


def test_a_model_called_original_does_not_replace_the_original(photo):
    report = Report("t", "paper", 4)
    found = comparison(photo, "set/a")
    names = ("bicubic", "original")
    results = dict(zip(names, found.results.values(), strict=True))
    metrics = dict(zip(names, found.metrics.values(), strict=True))
    report.add(dataclasses.replace(found, results=results, metrics=metrics))
    page = Page(report.to_html())
    assert len(page.addresses) == len(set(page.addresses)) == 4
    assert report.to_html().count("<option selected>original</option>") == 1


def test_gray_images_and_an_empty_report(photo):
    report = Report("t", "enhanced-srgan", 4)
    assert "0 images of no data set" in report.to_html()
    hr = photo(32, 32, 1)
    report.add(
        Comparison("s", "s/a", hr[::4, ::4], hr, {"bicubic": hr}, {"bicubic": {"psnr": 9.0}})
    )
    assert "1 image of s" in report.to_html()


def test_a_page_that_cannot_be_written(report, tmp_path):
    with pytest.raises(DataError, match=r"nowhere.page.html: cannot be written"):
        report.write(tmp_path / "nowhere" / "page.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="folder: cannot be written"):
        report.write(tmp_path / "folder")


# --- In a browser -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_long_names_fit_any_window(photo, tmp_path, browser, width, scheme):
    names = ["bicubic", *(f"192_cr_23_rrdb_div2k_bsds500_epoch_{n}000_of_the_gan" for n in "123")]
    base = comparison(photo, "set/an_image_of_a_very_long_name_that_has_no_space_in_it")
    sr, metrics = base.results["mine"], base.metrics["mine"]
    report = Report("t", "paper", 4)
    for n in range(5):
        found = dataclasses.replace(
            base,
            image=f"{base.image}{n}",
            results=dict.fromkeys(names, sr),
            metrics=dict.fromkeys(names, metrics),
        )
        report.add(found)
    report.write(tmp_path / "page.html")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = """elements => elements.filter(e => e.scrollWidth > e.clientWidth + 1).length"""
    for selector in (".means td", ".means", ".card h3", ".tag", ".scroll"):
        assert page.eval_on_selector_all(selector, hidden) == 0, selector
    assert page.locator(".means").inner_text().count("_of_the_gan") == 3
    box = page.locator(".tag.r").first.bounding_box()
    pair = page.locator(".pair").first.bounding_box()
    assert box["x"] + box["width"] <= pair["x"] + pair["width"]
    assert box["x"] >= pair["x"] + pair["width"] / 2


def test_the_slider_moves_in_a_browser(report, tmp_path, browser):
    report.write(tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    first = page.locator("article").first
    pair, slider = first.locator(".pair"), first.locator("input")
    right = first.locator("img.right")

    def seen():
        """Where the divider stands, as a share of the width, and how much is clipped."""
        box, line = pair.bounding_box(), first.locator(".divider").bounding_box()
        clip = right.evaluate("image => getComputedStyle(image).clipPath")
        return (line["x"] + 1 - box["x"]) / box["width"], float(re.search(r"([\d.]+)%", clip)[1])

    assert seen() == (pytest.approx(0.5, abs=0.01), 50)
    assert seen() == (pytest.approx(0.5, abs=0.01), 50)
    pair.scroll_into_view_if_needed()  # the mouse reaches what the window shows
    box = pair.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, middle, steps=5)
    page.mouse.up()
    place, clipped = seen()
    assert place == pytest.approx(0.8, abs=0.03)
    assert clipped == pytest.approx(80, abs=3)
    slider.press("ArrowLeft")
    assert seen()[1] == clipped - 0.5
    slider.press("Home")
    assert seen() == (pytest.approx(0, abs=0.01), 0)
    assert slider.get_attribute("type") == "range"  # its role is slider, its value is spoken

    assert first.locator("img.left").get_attribute("alt") == "bicubic"
    page.select_option("#left", "low resolution")
    page.select_option("#right", "original")
    assert first.locator("img.left").get_attribute("alt") == "low resolution"
    assert right.get_attribute("alt") == "original"
    assert first.locator(".tag.r").inner_text() == "original"

    def names():
        found = page.locator("article:visible")
        return [found.nth(i).get_attribute("data-name") for i in range(found.count())]

    assert names() == ["set/worst", "other/large", "set/good"]
    page.select_option("#order", "-psnr")
    assert names() == ["set/good", "set/worst", "other/large"]
    page.select_option("#order", "name")
    assert names() == ["other/large", "set/good", "set/worst"]
    page.select_option("#dataset", "other")
    assert names() == ["other/large"]
    assert not problems
    assert all(url.startswith(("file:", "data:")) for url in requests)


def test_differences_are_shown_if_there_is_a_reference(photo):
    report = Report("t", "paper", 4, reference="bicubic")
    report.add(comparison(photo, "set/a", (25, 27)))
    report.add(comparison(photo, "set/b", (24, 25)))
    text = report.to_html()
    method = report.scores[1].method
    table = text.partition("Difference from bicubic")[2].partition("</table>")[0]
    assert method in table
    assert '<td data-title="PSNR (dB)">+1.50*<small>+1.00 to +2.00</small></td>' in table
    without = Report("t", "paper", 4)
    without.add(comparison(photo, "set/a", (25, 27)))
    assert "Difference from" not in without.to_html()
