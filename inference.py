"""Super-resolve images with an ESRGAN model: see --help."""

from torch_sr.cli.scripts import inference_main

if __name__ == "__main__":
    inference_main()
