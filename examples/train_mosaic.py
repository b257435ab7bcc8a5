"""Trains `mosaic.pth`: a plain TransformerNet (8/16/32, 5 blocks) that paints what a teacher network paints.

The teacher is an ONNX file of a style-transfer network (convolution, instance norm, ReLU, upsampling).
`mosaic.pth` was made with `mosaic_final.onnx` of cj-mills/End-to-End-In-Game-Style-Transfer-Tutorial-Intel
(MIT). The student starts from random numbers and gets no weight of it: it sees pictures, what the teacher
paints of them, and during the first half of the training what five of the teacher's layers give.

Images are float32 tensors (N, 3, H, W), RGB, 0..255, for both networks, in and out; both outputs go beyond
0..255 and are clamped by whoever shows them. H and W are multiples of 4.

    python examples/train_mosaic.py --teacher mosaic_final.onnx --images PHOTOS \
        --holdout examples/picture.jpg --steps 4500 --out mosaic.pth

The command that made `mosaic.pth` is in README.md beside this file.
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.architectures import build

SUFFIXES = {".png", ".jpg", ".jpeg"}
UNIT = 64.0
"""Grey levels per unit of the student's last layer while it trains; folded into the saved weights."""
MIDDLE = 127.5
"""Grey level of the last layer's zero while it trains; folded in likewise."""
PIXELS_PER_STEP = 5 * 160 * 160
CROP_SIDES = (128, 160, 192, 224)


def build_student(widths: tuple[int, int, int], blocks: int) -> nn.Module:
    """A randomly initialised TransformerNet with the key layout of pytorch/examples fast_neural_style."""
    return build("fast-neural-style", {"widths": list(widths), "blocks": blocks}).train()


class Teacher:
    """An ONNX network run by PyTorch, so that its inner features can be used, and differentiated, in a loss.

    Knows the operators of the opset 9 exports of TransformerNet and its variants, nothing else.
    """

    def __init__(self, path: Path) -> None:
        graph = onnx.load(str(path)).graph
        self.nodes = list(graph.node)
        self.weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.input = next(i.name for i in graph.input if i.name not in self.weights)
        self.output = graph.output[0].name
        relus = [n.output[0] for n in self.nodes if n.op_type == "Relu"]
        upsampled = [n.input[0] for n in self.nodes if n.op_type == "Upsample"]
        last_pad = [n.input[0] for n in self.nodes if n.op_type == "Pad"][-1]
        self.encoder = relus[:3]
        """Names of the features after conv1 (H x W), conv2 (H/2 x W/2) and conv3 (H/4 x W/4)."""
        self.decoder = [upsampled[-1], last_pad]
        """Names of the features after deconv1 (H/2 x W/2) and deconv2 (H x W), skips included."""

    def __call__(self, images: Tensor, wanted: list[str] | None = None) -> dict[str, Tensor]:
        """Images (N, 3, H, W) 0..255 to the tensors named in `wanted` (the output where none are)."""
        wanted = wanted or [self.output]
        missing = set(wanted)
        values = dict(self.weights)
        values[self.input] = images
        for node in self.nodes:
            values[node.output[0]] = self._run(node, [values[name] for name in node.input])
            missing.discard(node.output[0])
            if not missing:
                break
        return {name: values[name] for name in wanted}

    @staticmethod
    def _run(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        match node.op_type:
            case "Pad":
                _, _, top, left, _, _, bottom, right = attributes["pads"]
                return F.pad(inputs[0], (left, right, top, bottom), mode=attributes["mode"].decode())
            case "Conv":
                return F.conv2d(*inputs, stride=attributes["strides"])
            case "InstanceNormalization":
                return F.instance_norm(inputs[0], weight=inputs[1], bias=inputs[2], eps=attributes["epsilon"])
            case "Relu":
                return F.relu(inputs[0])
            case "Add":
                return inputs[0] + inputs[1]
            case "Upsample":
                return F.interpolate(inputs[0], scale_factor=inputs[1][2:].tolist(), mode="nearest")
        raise ValueError(f"The teacher contains {node.op_type}, which this script does not know.")


class Crops:
    """Endless random training crops from few pictures.

    Takes the pictures of the given folders, each folder in alphabetical order, and single files, except those
    whose file name is in `excluded` and those with a side below 128 pixels. Grey pictures are taken less
    often.
    """

    def __init__(self, sources: list[Path], excluded: set[str], rng: np.random.Generator) -> None:
        self.rng = rng
        paths = [
            p for s in sources for p in ([s] if s.is_file() else sorted(s.rglob("*"))) if p.suffix in SUFFIXES
        ]
        self.names: list[str] = []
        self.images: list[Image.Image] = []
        weights = []
        for path in paths:
            if path.name in excluded:
                continue
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            if min(image.size) < 128:
                continue
            levels = np.asarray(image, np.int16)
            grey = np.abs(levels[..., 0] - levels[..., 2]).mean() < 1
            self.names.append(path.name)
            self.images.append(image)
            weights.append(0.3 if grey else 1.0)
        if not self.images:
            raise SystemExit("No training images of at least 128 pixels were found.")
        self.chances = np.array(weights) / sum(weights)

    def batch(self, count: int, side: int) -> Tensor:
        """`count` crops as a tensor (count, 3, side, side), 0..255."""
        crops = np.stack([self._crop(side) for _ in range(count)])
        return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()

    def _crop(self, side: int) -> np.ndarray:
        rng = self.rng
        kind = rng.random()
        if kind < 0.04:
            crop = self._shapes(side)
        else:
            crop = self._photograph(side)
            if kind < 0.16:
                crop = Image.blend(crop, self._photograph(side), float(rng.uniform(0.1, 0.9)))
            elif kind < 0.28:
                other, cut = self._photograph(side), int(rng.uniform(0.2, 0.8) * side)
                crop.paste(other.crop((0, 0, cut, side)), (0, 0))
        return self._recolour(crop)

    def _photograph(self, side: int) -> Image.Image:
        """A square of a random picture, shrunk or enlarged by 0.4 to 2.5, turned and flipped."""
        rng = self.rng
        image = self.images[rng.choice(len(self.images), p=self.chances)]
        taken = min(side / math.exp(rng.uniform(math.log(0.4), math.log(2.5))), *image.size)
        left, top = rng.uniform(0, image.width - taken), rng.uniform(0, image.height - taken)
        filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
        crop = image.resize((side, side), filters[rng.integers(3)], box=(left, top, left + taken, top + taken))
        if rng.random() < 0.5:
            crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        turn = rng.integers(4)
        return crop if turn == 0 else crop.transpose(Image.Transpose(int(turn) + 1))  # ROTATE_90, _180, _270

    def _shapes(self, side: int) -> Image.Image:
        """Smooth colours with a few flat polygons and lines."""
        rng = self.rng
        colours = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        crop = Image.fromarray(colours).resize((side, side), Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(crop)
        for _ in range(rng.integers(1, 8)):
            points = [tuple(p) for p in rng.uniform(-0.2 * side, 1.2 * side, (3, 2)).tolist()]
            colour = tuple(rng.integers(0, 256, 3).tolist())
            if rng.random() < 0.5:
                draw.polygon(points, fill=colour)
            else:
                draw.line(points, fill=colour, width=int(rng.integers(1, 9)))
        return crop

    def _recolour(self, crop: Image.Image) -> np.ndarray:
        """Random blur or JPEG traces, saturation, gains, gamma and noise: (side, side, 3) float32 0..255."""
        rng = self.rng
        if rng.random() < 0.1:
            crop = crop.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 2.0))))
        if rng.random() < 0.15:
            buffer = io.BytesIO()
            crop.save(buffer, "JPEG", quality=int(rng.integers(60, 96)))
            crop = Image.open(buffer).convert("RGB")
        if rng.random() < 0.5:
            crop = ImageEnhance.Color(crop).enhance(float(rng.uniform(0.2, 1.8)))
        pixels = np.asarray(crop, np.float32) / 255
        if rng.random() < 0.3:
            pixels = pixels[..., rng.permutation(3)]
        if rng.random() < 0.05:
            pixels = 1 - pixels
        if rng.random() < 0.6:
            gains = rng.uniform(0.6, 1.25) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
            pixels = np.clip(pixels * gains, 0, 1) ** np.float32(rng.uniform(0.6, 1.7))
        if rng.random() < 0.15:
            pixels = pixels + rng.normal(0, rng.uniform(0.002, 0.02), pixels.shape).astype(np.float32)
        return np.round(np.clip(pixels, 0, 1) * 255).astype(np.float32)


def leaky_clamp(images: Tensor) -> Tensor:
    """Clamps to 0..255 and keeps a twentieth of what goes beyond, so that gradients find their way back."""
    clamped = images.clamp(0, 255)
    return clamped + 0.05 * (images - clamped)


def charbonnier(difference: Tensor) -> Tensor:
    """A smooth absolute value, averaged; in units of UNIT grey levels."""
    return torch.sqrt(difference.square() + 1e-4).mean()


def picture_loss(painted: Tensor, target: Tensor) -> Tensor:
    """Difference of colours at four scales and of their gradients: images (N, 3, H, W) 0..255 to a scalar."""
    difference = (painted - target) / UNIT
    loss = charbonnier(difference)
    loss = loss + charbonnier(difference[..., 1:] - difference[..., :-1])
    loss = loss + charbonnier(difference[..., 1:, :] - difference[..., :-1, :])
    for weight in (0.7, 0.7, 0.5):
        difference = F.avg_pool2d(difference, 2)
        loss = loss + weight * charbonnier(difference)
    return loss


def gram(features: Tensor) -> Tensor:
    """Features (N, C, H, W) to their Gram matrices (N, C, C), averaged over the pixels."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def texture_loss(teacher: Teacher, painted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """How differently the teacher's first layers see two pictures: (of features, of their Gram matrices)."""
    seen = teacher(painted, teacher.encoder)
    with torch.no_grad():
        wanted = teacher(target, teacher.encoder)
    features, grams = painted.new_zeros(()), painted.new_zeros(())
    for name in teacher.encoder:
        ours, theirs = seen[name].float(), wanted[name].float()
        features = features + (ours - theirs).abs().mean() / (theirs.std() + 1e-3)
        goal = gram(theirs)
        grams = grams + (gram(ours) - goal).abs().mean() / goal.abs().mean()
    return features, grams


class Hints:
    """Compares what the student's normalisation layers give with the teacher's features of the same shape."""

    LAYERS = ("in1", "in2", "in3", "in4", "in5")

    def __init__(self, student: nn.Module, teacher: Teacher) -> None:
        self.names = [*teacher.encoder, *teacher.decoder]
        self.seen: dict[str, Tensor] = {}
        for layer in self.LAYERS:
            student.get_submodule(layer).register_forward_hook(self._keep(layer))

    def _keep(self, layer: str):
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.seen[layer] = output

        return hook

    def loss(self, wanted: dict[str, Tensor]) -> Tensor:
        losses = []
        for layer, name in zip(self.LAYERS, self.names, strict=True):
            goal = wanted[name].float()
            spread = goal.std((0, 2, 3), keepdim=True) + 0.05
            losses.append(((F.relu(self.seen[layer].float()) - goal) / spread).abs().mean())
        return torch.stack(losses).mean()


def paint(student: nn.Module, images: Tensor) -> Tensor:
    """The student while it trains: images (N, 3, H, W) 0..255 to float32 images of about 0..255."""
    return student(images).float() * UNIT + MIDDLE


def folded(weights: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The weights with UNIT and MIDDLE folded into the last layer: these paint 0..255 by themselves."""
    result = OrderedDict((key, value.detach().clone().float().contiguous()) for key, value in weights.items())
    result["deconv3.conv2d.weight"] *= UNIT
    result["deconv3.conv2d.bias"] = result["deconv3.conv2d.bias"] * UNIT + MIDDLE
    return result


def load_picture(path: Path) -> Tensor:
    """A picture as (1, 3, H, W), 0..255, cut to multiples of 4."""
    with Image.open(path) as opened:
        pixels = np.asarray(opened.convert("RGB"), np.float32)
    height, width = (s - s % 4 for s in pixels.shape[:2])
    return torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None]


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of two images 0..255, in dB."""
    return 10 * math.log10(255**2 / float((a - b).square().mean()))


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity of the luma of two images (1, 3, H, W) 0..255: Gaussian window 11, sigma 1.5."""
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    x, y = (a * luma).sum(1, keepdim=True), (b * luma).sum(1, keepdim=True)
    bell = torch.exp(-((torch.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    window = (bell[:, None] * bell / bell.sum() ** 2)[None, None]
    mx, my, xx, yy, xy = (F.conv2d(v, window) for v in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    vx, vy, cov = xx - mx * mx, yy - my * my, xy - mx * my
    return float((((2 * mx * my + c1) * (2 * cov + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean())


@torch.no_grad()
def measure(
    student: nn.Module, pairs: dict[str, tuple[Tensor, Tensor]]
) -> Iterator[tuple[str, float, float, Tensor]]:
    """Name, PSNR (dB), SSIM and painting (1, 3, H, W) of each (picture, target), 0..255."""
    for name, (picture, target) in pairs.items():
        painted = student(picture).clamp(0, 255)
        yield name, psnr(painted, target), ssim(painted, target), painted


def save_picture(image: Tensor, path: Path) -> None:
    """Writes an image (1, 3, H, W) 0..255."""
    Image.fromarray(image[0].round().byte().permute(1, 2, 0).contiguous().numpy()).save(path)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rises linearly over 3 % of the steps, then falls along a cosine to a hundredth."""
    rise = max(1, round(0.03 * steps))
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, required=True, help="ONNX file, RGB 0..255 in and out")
    parser.add_argument(
        "--images", type=Path, action="append", required=True, help="folder or picture; repeatable"
    )
    parser.add_argument("--exclude", action="append", default=[], help="file name never trained on; repeatable")
    parser.add_argument("--holdout", type=Path, action="append", default=[], help="picture to measure; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="state dict to write (.pth)")
    parser.add_argument("--previews", type=Path, help="folder for the paintings of the hold-outs")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this time, finished or not")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=4e-3, help="highest learning rate of Adam")
    parser.add_argument("--features", type=float, default=0.3, help="weight of the feature difference")
    parser.add_argument("--gram", type=float, default=0.1, help="weight of the Gram difference")
    parser.add_argument("--hints", type=float, default=1.0, help="weight of the inner hints at the start")
    parser.add_argument("--hints-until", type=float, default=0.5, help="part of the steps with hints")
    parser.add_argument("--full-from", type=float, default=0.85, help="part of the steps in bfloat16")
    parser.add_argument("--widths", type=int, nargs=3, default=(8, 16, 32))
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--every", type=int, default=250, help="steps between measurements and saved files")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    teacher = Teacher(options.teacher)
    crops = Crops(options.images, {*options.exclude, *(p.name for p in options.holdout)}, rng)
    print(f"{len(crops.images)} training pictures: {', '.join(crops.names)}", flush=True)
    pairs = {}
    with torch.no_grad():
        for path in options.holdout:
            picture = load_picture(path)
            pairs[path.stem] = (picture, teacher(picture)[teacher.output].clamp(0, 255))

    student = build_student(tuple(options.widths), options.blocks)
    shown = build_student(tuple(options.widths), options.blocks).eval()
    hints = Hints(student, teacher)
    average = {key: value.detach().clone() for key, value in student.state_dict().items()}
    optimiser = torch.optim.Adam(student.parameters(), lr=options.rate, betas=(0.9, 0.99))
    started = time.monotonic()
    losses: list[float] = []

    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, options.steps, options.rate)
        side = int(rng.choice(CROP_SIDES))
        images = crops.batch(PIXELS_PER_STEP // side**2, side)
        hint = options.hints * max(0.0, 1 - step / (options.hints_until * options.steps))
        half = step < options.full_from * options.steps
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            with torch.no_grad():
                wanted = teacher(images, [*(hints.names if hint else ()), teacher.output])
                target = wanted[teacher.output].float().clamp(0, 255)
            painted = leaky_clamp(paint(student, images))
            some = max(1, len(images) // 2)
            features, grams = texture_loss(teacher, painted[:some], target[:some])
        loss = picture_loss(painted, target)
        loss = loss + options.features * features + options.gram * grams
        if hint:
            loss = loss + hint * hints.loss(wanted)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimiser.step()
        losses.append(float((painted.detach() - target).abs().mean()))
        keep = min(0.998, (step + 1) / (step + 20))
        with torch.no_grad():
            for key, value in student.state_dict().items():
                average[key].lerp_(value, 1 - keep)

        minutes = (time.monotonic() - started) / 60
        last = step + 1 == options.steps or minutes >= options.minutes
        if last or (step + 1) % options.every == 0:
            weights = folded(average)
            shown.load_state_dict(weights)
            scores = []
            for name, decibels, similarity, painting in measure(shown, pairs):
                scores.append(f"{name} {decibels:.2f} dB, SSIM {similarity:.3f}")
                if options.previews:
                    options.previews.mkdir(parents=True, exist_ok=True)
                    save_picture(painting, options.previews / f"{name}.png")
            torch.save(weights, options.out)
            recent = sum(losses[-options.every :]) / len(losses[-options.every :])
            print(
                f"step {step + 1}, {minutes:.1f} min: {recent:.1f} of 255 from the teacher on crops; "
                f"{'; '.join(scores)}; features {features.item():.2f}, grams {grams.item():.2f}",
                flush=True,
            )
        if last:
            break


if __name__ == "__main__":
    main()
