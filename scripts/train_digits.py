"""Make the embedded demo of quantkit: quantkit/demo/digits.npz and quantkit/demo/digits.onnx.

For developers only; users get both files with the package. It needs torch==2.13.0 and
scikit-learn, with onnx, numpy and Pillow, and quantkit itself importable (pip install -e .):

    python scripts/train_digits.py

The data are the 1797 handwritten digits (8x8) that scikit-learn carries, split by a fixed
seed and by digit: 600 images held out for evaluation, 1197 for training, and 200 of the
training images once more for calibration. The split is by image, not by writer. The held-out
images take no part in training: the number of epochs is fixed, the last weights are kept.

The model is a residual CNN on 64x64 RGB images in quantkit's default preprocessing. Its
BatchNorms are folded into the convolutions before the export.

The run is deterministic on one machine and takes about five minutes on two cores; another CPU
may round differently and give slightly different weights.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from quantkit.demo.digits import IMAGE_SIZE, upscale

SEED = 20240
THREADS = 2
EVAL, TRAIN, CALIB_PER_CLASS = slice(60), slice(60, None), 20  # of the images of one class
BATCH = 64
PEAK_LR = 4e-3
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
OUT = Path(__file__).resolve().parents[1] / "quantkit" / "demo"


class Block(nn.Module):
    """Two 3x3 convolutions and a residual add; a 1x1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.proj: nn.Conv2d | None = None
        self.bnp: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.proj = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.bnp = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.relu1(self.bn1(self.conv1(x)))
        skip = x if self.proj is None else self.bnp(self.proj(x))
        out: Tensor = self.relu2(self.bn2(self.conv2(y)) + skip)
        return out


class DigitNet(nn.Module):
    """A stride-2 stem, a 48-channel stage at 32x32, a 64-channel stage at 16x16, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 48, 3, 2, 1, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(48)
        self.relu = nn.ReLU()
        self.stage1 = nn.Sequential(Block(48, 48, 1), Block(48, 48, 1), Block(48, 48, 1))
        self.stage2 = nn.Sequential(Block(48, 64, 2), Block(64, 64, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, 10)."""
        x = self.stage2(self.stage1(self.relu(self.bn(self.stem(x)))))
        logits: Tensor = self.fc(torch.flatten(self.pool(x), 1))
        return logits


def fold_batchnorm(model: DigitNet) -> None:
    """Fold every BatchNorm into the convolution before it, in place."""
    model.eval()
    for module in model.modules():
        for conv, bn in (("stem", "bn"), ("conv1", "bn1"), ("conv2", "bn2"), ("proj", "bnp")):
            if isinstance(getattr(module, bn, None), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, bn)))
                setattr(module, bn, nn.Identity())


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of the training, calibration and evaluation images."""
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(labels))
    classes = [order[labels[order] == digit] for digit in range(10)]
    held_out, train = (np.concatenate([c[part] for c in classes]) for part in (EVAL, TRAIN))
    calib = np.concatenate([c[TRAIN][:CALIB_PER_CLASS] for c in classes])
    return rng.permutation(train), rng.permutation(calib), rng.permutation(held_out)


def to_grey(images: np.ndarray) -> Tensor:
    """Upscale 8x8 images to one greyscale tensor (n, 1, 64, 64) in 0..1."""
    pixels = np.stack([np.asarray(upscale(image)) for image in images])
    return torch.from_numpy(pixels).float().div(255).unsqueeze(1)


def preprocess(grey: Tensor) -> Tensor:
    """Apply quantkit's default preprocessing to greyscale images in 0..1."""
    return (grey.expand(-1, 3, -1, -1) - MEAN) / STD


def augment(grey: Tensor) -> Tensor:
    """Rotate, scale and shift a little, change the contrast and add noise."""
    n = len(grey)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n) * (high - low) + low

    angle, scale = uniform(-0.21, 0.21), uniform(0.9, 1.1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    x, y = uniform(-0.12, 0.12), uniform(-0.12, 0.12)
    theta = torch.stack([cos, -sin, x, sin, cos, y], dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(grey.shape), align_corners=False)
    grey = F.grid_sample(grey, grid, align_corners=False) * uniform(0.7, 1.15).view(n, 1, 1, 1)
    noise = torch.randn_like(grey) * uniform(0.0, 0.06).view(n, 1, 1, 1)
    return (grey + noise).clamp(0.0, 1.0)


def train_model(model: DigitNet, grey: Tensor, labels: Tensor, epochs: int) -> None:
    """Train in place: AdamW, one learning-rate cycle, light label smoothing."""
    steps = len(grey) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LR, epochs * steps)
    for epoch in range(epochs):
        model.train()
        for pick in torch.randperm(len(grey))[: steps * BATCH].view(steps, BATCH):
            logits = model(preprocess(augment(grey[pick])))
            loss = F.cross_entropy(logits, labels[pick], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}/{epochs}: loss {loss.item():.4f}", flush=True)


@torch.no_grad()
def accuracy(model: DigitNet, grey: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is the label's."""
    return float((model(preprocess(grey)).argmax(1) == labels).float().mean())


def export(model: DigitNet, path: Path) -> None:
    """Write the model as ONNX with a dynamic batch; this exporter gives the readable names."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE),),
        str(path),
        opset_version=17,
        dynamo=False,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    )


def main() -> None:
    """Write the split, train the model, write it and print its accuracy."""
    parser = argparse.ArgumentParser(description="Make quantkit/demo/digits.npz and digits.onnx.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.uint8)
    train, calib, held_out = split(labels)
    parts, stored = {"calib": calib, "eval": held_out}, {"images": images, "labels": labels}
    arrays = {f"{name}_{kind}": array[part] for kind, array in stored.items() for name, part in parts.items()}
    np.savez_compressed(args.out / "digits.npz", **arrays)
    grey, targets = to_grey(images), torch.from_numpy(labels.astype(np.int64))
    model = DigitNet()
    train_model(model, grey[train], targets[train], args.epochs)
    fold_batchnorm(model)
    export(model, args.out / "digits.onnx")
    print(f"parameters: {sum(p.numel() for p in model.parameters())}")
    for name, part in {"training": train, **parts}.items():
        print(f"{name}: top-1 {100 * accuracy(model, grey[part], targets[part]):.2f} % of {len(part)} images")


if __name__ == "__main__":
    main()
