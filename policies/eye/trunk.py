"""A camera's image to features of its places: convolutions down to a twelfth of the cells and back.

Shapes: B images, SIDE = 192 px, CELLS = 48 cells of 4 px a side, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE, CELLS = 192, 48
HALF, PATCH = SIDE // 2, 12  # pixels two by two side by side as channels


def as_patches(images: Tensor) -> Tensor:
    """uint8 (B, SIDE, SIDE, 3) -> float32 (B, PATCH, HALF, HALF) of -1..1, laid out as convolutions are fastest."""
    parts = images.reshape(-1, HALF, 2, HALF, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(-1, HALF, HALF, PATCH)
    return parts.contiguous().permute(0, 3, 1, 2).float() / 127.5 - 1.0


def as_rgb(images: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) of -1..1."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def cut_out_offsets(samples: int, span: float) -> Tensor:
    """Return (samples, samples, 2), x and y from the middle of a cut-out `span` px wide, in units of the side."""
    along = ((torch.arange(samples) + 0.5) / samples - 0.5) * span / SIDE
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution with norm and nonlinearity."""
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """A convolution beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = convolve(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


class Trunk(nn.Module):
    """Patches to features (B, C, CELLS, CELLS) and a summary (B, widths[-1])."""

    def __init__(self, widths: tuple[int, ...], features: int):
        """widths: of the maps of 48, 24, 12 and 6 cells a side. features: C."""
        super().__init__()
        a, b, c, d = widths
        self.down48 = convolve(PATCH, a, 2)
        self.down24 = convolve(a, b, 2)
        self.down12 = nn.Sequential(convolve(b, c, 2), Residual(c), Residual(c))
        self.down6 = nn.Sequential(convolve(c, d, 2), Residual(d), Residual(d))
        self.up12, self.up24, self.up48 = nn.Conv2d(d, c, 1), nn.Conv2d(c, b, 1), nn.Conv2d(b, a, 1)
        self.merge24, self.merge48 = Residual(b), Residual(a)
        self.features = nn.Conv2d(a, features, 1)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        at48 = self.down48(patches)
        at24 = self.down24(at48)
        at12 = self.down12(at24)
        at6 = self.down6(at12)
        at12 = at12 + _twice(self.up12(at6))
        at24 = self.merge24(at24 + _twice(self.up24(at12)))
        at48 = self.merge48(at48 + _twice(self.up48(at24)))
        return self.features(at48), at6.mean((2, 3))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0)


def cell_centres(device: torch.device | None = None) -> Tensor:
    """Return (CELLS * CELLS, 2) x and y of each cell's middle, row by row, in units of the image's side."""
    middle = (torch.arange(CELLS, device=device) + 0.5) / CELLS
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)
