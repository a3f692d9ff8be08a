"""Train on two machines: equal to one process, and what is left after one of them dies.

The two machines are simulated on this one. As root on Linux they are two network namespaces, joined
by a pair of virtual interfaces; otherwise, two loopback addresses. Each runs torchrun with one
process on the CPU (gloo), and starts it again if it ends with an error, as Kubernetes and Slurm do.

    equality  both stages with two processes, and with one process and the doubled batch
    kills     at seeded times, all processes of a machine are killed (SIGKILL). In half of the runs
              its network is cut first (only as root), so that the other machine is not notified;
              in half, each machine has an --out of its own

Run with::

    python benchmarks/nodes.py equality kills --json nodes.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from torch_sr.images import read_image, write_image
from torch_sr.images.image import Image

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "dahlia.jpg"
STAGES = ("PSNR", "ESRGAN")
EPOCHS = 12
NAME = "nodes"
SECONDS = 300  # for a training


def main() -> None:
    """Measure what the command line names, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=list(PARTS))
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the kills")
    parser.add_argument("--loopback", action="store_true", help="no network namespaces")
    parser.add_argument("--keep", type=Path, help="keep the files of the runs in this folder")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    results = {}
    with folder_of(options.keep) as folder, two_machines(options.loopback) as machines:
        Data(folder).write()
        for part in options.parts:
            results[part] = PARTS[part](options, folder, machines)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


@contextmanager
def folder_of(keep: Path | None) -> Iterator[Path]:
    """The folder of the runs."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="torch-sr-nodes-") as name:
        yield Path(name)


@dataclass(frozen=True)
class Data:
    """Images and configurations of small trainings."""

    folder: Path

    def write(self) -> None:
        """Write nine images, random weights of a feature network, and both configurations."""
        photos = self.folder / "data" / "photos"
        photos.mkdir(parents=True, exist_ok=True)
        pixels = read_image(PHOTOGRAPH).color
        for number in range(9):
            top, left = 48 * (number // 3), 64 * (number % 3)
            write_image(photos / f"{number}.png", Image(pixels[top : top + 48, left : left + 64]))
        torch.manual_seed(0)
        weights = {"weight": 0.1 * torch.randn(64, 3, 3, 3), "bias": torch.zeros(64)}
        vgg = self.folder / "vgg11.pth"
        torch.save({f"features.0.{name}": value for name, value in weights.items()}, vgg)
        for processes in (1, 2):
            self.config(processes).write_text(json.dumps(self._hparams(4 // processes, vgg)))

    def config(self, processes: int) -> Path:
        """The configuration for a number of processes, which share mini-batches of four."""
        return self.folder / f"{processes}.json"

    @staticmethod
    def _hparams(batch_size: int, vgg: Path) -> dict[str, Any]:
        stage = {
            "num_epoch": EPOCHS,
            "cr_patch_size": [24, 24],
            "train_datasets": ["photos"],
            "val_datasets": ["photos"],
        }
        return {
            "scale_factor": 2,
            "batch_size": batch_size,
            "seed": 3,
            "generator": {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1},
            "discriminator": {"vgg_blk_ch": [8, 8, 16, 16], "fc_features": [10]},
            "pretraining": {**stage, "lr": 1e-3, "gradient_clip": 1.0},
            "training": {**stage, "g_sched_steps": [8], "d_sched_steps": [8]},
            "perceptual_loss": {
                "vgg_type": "vgg11",
                "layer_weights": {"conv1_1": 1.0},
                "weights": str(vgg),
            },
        }


# --- The machines ---------------------------------------------------------------------------------


@dataclass
class Machine:
    """A simulated machine.

    Args:
        address: its address, which the other one can reach.
        enter: the command with which a program is run on it.
        interface: its network interface.
        namespace: its network namespace; empty on the loopback interface.
    """

    address: str
    interface: str = "lo"
    namespace: str = ""
    enter: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, words: Sequence[str], log: Path) -> None:
        """Start a program; its output is appended to a file."""
        env = os.environ | {
            "GLOO_SOCKET_IFNAME": self.interface,
            "OMP_NUM_THREADS": "1",
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # see docs/guides/cluster_training.md
        }
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [*self.enter, *words], stdout=file, stderr=subprocess.STDOUT, env=env
            )

    def kill(self) -> None:
        """Kill the program and all its children at once."""
        if self.process is None:
            return
        try:
            root = psutil.Process(self.process.pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            tree = []
        for process in tree:
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self.process.wait()

    def cut(self, *, up: bool) -> None:
        """Cut the network of a namespace (``up`` False), or connect it again."""
        state = "up" if up else "down"
        ip("-n", self.namespace, "link", "set", self.interface, state)


@contextmanager
def two_machines(loopback: bool) -> Iterator[list[Machine]]:
    """Two machines; what was set up for them is removed in the end."""
    if loopback or os.name != "posix" or os.geteuid() != 0 or shutil.which("ip") is None:
        print("two loopback addresses")
        yield [
            Machine("127.0.0.1"),
            Machine("127.0.0.2" if sys.platform == "linux" else "127.0.0.1"),
        ]
        return
    print("two network namespaces")
    names = [f"torchsr{os.getpid()}{letter}" for letter in "ab"]
    links = [f"tsr{os.getpid() % 10**6}{letter}" for letter in "ab"]
    machines = [
        Machine(f"10.213.77.{number}", link, name, ("ip", "netns", "exec", name))
        for number, (link, name) in enumerate(zip(links, names, strict=True), start=1)
    ]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", links[0], "netns", names[0], "type", "veth", "peer", "name", links[1],
           "netns", names[1])  # fmt: skip
        for machine in machines:
            address = f"{machine.address}/24"
            ip("-n", machine.namespace, "address", "add", address, "dev", machine.interface)
            for link in (machine.interface, "lo"):
                ip("-n", machine.namespace, "link", "set", link, "up")
        yield machines
    finally:
        for machine in machines:
            machine.kill()
        for name in names:
            ip("netns", "delete", name)


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run([str(shutil.which("ip")), *words], check=True)


# --- A training -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kill:
    """When a machine is killed.

    Args:
        line: number of lines in the log of the training.
        delay: seconds after this line.
        victim: the machine.
        cut: cut its network first.
    """

    line: int
    delay: float
    victim: int
    cut: bool


@dataclass
class Training:
    """A training on two machines, which start torchrun again as long as it fails."""

    data: Data
    out: Path
    machines: Sequence[Machine]
    shared: bool = True
    """Whether both machines have the same --out."""
    starts: int = 0

    def __post_init__(self) -> None:
        self._port = free_port()

    @property
    def metrics_file(self) -> Path:
        """The log of the first process, which runs on the first machine."""
        return self.out / "logs" / NAME / "metrics.jsonl"

    def run(self, kill: Kill | None = None) -> float:
        """Train to the end, though a machine may be killed; returns the seconds."""
        began = time.monotonic()
        while not self._finished():
            if time.monotonic() - began > SECONDS:
                raise SystemExit(f"not finished after {SECONDS} s, see {self.out}")
            self._start_missing()
            if kill is not None and self._lines() >= kill.line:
                time.sleep(kill.delay)
                self._kill(self.machines[kill.victim], kill.cut)
                kill = None
            time.sleep(0.02)
        for machine in self.machines:
            machine.process = None
        return time.monotonic() - began

    def _lines(self) -> int:
        return self.metrics_file.read_bytes().count(b"\n") if self.metrics_file.exists() else 0

    def _start_missing(self) -> None:
        for number, machine in enumerate(self.machines):
            if machine.process is None or machine.process.poll() not in (None, 0):
                machine.start(self._words(machine), self.out.with_suffix(f".{number}.log"))
                self.starts += 1

    def _finished(self) -> bool:
        return all(each.process is not None and each.process.poll() == 0 for each in self.machines)

    @staticmethod
    def _kill(machine: Machine, cut: bool) -> None:
        if cut:
            machine.cut(up=False)
        machine.kill()
        if cut:
            time.sleep(1)
            machine.cut(up=True)

    def _words(self, machine: Machine) -> list[str]:
        first = self.machines[0].address
        launcher = [
            "--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:{self._port}", "--rdzv-id", NAME,
            "--rdzv-conf", f"is_host={int(machine is self.machines[0])},keep_alive_interval=1",
            "--local-addr", machine.address, "--monitor-interval", "0.1",
        ]  # fmt: skip
        own = self.shared or machine is self.machines[0]
        out = self.out if own else self.out.with_name(f"{self.out.name}-second")
        train = [str(self.data.config(2)), *train_options(self.data, out), "--resume", "auto"]
        command = [sys.executable, "-m", "torch.distributed.run", *launcher]
        return [*command, "-m", "torch_sr", "train", *train]


def train_options(data: Data, out: Path) -> list[str]:
    """The options that all trainings have."""
    return [
        "--data-root", str(data.folder / "data"), "--out", str(out), "--name", NAME,
        "--device", "cpu", "--no-tensorboard",
    ]  # fmt: skip


def free_port() -> int:
    """A port that is free on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- The parts ------------------------------------------------------------------------------------


def equality(options: argparse.Namespace, folder: Path, machines: Sequence[Machine]) -> Any:
    """Compare two processes with one."""
    data = Data(folder)
    alone = [sys.executable, "-m", "torch_sr", "train", str(data.config(1))]
    subprocess.run(
        [*alone, *train_options(data, folder / "alone")],
        check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    seconds = Training(data, folder / "whole", machines).run()
    results: dict[str, Any] = {"steps of each stage": 2 * EPOCHS, "seconds": seconds}
    print_row("stage", "largest difference of a weight", "of a logged loss")
    print_row(*3 * ["---"])
    for stage in STAGES:
        weights = largest_weight_difference(folder / "alone", folder / "whole", stage)
        losses = largest_loss_difference(folder / "alone", folder / "whole", stage)
        results[stage] = {"weights": weights, "losses": losses}
        print_row(stage, f"{weights:.1e}", f"{losses:.1e}")
    return results


def kills(options: argparse.Namespace, folder: Path, machines: Sequence[Machine]) -> Any:
    """Kill a machine in each training, and compare the result with the undisturbed one."""
    data, whole = Data(folder), folder / "whole"
    if not (whole / "logs").exists():
        Training(data, whole, machines).run()
    random_numbers = random.Random(options.seed)
    lines = len(read_log(whole))
    header = "kill", "machine", "network", "--out", "at line", "starts", "time", "weights", "losses"
    print_row(*header)
    print_row(*("---" for _ in header))
    rows = []
    for number in range(options.kills):
        kill = Kill(
            line=random_numbers.randrange(lines - 1),
            delay=random_numbers.uniform(0, 0.3),
            victim=number % 2,
            cut=bool(machines[0].namespace) and number // 2 % 2 == 1,
        )
        training = Training(data, folder / f"kill-{number}", machines, number // 4 % 2 == 0)
        seconds = training.run(kill)
        weights = max(largest_weight_difference(whole, training.out, stage) for stage in STAGES)
        equal = weights == 0, last_losses(whole) == last_losses(training.out)
        print_row(
            number + 1,
            ("first", "second")[kill.victim],
            "cut" if kill.cut else "up",
            "shared" if training.shared else "own",
            kill.line,
            training.starts,
            f"{seconds:.0f} s",
            *("equal" if same else "DIFFERENT" for same in equal),
        )
        rows.append({**vars(kill), "shared": training.shared, "seconds": seconds, "equal": equal})
    print(
        f"{sum(all(row['equal']) for row in rows)} of {len(rows)} equal to the undisturbed training"
    )
    return rows


def print_row(*values: object) -> None:
    """Print a row of a table."""
    print("|", " | ".join(map(str, values)), "|", flush=True)


def largest_weight_difference(first: Path, second: Path, stage: str) -> float:
    """The largest difference of two models of a stage."""
    name = f"{NAME}_RRDB_{stage}_x2_model.safetensors"
    left, right = (load_file(out / "saved_models" / name) for out in (first, second))
    return max(float((left[key] - right[key]).abs().max()) for key in left)


def largest_loss_difference(first: Path, second: Path, stage: str) -> float:
    """The largest difference of the losses and metrics in two logs, for one stage."""
    left, right = last_losses(first), last_losses(second)
    name = "pretraining" if stage == "PSNR" else "training"
    return max(
        abs(value - right[key][metric])
        for key in left
        if key[0] == name
        for metric, value in left[key].items()
        if metric.endswith("_loss")
    )


def last_losses(out: Path) -> dict[tuple[str, int], dict[str, float]]:
    """The metrics of each stage and step; the last ones of a step that was repeated."""
    lines = (line for line in read_log(out) if "step" in line)
    return {(line["stage"], line["step"]): metrics_of(line) for line in lines}


def metrics_of(line: dict[str, Any]) -> dict[str, float]:
    """The losses and metrics in a line of a log."""
    return {key: value for key, value in line.items() if key.startswith(("train/", "val/"))}


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    text = (out / "logs" / NAME / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


PARTS = {"equality": equality, "kills": kills}

if __name__ == "__main__":
    main()
