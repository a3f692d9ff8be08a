"""Train an ESRGAN generator: see --help."""

from torch_sr.cli.scripts import train_main

if __name__ == "__main__":
    train_main()
