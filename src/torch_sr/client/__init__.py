"""A client of ``torch-sr serve``: upscale images on another machine.

::

    client.py      Client: what a service can be asked for
    jobs.py        RemoteJob: wait for a job, and get its result
    transport.py   requests, their repetition, and errors
    files.py       what is sent, and where results are written
"""

from torch_sr.client.client import Client as Client
from torch_sr.client.jobs import RemoteJob as RemoteJob
