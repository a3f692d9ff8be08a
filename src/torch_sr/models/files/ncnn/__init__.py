"""Model files of ncnn, as Real-ESRGAN-ncnn-vulkan and Upscayl use them.

A model is two files: ``.param``, the graph as text (:mod:`~torch_sr.models.files.ncnn.graph`), and
``.bin``, the numbers in the order of its layers (:mod:`~torch_sr.models.files.ncnn.weights`).
Reading turns the graph into expressions (:mod:`~torch_sr.models.files.ncnn.expressions`) and
matches these with the two networks that are supported, RRDBNet and SRVGGNetCompact
(:mod:`~torch_sr.models.files.ncnn.matching`); the names of layers and blobs do not matter.

Source: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""
