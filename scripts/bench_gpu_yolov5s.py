"""A detector of the architecture of YOLOv5s v6, written out for bench_gpu_models.py; 7.2 million parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvUnit(nn.Sequential):
    """Conv, BatchNorm, SiLU."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> None:
        conv = nn.Conv2d(before, after, kernel, stride, kernel // 2 if padding is None else padding, bias=False)
        super().__init__(conv, nn.BatchNorm2d(after, eps=1e-3, momentum=0.03), nn.SiLU())


class Bottleneck(nn.Module):
    """A 1×1 and a 3×3 unit, with or without a skip."""

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.units = nn.Sequential(ConvUnit(width, width), ConvUnit(width, width, 3))
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        return x + self.units(x) if self.skip else self.units(x)


class C3(nn.Module):
    """Two branches, one through bottlenecks, concatenated."""

    def __init__(self, before: int, after: int, count: int, skip: bool = True) -> None:
        super().__init__()
        half = after // 2
        self.deep = nn.Sequential(ConvUnit(before, half), *(Bottleneck(half, skip) for _ in range(count)))
        self.shallow = ConvUnit(before, half)
        self.joined = ConvUnit(2 * half, after)

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) to (N, after, H, W)."""
        return self.joined(torch.cat((self.deep(x), self.shallow(x)), 1))


class SPPF(nn.Module):
    """Three 5×5 max pools in a row, all concatenated."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before, self.after = ConvUnit(width, width // 2), ConvUnit(2 * width, width)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to the same."""
        levels = [self.before(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        return self.after(torch.cat(levels, 1))


class Detector(nn.Module):
    """YOLOv5s v6 (depth 0.33, width 0.5, 80 classes) up to the raw maps of its three heads: no decoding, no NMS."""

    def __init__(self) -> None:
        super().__init__()
        self.to_8 = nn.Sequential(
            ConvUnit(3, 32, 6, 2, 2), ConvUnit(32, 64, 3, 2), C3(64, 64, 1), ConvUnit(64, 128, 3, 2), C3(128, 128, 2)
        )
        self.to_16 = nn.Sequential(ConvUnit(128, 256, 3, 2), C3(256, 256, 3))
        self.to_32 = nn.Sequential(ConvUnit(256, 512, 3, 2), C3(512, 512, 1), SPPF(512))
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.lateral_32, self.lateral_16 = ConvUnit(512, 256), ConvUnit(256, 128)
        self.join_16, self.join_8 = C3(512, 256, 1, skip=False), C3(256, 128, 1, skip=False)
        self.down_16, self.down_32 = ConvUnit(128, 128, 3, 2), ConvUnit(256, 256, 3, 2)
        self.out_16, self.out_32 = C3(256, 256, 1, skip=False), C3(512, 512, 1, skip=False)
        self.heads = nn.ModuleList(nn.Conv2d(width, 3 * (80 + 5), 1) for width in (128, 256, 512))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to three maps (N, 255, H/8, W/8), …/16, …/32."""
        at_8 = self.to_8(x)
        at_16 = self.to_16(at_8)
        top = self.lateral_32(self.to_32(at_16))
        middle = self.lateral_16(self.join_16(torch.cat((self.up(top), at_16), 1)))
        first = self.join_8(torch.cat((self.up(middle), at_8), 1))
        second = self.out_16(torch.cat((self.down_16(first), middle), 1))
        third = self.out_32(torch.cat((self.down_32(second), top), 1))
        return tuple(head(level) for head, level in zip(self.heads, (first, second, third), strict=True))
