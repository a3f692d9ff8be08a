"""Measure an ESRGAN model on benchmarks: see --help."""

from torch_sr.cli.scripts import test_main

if __name__ == "__main__":
    test_main()
