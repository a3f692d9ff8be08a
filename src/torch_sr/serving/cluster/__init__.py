"""Compute the tasks of a service on a Ray cluster.

The API, the page, the queue and the jobs stay in one process. A task is sent to one of the replicas
of a Ray Serve deployment, which computes it as a device of this machine would. If the replica ends
before the result is complete, another one computes the task.

::

    messages.py   what is sent to a replica, and what it answers
    replica.py    a process of the cluster that computes tasks
    computer.py   sends tasks to replicas, again if one ends
    deploy.py     start and stop the replicas with Ray Serve
    ingress.py    everything as an application of Ray Serve
"""
