"""``python -m torch_sr`` is ``torch-sr``; torchrun needs this form."""

from torch_sr.cli.main import program

program()
