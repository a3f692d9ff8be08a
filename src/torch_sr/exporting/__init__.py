"""Write models for other programs, and compare what was written with PyTorch.

::

    export.py       export: a model -> a file that was checked
    formats.py      the formats, their suffixes and files
    portable.py     a network without branches, which can be traced for images of any size
    records.py      what is written about a model next to its network
    onnx.py         ONNX, through PyTorch's exporter
    torchscript.py  TorchScript
    openvino.py     OpenVINO's intermediate representation
    ncnn.py         ncnn
    check.py        the difference from PyTorch on a photograph, and what is tolerated
"""
