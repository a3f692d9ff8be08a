"""Interpolate a PSNR-driven and a GAN-driven network: see --help."""

from torch_sr.cli.scripts import net_interpolation_main

if __name__ == "__main__":
    net_interpolation_main()
