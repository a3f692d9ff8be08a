"""A service that listens on a port of this machine, in a thread of the tests."""

from __future__ import annotations

import contextlib
import threading

import torch
import uvicorn

from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.serving.api.app import make_app
from torch_sr.serving.connections import WatchedProtocol
from torch_sr.serving.server import bind
from torch_sr.serving.service import Service
from torch_sr.serving.settings import Limits, ServiceSettings


def save_tiny_model(folder):
    """A generator of random weights, as the file tiny-x4.safetensors."""
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    with torch.no_grad():
        network.conv_last.bias.fill_(0.5)
    path = folder / "tiny-x4.safetensors"
    save_generator(path, network, metadata={"name": "tiny-x4", "license": "LGPL-2.1"})
    return path


@contextlib.contextmanager
def live_service(folder, *, token=None, port=0, limits=None, grace=5, **settings):
    """Serve the API without the page: yields the address and the service."""
    settings = ServiceSettings(folder, devices=("cpu",), limits=limits or Limits(), **settings)
    service = Service(settings)
    listening = bind("127.0.0.1", port)
    app = make_app(service, token=token, hosts=("localhost",), page=False)
    config = uvicorn.Config(
        app, http=WatchedProtocol, ws="none", log_level="warning", timeout_keep_alive=60
    )  # slow machines pause between requests
    server = uvicorn.Server(config)
    service.start()
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", service
    finally:
        server.should_exit = True
        service.stop(grace)
        thread.join()
        service.close()
        listening.close()
