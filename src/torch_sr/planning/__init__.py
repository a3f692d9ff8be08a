"""What a large job will cost: hours, devices, network, requests, storage and money.

::

    constants.json  speeds, sizes, limits and prices, each with its source and date
    constants.py    read them, and files that replace some of them
    workload.py     the images, the network and the devices
    costs.py        constants and a workload -> a plan
    limits.py       what a large job reaches first, and at which figure
    measure.py      measure constants on this machine
    plot.py         hours and price over the number of devices

Nothing here starts anything on a cluster, and nothing prints.
"""

from __future__ import annotations

from torch_sr.planning.constants import Constant, Constants, read_constants
from torch_sr.planning.costs import Plan, make_plan
from torch_sr.planning.workload import NetworkCost, Workload

__all__ = [
    "Constant",
    "Constants",
    "NetworkCost",
    "Plan",
    "Workload",
    "make_plan",
    "read_constants",
]
