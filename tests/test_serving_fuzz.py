"""Random requests against the OpenAPI document, and damaged images: no error inside the server."""

from __future__ import annotations

import logging
import os
import sys

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from live_service import live_service, save_tiny_model
from serving_kit import files_in, image_bytes, wait_until

from torch_sr.serving.api.app import make_api
from torch_sr.serving.settings import Limits

if sys.version_info < (3, 11):
    pytest.skip("schemathesis 4 needs Python 3.11", allow_module_level=True)

import schemathesis
from schemathesis.checks import CHECKS, load_all_checks

fuzz = pytest.importorskip("test_fuzz")

EXAMPLES = int(os.environ.get("TORCH_SR_API_FUZZ", "8"))
IMAGES = int(os.environ.get("TORCH_SR_IMAGE_FUZZ", "150"))
load_all_checks()
# Whether an image can be read is not in the document; nor is an image a text, as it says there.
EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance"])
OF_BODIES = CHECKS.get_by_names(["negative_data_rejection"])


@schemathesis.serializer("image/avif", "image/tiff")
def as_it_is(_, value):
    """Schemathesis knows how to send the other types."""
    return value if isinstance(value, bytes) else str(value).encode()


document = schemathesis.openapi.from_dict(make_api().openapi())
LIMITS = Limits(max_upload=2_000_000, max_pixels=100_000, max_enlargement=32)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a service of a tiny model, and the service."""
    folder = tmp_path_factory.mktemp("fuzz")
    model = save_tiny_model(folder)
    with live_service(folder / "serve", models=(str(model),), limits=LIMITS) as (url, service):
        yield url, service


@document.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_random_requests(case, served):
    excluded = list(EXCLUDED)
    if isinstance(case.body, dict) and isinstance(case.body.get("image"), bytes):
        case.body["image"] = image_bytes()  # random bytes are refused before the options matter
        excluded += OF_BODIES
    case.call_and_validate(f"{served[0]}/v1", excluded_checks=excluded)
    assert served[1].fault is None


def test_damaged_images(served):
    url, service = served
    logging.disable()  # libvips' words
    try:
        files = list(fuzz.seeds())
        statuses = {}
        with httpx.Client(base_url=url, timeout=60) as client:
            for number in range(IMAGES):
                rng = np.random.default_rng([2026, number])
                data = fuzz.mutate(files[number % len(files)], rng, files)
                keep = {"damaged": "keep"} if number % 3 == 0 else {}
                headers = {"content-type": "application/octet-stream"}
                response = client.post("/v1/upscale", content=data, params=keep, headers=headers)
                assert response.status_code in (200, 413, 415, 422), (number, response.text)
                statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                if response.status_code != 200:
                    detail = response.json()["detail"]
                    assert "\n" not in detail
                    assert str(service.settings.folder) not in detail
            assert statuses[200] > IMAGES / 20
            assert statuses[422] > IMAGES / 20
            good = client.post("/v1/upscale", content=image_bytes())
            assert good.status_code == 200
    finally:
        logging.disable(logging.NOTSET)
    assert service.fault is None
    wait_until(lambda: files_in_requests(service) == [])


def files_in_requests(service):
    """Files that a request has left."""
    return [name for name in files_in(service) if not name.startswith("jobs/")]
