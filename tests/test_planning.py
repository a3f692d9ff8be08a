"""The planner: arithmetic, units, bounds, and what it refuses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_output import validate

from torch_sr.errors import ConfigError
from torch_sr.models.inspection import count_macs
from torch_sr.models.loading import load
from torch_sr.planning import (
    Constant,
    Constants,
    NetworkCost,
    Workload,
    make_plan,
    read_constants,
)
from torch_sr.planning.constants import parse_constants
from torch_sr.planning.costs import computed_pixels, devices_plan, known_devices
from torch_sr.planning.measure import Enlarge, made_photo, measure_device, measure_files

NETWORK = NetworkCost("mine", "RRDBNet", scale_factor=4, macs=1e6, half_bytes=0.0, overlap=0)
FIGURES = {
    "device.round.tflops": 100.0,
    "device.round.bandwidth": 1000.0,
    "utilization": 0.2,
    "tile_pixels.gpu": 1e9,
    "tile_pixels.cpu": 1e9,
    "overlap": 10,
    "cores.gpu": 4,
    "network.gpu": 8,
    "network.cpu": 0.8,
    "efficiency": 0.5,
    "task.images": 10,
    "task.bytes": 1e9,
    "ledger.calls_per_task": 1,
    "ledger.calls_per_second": 1,
    "convert": 0.001,
    "store.heads": 2,
    "store.lists": 1,
    "store.read_bytes": 1e6,
    "store.upload_requests": 2,
    "store.single_bytes": 0,
    "store.part_bytes": 1e7,
    "store.page": 1000,
    "limit.ray_tasks": 10,
    "price.gets": 0.4,
    "price.puts": 5.0,
    "price.storage": 0.02,
    **{
        f"format.{name}.{what}": value
        for name in ("jpg", "png", "webp")
        for what, value in {
            "decode": 0.002,
            "encode": 0.003,
            "source_bytes": 1.0,
            "result_bytes": 0.5,
        }.items()
    },
}


def constants(**changes):
    """Round constants, some replaced; the dots of names are underscores here."""
    table = {name: Constant(value, "", "measured", "a test") for name, value in FIGURES.items()}
    for name, value in changes.items():
        key = next(key for key in table if key.replace(".", "_") == name)
        table[key] = replace(table[key], value=value)
    return Constants(table)


def job(**changes):
    settings = {"images": 1000, "megapixels": 1.0, "device": "round", "devices": 2}
    return Workload(**settings | changes)


def test_an_image_on_a_gpu_is_the_hand_computed_one():
    plan = make_plan(job(), NETWORK, constants())
    # 10^6 pixels, 2 * 10^6 operations each, at 20 % of 100 TFLOP/s
    assert plan.image.compute == pytest.approx(2e12 / 20e12, rel=0.01)
    # 2 ms for 1 MP that is decoded, 1 + 3 ms for each of 16 MP
    assert plan.image.core_seconds == pytest.approx(0.002 + 16 * 0.004)
    assert plan.image.processors == pytest.approx(0.066 / 4)
    assert plan.image.cores_needed == pytest.approx(0.066 / 0.1, rel=0.01)
    # 1 MB and 8 MB, over 8 Gbit/s, which is 1 GB/s
    assert (plan.image.bytes_in, plan.image.bytes_out) == (1e6, 8e6)
    assert plan.image.connection == pytest.approx(0.009)
    assert plan.bottleneck == "compute"
    assert plan.seconds_per_image == plan.image.compute


def test_a_job_is_the_hand_computed_one():
    plan = make_plan(job(), NETWORK, constants())
    # 100 tasks of 10 images, 50 on each of 2 devices, half of the time
    seconds = 50 * 10 * plan.seconds_per_image / 0.5
    assert plan.hours == pytest.approx(seconds / 3600)
    assert plan.device_hours == pytest.approx(2 * plan.hours)
    assert plan.images_per_second == pytest.approx(1000 / seconds)
    assert (plan.source_bytes, plan.result_bytes) == (1e9, 8e9)


def test_requests_are_the_hand_computed_ones():
    plan = make_plan(job(source_megabytes=2.5, result_megabytes=25), NETWORK, constants())
    # to read: HEAD twice, and 3 pieces; to write: 2 and 3 parts; LIST once, and 1000 names at once
    assert plan.requests.gets == 1000 * (2 + 3)
    assert plan.requests.puts == 1000 * (2 + 3)
    assert plan.requests.lists == 1000 + 1
    small = constants(store_single_bytes=8e6)
    assert make_plan(job(), NETWORK, small).requests.puts == 1000
    assert make_plan(job(), NETWORK, constants()).requests.puts == 1000 * (2 + 1)


def test_money_is_the_hand_computed_one():
    work = job(device_price=3.0, transfer_price=0.1, months=6)
    plan = make_plan(work, NETWORK, constants())
    assert plan.money.devices == pytest.approx(3 * plan.device_hours)
    assert plan.money.requests == pytest.approx(3 * 0.4 + (3 + 1.001) * 5)
    assert plan.money.storage == pytest.approx(8 * 0.02 * 6)
    assert plan.money.transfer == pytest.approx(9 * 0.1)
    parts = (plan.money.devices, plan.money.requests, plan.money.storage, plan.money.transfer)
    assert plan.money.known == pytest.approx(sum(parts))
    assert plan.money.unknown == []


def test_what_has_no_price_is_left_out():
    plan = make_plan(job(), NETWORK, constants())
    assert plan.money.devices is plan.money.transfer is None
    assert plan.money.known == plan.money.requests + plan.money.storage
    assert plan.money.unknown == ["devices", "transfer"]
    assert {"price.gets", "price.puts", "price.storage"} <= set(plan.constants)


@pytest.mark.parametrize(
    ("changes", "bottleneck"),
    [
        ({"cores_gpu": 0.1}, "processors"),
        ({"network_gpu": 0.1}, "connection"),
        ({"utilization": 0.001}, "compute"),
    ],
)
def test_the_slowest_part_of_a_gpu_sets_the_pace(changes, bottleneck):
    plan = make_plan(job(), NETWORK, constants(**changes))
    assert plan.bottleneck == bottleneck
    assert plan.seconds_per_image == getattr(plan.image, bottleneck)


def test_the_memory_of_a_gpu_bounds_its_speed():
    network = replace(NETWORK, half_bytes=1e6)  # 1 TB for an image, at 1 TB/s
    assert make_plan(job(), network, constants()).image.compute == pytest.approx(1, rel=0.01)


def test_a_core_does_one_thing_after_the_other():
    table = constants().replaced({"speed.cpu.mine": Constant(100, "GFLOP/s", "measured", "")})
    plan = make_plan(job(device="cpu"), NETWORK, table)
    assert plan.image.compute == pytest.approx(20, rel=0.01)
    assert plan.seconds_per_image == pytest.approx(plan.image.compute + 0.066)
    assert not plan.is_estimate


def test_another_network_is_estimated_from_the_slowest_that_was_measured():
    table = constants().replaced(
        {
            "speed.cpu.other": Constant(100, "GFLOP/s", "measured", ""),
            "speed.cpu.third": Constant(50, "GFLOP/s", "measured", ""),
        }
    )
    plan = make_plan(job(device="cpu"), NETWORK, table)
    assert plan.image.compute == pytest.approx(40, rel=0.01)
    assert plan.is_estimate


def test_a_measured_speed_of_a_gpu_replaces_the_estimate():
    table = constants().replaced({"speed.round.mine": Constant(2000, "GFLOP/s", "measured", "")})
    plan = make_plan(job(), NETWORK, table)
    assert plan.image.compute == pytest.approx(1, rel=0.01)
    assert not plan.is_estimate
    assert make_plan(job(), replace(NETWORK, name="other"), table).is_estimate


def test_a_deadline_gives_the_least_number_of_devices():
    plan = make_plan(job(devices=None, hours=0.01), NETWORK, constants())
    assert plan.hours <= 0.01
    assert devices_plan(plan, constants(), plan.devices - 1).hours > 0.01
    with pytest.raises(ConfigError, match="a task of 10 images takes as long"):
        make_plan(job(devices=None, hours=1e-5), NETWORK, constants())


def test_tasks_are_smaller_if_images_are_large():
    assert make_plan(job(), NETWORK, constants()).images_per_task == 10
    assert make_plan(job(source_megabytes=400), NETWORK, constants()).images_per_task == 2
    assert make_plan(job(source_megabytes=4000), NETWORK, constants()).images_per_task == 1
    assert make_plan(job(images=3), NETWORK, constants()).images_per_task == 3


def test_a_limit_is_reached_at_the_number_of_devices_that_it_names():
    plan = make_plan(job(images=10**6), NETWORK, constants())
    (limit,) = plan.limits
    assert limit.load == pytest.approx(plan.images_per_second / 10)
    reached = devices_plan(plan, constants(), limit.devices).limits[0]
    assert 0.95 < reached.share <= 1.001


def test_the_limits_of_one_driver_are_optional():
    table = constants().replaced(
        {
            "limit.images": Constant(1000, "images/s", "measured", ""),
            "limit.ledger_calls": Constant(100, "calls/s", "measured", ""),
        }
    )
    plan = make_plan(job(images=10**6), NETWORK, table)
    loads = {limit.unit: limit.load for limit in plan.limits}
    assert loads["images/s"] == pytest.approx(plan.images_per_second)
    assert loads["calls/s"] == pytest.approx(plan.images_per_second / 10 + plan.devices)


def test_borders_and_tiles_are_computed_too():
    assert computed_pixels(100, 200, 10, 1e6) == 120 * 220
    tiled = computed_pixels(1000, 1000, 10, 1e5)
    assert 1020**2 < tiled < 1.2 * 1020**2


sizes = st.integers(1, 10**7)
megapixels = st.floats(0.01, 200)
positive = st.floats(1e-3, 1e3)


@settings(max_examples=60, deadline=None)
@given(images=sizes, size=megapixels, devices=st.integers(1, 10**4), more=st.integers(1, 10**4))
def test_more_work_and_more_devices_change_the_time_in_the_right_direction(
    images, size, devices, more
):
    base = make_plan(job(images=images, megapixels=size, devices=devices), NETWORK, constants())
    wider = devices_plan(base, constants(), devices + more)
    assert wider.hours <= base.hours * (1 + 1e-9)
    work = make_plan(
        job(images=images + more, megapixels=size, devices=devices), NETWORK, constants()
    )
    assert work.requests.gets > base.requests.gets
    assert work.result_bytes > base.result_bytes
    assert work.device_hours >= images * base.seconds_per_image / 3600
    larger = make_plan(
        job(images=images, megapixels=size * 2, devices=devices), NETWORK, constants()
    )
    assert larger.seconds_per_image > base.seconds_per_image


@settings(max_examples=60, deadline=None)
@given(hours=st.floats(5, 1e5), images=sizes, size=megapixels)
def test_a_deadline_is_kept(hours, images, size):
    work = job(images=images, megapixels=size, devices=None, hours=hours)
    plan = make_plan(work, NETWORK, constants())
    assert plan.hours <= hours * (1 + 1e-6)
    if plan.devices > 1:
        assert devices_plan(plan, constants(), plan.devices - 1).hours > hours * (1 - 1e-6)


@settings(max_examples=40, deadline=None)
@given(cores=positive, network=positive, utilization=st.floats(1e-3, 1))
def test_better_hardware_is_never_slower(cores, network, utilization):
    slow = constants(cores_gpu=cores, network_gpu=network, utilization=utilization)
    base = make_plan(job(), NETWORK, slow).seconds_per_image
    for name in ("cores.gpu", "network.gpu", "device.round.tflops"):
        better = slow.replaced({name: Constant(2 * slow[name], "", "given", "")})
        assert make_plan(job(), NETWORK, better).seconds_per_image <= base


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 0}, "images 0: write a number above 0"),
        ({"images": -5}, "images -5"),
        ({"megapixels": 0.0}, "megapixels 0"),
        ({"megapixels": math.nan}, "megapixels nan"),
        ({"megapixels": math.inf}, "megapixels inf"),
        ({"devices": 0}, "devices 0"),
        ({"devices": None, "hours": -1.0}, "hours -1"),
        ({"hours": 3.0}, "devices and hours: give one of them"),
        ({"source_megabytes": 0.0}, "source_megabytes 0"),
        ({"result_format": "bmp"}, "result_format 'bmp': the formats are jpg, png, webp"),
        ({"device_price": -1.0}, "device_price -1: write a number of 0 or more"),
    ],
)
def test_an_impossible_job_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        job(**changes)


def test_an_unknown_device_lists_the_known_ones():
    with pytest.raises(ConfigError, match="'abacus': unknown; use round"):
        make_plan(job(device="abacus"), NETWORK, constants())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "mine.json: not JSON"),
        ("[]", "mine.json: write an object of constants"),
        ('{"a": 1}', "mine.json: a: write an object with value, unit, kind"),
        ('{"a": {"value": 1}}', "mine.json: a: write an object"),
        (
            '{"a": {"value": "1", "unit": "", "kind": "cited", "source": ""}}',
            "a: value '1' is not a number",
        ),
        ('{"a": {"value": -1, "unit": "", "kind": "cited", "source": ""}}', "value -1"),
        ('{"a": {"value": NaN, "unit": "", "kind": "cited", "source": ""}}', "value nan"),
        ('{"a": {"value": true, "unit": "", "kind": "cited", "source": ""}}', "value True"),
        ('{"a": {"value": 1, "unit": "", "kind": "dreamt", "source": ""}}', "kind 'dreamt'"),
        (
            '{"a": {"value": 1, "unit": "", "kind": "cited", "source": "", "more": 1}}',
            "write an object with",
        ),
    ],
)
def test_a_bad_file_of_constants_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_constants(text, "mine.json")


def test_a_file_replaces_constants(tmp_path):
    path = tmp_path / "mine.json"
    row = {"value": 42, "unit": "s/MP", "kind": "measured", "source": "here"}
    path.write_text(json.dumps({"convert": row}))
    assert read_constants(path)["convert"] == 42
    assert read_constants()["convert"] < 1
    with pytest.raises(ConfigError, match="cannot be read"):
        read_constants(tmp_path / "missing.json")


def test_every_constant_has_a_source_and_published_ones_a_date():
    table = read_constants()
    for name in table.starting_with(""):
        constant = table.find(name)
        assert constant.unit, name
        assert constant.source, name
        assert constant.date or constant.kind in ("assumed", "given"), name
    assert {"cpu", "h100", "h200", "a100", "l4"} <= set(known_devices(table))


def test_the_network_is_counted_and_not_looked_up():
    model = load("compact-x4")
    cost = NetworkCost.of(model)
    assert cost.macs == count_macs(model.network, 3)
    assert (cost.name, cost.scale_factor, cost.overlap) == ("compact-x4", 4, 14)
    # 9 dense blocks of 32 channels move at least this, and far less than ten times as much
    dense = 2 * 9 * (32 + 64 + 96 + 128 + 160 + 5 * 32)
    assert dense < cost.half_bytes < 10 * dense


def test_the_published_speeds_are_within_what_is_assumed():
    script = run_path(str(Path(__file__).parents[1] / "benchmarks" / "plan.py"))
    found = [row.utilization for row in script["PUBLISHED"]]
    table = read_constants()
    assert min(found) == pytest.approx(table["utilization"], rel=0.1)
    assert max(found) == pytest.approx(table["utilization.best"], rel=0.1)
    rows = script["published_table"]().splitlines()
    assert len(rows) == 2 + len(found) + 2


@pytest.mark.parametrize("device", ["h100", "cpu"])
def test_a_plan_is_json(device):
    plan = make_plan(job(device=device), NETWORK, read_constants())
    validate(json.loads(json.dumps(plan.to_dict())), "plan")


def test_the_machine_can_be_measured(monkeypatch):
    monkeypatch.setattr("torch_sr.planning.measure._SIZE", (64, 96))
    photo = made_photo(2)
    assert photo.result.width == 2 * photo.source.width
    found = measure_files([photo], "a test")
    assert set(found) == {"convert"} | {
        f"format.{suffix}.{what}"
        for suffix in ("jpg", "png", "webp")
        for what in ("source_bytes", "result_bytes", "decode", "encode")
    }
    assert all(constant.value > 0 for constant in found.values())
    assert found["format.png.result_bytes"].value < 4
    assert Enlarge(3)(photo.source.color[None].transpose(0, 3, 1, 2)).shape[2:] == (192, 288)


def test_the_speed_of_a_model_can_be_measured(monkeypatch):
    monkeypatch.setattr("torch_sr.planning.measure._SIZE", (64, 96))
    ((name, constant),) = measure_device(load("compact-x4"), "cpu", "a test").items()
    assert name == "speed.cpu.compact-x4"
    assert constant.kind == "measured"
    assert 1 < constant.value < 10_000  # GFLOP/s of a core
