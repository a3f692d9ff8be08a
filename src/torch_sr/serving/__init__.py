"""START HERE: a service that upscales images: a page and an HTTP API over one queue.

A request becomes a task: its file gets a folder, it waits in one bounded queue, and a thread
computes it with the :class:`~torch_sr.Upscaler` that ``torch-sr upscale`` uses.

::

    service.py    what the API and the page talk to: submit, follow, cancel
    settings.py   models, devices and limits
    requests.py   what a client may ask for
    errors.py     why a request is refused or failed, as a problem document (RFC 9457)
    offers.py     the models that are offered, and their loaded upscalers
    uploads.py    names of uploaded files, and the checks before a task is accepted
    intake.py     make a task of an upload and a request
    tasks.py      tasks and the bounded queue
    workers.py    threads that have tasks computed
    computing.py  what computes a task: a device of this machine, or something else
    batching.py   equal tiles of several tasks in one call
    folders.py    uploads, and the files of tasks and jobs
    jobs.py       tasks that are stored
    store.py      accepted jobs in SQLite, which survive a restart
    metrics.py    figures for Prometheus
    api/          the HTTP API
    page/         the page
    server.py     uvicorn, signals and a graceful stop
    connections.py  end connections that stall
"""
