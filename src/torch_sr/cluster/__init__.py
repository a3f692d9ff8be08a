"""START HERE: super-resolve more images than one machine can, with Ray.

The sources are listed as a stream; Ray Data hands them to actors, each of which holds the model; an
actor computes an image as ``torch-sr upscale`` does, and writes the result whole or not at all.

::

    places.py    files and folders, by paths and URLs: list, read, write
    folders.py   walk through folders
    stores.py    object stores and other file systems behind URLs
    listing.py   sources -> items to process, grouped into tasks
    workers.py   the actor that computes items
    ledger.py    what was started and finished, so that nothing is done twice or retried forever
    connection.py  connect to Ray
    run.py       the pipeline: items -> outcomes
    settings.py  workers, and what each of them gets
"""
