"""Train on two machines: equal to one process, and what is left after one of them dies.

The two machines are simulated on this one. As root on Linux they are two network namespaces, joined
by a pair of virtual interfaces; otherwise, two loopback addresses. Each runs torchrun with one
process on the CPU (gloo), and starts it again if it ends with an error, as Kubernetes and Slurm do.

    equality  both stages with two processes, and with one process and the doubled batch
    kills     at seeded times, all processes of a machine are killed (SIGKILL); as root, for every
              second kill its network is cut first, so that the other machine is not notified

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
    parser.add_argument("--kills", type=int, default=10)
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
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # see docs/cluster_training.md
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


@dataclass
class Training:
    """A training on two machines, which start torchrun again as long as it fails."""

    data: Data
    out: Path
    machines: Sequence[Machine]
    port: int
    starts: int = 0

    @property
    def metrics_file(self) -> Path:
        """The log of the first process."""
        return self.out / "logs" / NAME / "metrics.jsonl"

    def run(
        self, after: int | None = None, delay: float = 0, victim: int = 0, cut: bool = False
    ) -> float:
        """Train to the end; returns the seconds.

        Args:
            after: number of lines in the log after which a machine is killed; None kills none.
            delay: seconds between that line and the kill.
            victim: the machine that is killed.
            cut: cut its network first.
        """
        began = time.monotonic()
        while not self._finished():
            if time.monotonic() - began > SECONDS:
                raise SystemExit(f"not finished after {SECONDS} s, see {self.out}")
            self._start_missing()
            if after is not None and self._lines() >= after:
                time.sleep(delay)
                self._kill(self.machines[victim], cut)
                after = None
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
            "--rdzv-backend", "c10d", "--rdzv-endpoint", f"{first}:{self.port}", "--rdzv-id", NAME,
            "--rdzv-conf", f"is_host={int(machine is self.machines[0])},keep_alive_interval=1",
            "--local-addr", machine.address, "--monitor-interval", "0.1",
        ]  # fmt: skip
        train = [str(self.data.config(2)), *train_options(self.data, self.out), "--resume", "auto"]
        return [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *launcher,
            "-m",
            "torch_sr",
            "train",
            *train,
        ]


def train_options(data: Data, out: Path) -> list[str]:
    """The options that all trainings have."""
    root = str(data.folder / "data")
    return [
        "--data-root",
        root,
        "--out",
        str(out),
        "--name",
        NAME,
        "--device",
        "cpu",
        "--no-tensorboard",
    ]


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
    seconds = Training(data, folder / "whole", machines, free_port()).run()
    results: dict[str, Any] = {"steps of each stage": 2 * EPOCHS, "seconds": seconds}
    print("| stage | largest difference of a weight | of a logged loss |\n|---|---|---|")
    for stage in STAGES:
        weights = largest_weight_difference(folder / "alone", folder / "whole", stage)
        losses = largest_loss_difference(folder / "alone", folder / "whole", stage)
        results[stage] = {"weights": weights, "losses": losses}
        print(f"| {stage} | {weights:.1e} | {losses:.1e} |", flush=True)
    return results


def kills(options: argparse.Namespace, folder: Path, machines: Sequence[Machine]) -> Any:
    """Kill a machine in each training, and compare the result with the undisturbed one."""
    data, whole = Data(folder), folder / "whole"
    if not (whole / "logs").exists():
        Training(data, whole, machines, free_port()).run()
    random_numbers = random.Random(options.seed)
    lines = len(read_log(whole))
    rows = []
    print(
        "| kill | machine | network | after line | starts of torchrun | time | weights | losses |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for number in range(options.kills):
        after, delay = random_numbers.randrange(lines - 1), random_numbers.uniform(0, 0.3)
        victim, cut = number % 2, bool(machines[0].namespace) and number // 2 % 2 == 1
        training = Training(data, folder / f"kill-{number}", machines, free_port())
        seconds = training.run(after, delay, victim, cut)
        row = {
            "machine": victim,
            "cut": cut,
            "after": after,
            "starts": training.starts,
            "seconds": round(seconds, 1),
            "weights": all(
                largest_weight_difference(whole, training.out, stage) == 0 for stage in STAGES
            ),
            "losses": last_losses(whole) == last_losses(training.out),
        }
        rows.append(row)
        shown = [number + 1, "first" if victim == 0 else "second", "cut" if cut else "up", after]
        shown += [
            training.starts,
            f"{seconds:.0f} s",
            *("equal" if row[key] else "DIFFERENT" for key in ("weights", "losses")),
        ]
        print("|", " | ".join(map(str, shown)), "|", flush=True)
    equal = sum(row["weights"] and row["losses"] for row in rows)
    print(f"{equal} of {len(rows)} equal to the undisturbed training, bit for bit")
    return rows


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
