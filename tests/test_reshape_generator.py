"""reshape_generator.py: a wider or shallower generator from a trained one."""

import runpy
from pathlib import Path

import pytest
import torch

from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

SCRIPT = Path(__file__).parents[1] / "scripts" / "reshape_generator.py"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=8, growth_channels=4, num_basic_blocks=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def test_a_wider_network_computes_the_same(network):
    reshape = runpy.run_path(str(SCRIPT))["reshape"]
    wider = reshape(network, 7, range(3))
    assert wider.config.growth_channels == 7
    lr = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(wider(lr), network(lr), rtol=1e-5, atol=1e-6)


def test_new_channels_learn(network):
    reshape = runpy.run_path(str(SCRIPT))["reshape"]
    wider = reshape(network, 7, range(3))
    wider(torch.rand(1, 3, 9, 9)).sum().backward()
    last = wider.body[0].rdb1.conv5.weight.grad
    assert (last.abs().amax(dim=(0, 2, 3)) > 0).all()  # what reads the new channels moves first


def test_blocks_are_left_out_as_a_user_does(network, tmp_path, monkeypatch, capsys):
    save_generator(tmp_path / "a.safetensors", network, stage="pretraining")
    files = [str(tmp_path / name) for name in ("a.safetensors", "b.safetensors")]
    monkeypatch.setattr("sys.argv", ["reshape", *files, "--growth", "6", "--blocks", "0", "2"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    shallower = read_model(files[1]).network
    assert (shallower.config.num_basic_blocks, shallower.config.growth_channels) == (2, 6)
    kept, old = shallower.body[1].rdb1.conv1, network.body[2].rdb1.conv1
    torch.testing.assert_close(kept.weight[:4], old.weight)
    monkeypatch.setattr("sys.argv", ["reshape", *files, "--growth", "3"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "--growth 3: the model has 4" in capsys.readouterr().err
