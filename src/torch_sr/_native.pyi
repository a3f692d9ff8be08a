# The compiled module of the native engine; see src/native/module.cpp.

from collections.abc import Sequence

from torch_sr.aliases import Floats

def instruction_sets() -> list[str]: ...

class NativeNetwork:
    @staticmethod
    def rrdb_net(
        weights: Sequence[Floats],
        biases: Sequence[Floats],
        *,
        rrdb_channels: int,
        growth_channels: int,
        num_basic_blocks: int,
        num_dense_blocks: int,
        num_residual_blocks: int,
        residual_scaling: float,
        use_subpixel_conv: bool,
        upscaling_steps: Sequence[int],
        threads: int,
        instruction_set: str = "",
    ) -> NativeNetwork: ...
    @staticmethod
    def compact_net(
        weights: Sequence[Floats],
        biases: Sequence[Floats],
        slopes: Sequence[Floats],
        *,
        scale_factor: int,
        threads: int,
        instruction_set: str = "",
    ) -> NativeNetwork: ...
    def __call__(self, images: Floats) -> Floats: ...
    @property
    def instruction_set(self) -> str: ...
    @property
    def threads(self) -> int: ...
