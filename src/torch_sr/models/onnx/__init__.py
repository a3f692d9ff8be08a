"""ONNX files as models.

::

    session.py  ONNX Runtime: devices, loading a file, running a batch
    network.py  what an engine has to know of a network; the network as a module of PyTorch
    reading.py  a file -> a network and its records
"""
