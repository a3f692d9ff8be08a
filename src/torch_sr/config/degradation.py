"""The section ``degradation``: how LR is made from HR to resemble photographs.

Names and defaults are those of Real-ESRGAN (Wang et al. 2021, https://arxiv.org/abs/2107.10833):
two rounds of blur, resizing, noise and JPEG compression, and a final sinc filter. Every range is
``[lowest, highest]``, from which each crop's value is drawn uniformly.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from torch_sr.config.values import (
    Fault,
    KernelSize,
    LevelRange,
    NotNegativeRange,
    PositiveRange,
    Probability,
    QualityRange,
    ResizeProbabilities,
    ResizeRange,
    Section,
    Switch,
    check_sum,
    suggest,
)

KERNELS = {
    "iso": 0.45,
    "aniso": 0.25,
    "generalized_iso": 0.12,
    "generalized_aniso": 0.03,
    "plateau_iso": 0.12,
    "plateau_aniso": 0.03,
}
"""The known shapes of blur kernels, with Real-ESRGAN's probabilities."""


def _check_kernels(kernels: dict[str, float]) -> dict[str, float]:
    for name, probability in kernels.items():
        if name not in KERNELS:
            remedy = f"there is no such kernel, {suggest(name, list(KERNELS))}"
            raise Fault(remedy, (name,), probability)
    check_sum(kernels.values())
    return kernels


Kernels = Annotated[
    dict[str, Probability],
    Field(min_length=1, json_schema_extra={"propertyNames": {"enum": list(KERNELS)}}),
    AfterValidator(_check_kernels),
]


class BlurConfig(Section):
    """The blur of the first round: one filter, whose shape and width are drawn for each crop."""

    probability: Probability = 1.0
    """Share of the degraded crops that are blurred in this round."""
    kernel_size: KernelSize = 21
    """Side of the largest kernel in pixels, an odd number. Each crop's side is an odd number drawn
    from 7 to this one."""
    kernels: Kernels = KERNELS
    """Probability of each shape of kernel; they sum to 1, and shapes left out are not used. 'iso'
    and 'aniso' are Gaussian, round and elliptic; 'generalized_iso' and 'generalized_aniso' have
    sharper or flatter peaks, by betag; 'plateau_iso' and 'plateau_aniso' have a flat top, by
    betap."""
    sigma: PositiveRange = (0.2, 3.0)
    """Standard deviation of the kernel in pixels of the image that is blurred, along each axis."""
    betag: PositiveRange = (0.5, 4.0)
    """Exponent of the generalized Gaussian kernels; 1 is a Gaussian, more is flatter."""
    betap: PositiveRange = (1.0, 2.0)
    """Exponent of the plateau kernels; more is steeper."""
    sinc_probability: Probability = 0.1
    """Probability that the blur is a sinc filter in place of these kernels: an ideal low-pass that
    leaves ringing next to edges, as sharpening in cameras does."""


class SecondBlurConfig(BlurConfig):
    """The blur of the second round, which is weaker."""

    probability: Probability = 0.8
    """Share of the degraded crops that are blurred in this round."""
    sigma: PositiveRange = (0.2, 1.5)
    """Standard deviation of the kernel in pixels of the image that is blurred, along each axis."""


class RoundConfig(Section):
    """The first round: blur, resizing, noise, JPEG compression, in this order."""

    blur: BlurConfig = Field(default_factory=BlurConfig)
    """The blur, the first step of a round."""
    resize_probabilities: ResizeProbabilities = (0.2, 0.7, 0.1)
    """Probabilities of [enlarging, shrinking, keeping the size], which sum to 1."""
    resize_range: ResizeRange = (0.15, 1.5)
    """[smallest, largest] factor of the resizing: shrinking takes a factor from the smallest to 1,
    enlarging from 1 to the largest. Area, bilinear and bicubic interpolation are equally likely."""
    noise_probability: Probability = 1.0
    """Probability that noise is added."""
    gaussian_probability: Probability = 0.5
    """Probability that this noise is Gaussian; otherwise it is Poisson noise, which grows with
    brightness as in sensors."""
    gaussian_range: LevelRange = (1.0, 30.0)
    """Standard deviation of Gaussian noise, in levels of 0 to 255."""
    poisson_range: NotNegativeRange = (0.05, 3.0)
    """Factor of Poisson noise; with 1, each of the 255 levels is one photon."""
    gray_noise_probability: Probability = 0.4
    """Probability that noise is the same in all channels rather than independent in each."""
    jpeg_probability: Probability = 1.0
    """Probability of a JPEG compression."""
    jpeg_range: QualityRange = (30, 95)
    """Quality of the JPEG compression, whole numbers from 1 (worst) to 100."""


class SecondRoundConfig(RoundConfig):
    """The second round, as when an image is edited and shared again; it ends at LR's size."""

    probability: Probability = 1.0
    """Share of the degraded crops that pass through a second round. The others are only shrunk to
    LR's size after the first."""
    blur: SecondBlurConfig = Field(default_factory=SecondBlurConfig)
    """The blur, the first step of a round."""
    resize_probabilities: ResizeProbabilities = (0.3, 0.4, 0.3)
    """Probabilities of [enlarging, shrinking, keeping the size], which sum to 1."""
    resize_range: ResizeRange = (0.3, 1.2)
    """[smallest, largest] factor of the resizing, relative to LR's size."""
    gaussian_range: LevelRange = (1.0, 25.0)
    """Standard deviation of Gaussian noise, in levels of 0 to 255."""
    poisson_range: NotNegativeRange = (0.05, 2.5)
    """Factor of Poisson noise; with 1, each of the 255 levels is one photon."""


class DegradationConfig(Section):
    """How LR is made from HR to resemble photographs. Not in enhanced-srgan's table."""

    probability: Probability = 0.0
    """Share of the crops whose LR is made by these degradations rather than by bicubic shrinking;
    0 switches them off. Images with their own LR keep it, unless the name of its folder says that
    it is bicubic, such as DIV2K_train_LR_bicubic."""
    first: RoundConfig = Field(default_factory=RoundConfig)
    """The first round, on the high-resolution crop."""
    second: SecondRoundConfig = Field(default_factory=SecondRoundConfig)
    """The second round, which ends at LR's size."""
    final_sinc_probability: Probability = 0.8
    """Probability of a sinc filter at the end, equally often before and after the last JPEG
    compression. The size of its kernel is drawn as in the second round."""
    sharpen_targets: Switch = False
    """Sharpen HR by an unsharp mask (weight 0.5, radius 50, threshold 10), as Real-ESRGAN does for
    its content and perceptual losses, for crisper results. LR is made from the sharpened HR."""
