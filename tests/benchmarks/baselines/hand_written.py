"""What one device can do for K networks, written by hand: peers and floors of the figures `gpu-…`.

    python hand_written.py mlp graph 1/1,256/256 300
    python hand_written.py resnet18 graph 1/1 50 --precision bf16 --channels-last

NETWORK: mlp (784-64-32-10, batches of 10, Adam), cnn (channels 32 and 64, 128 hidden units) or
resnet18 (first convolution 3×3), both on 32×32 images in batches of 128 with momentum.
WAY: plain (a loop as PyTorch has it, one network after another), stack (all networks at once, from
Python), graph (the same as a CUDA graph; of plain for resnet18), compiled-update and compiled (the
same with torch.compile, mlp only), products (matrix products and convolutions alone, as a graph).
SHAPES: members/seeds; members with one seed see the same examples.

Random data; times are of whole steps of all members, gathering included. Prints a line of JSON: the
device, and the milliseconds of each shape. On a CPU nothing is recorded nor compiled, which tests
the script and no more.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Step = Callable[[], object]

SIZES, MLP_BATCH = [784, 64, 32, 10], 10
SIDE, CLASSES, FEATURES = 32, 10, 64 * 8 * 8
WARM_UP = 5


class Options(argparse.Namespace):
    """What is asked for."""

    network: str
    way: str
    shapes: str
    steps: int
    dropout: float
    precision: str
    channels_last: bool
    device: str
    examples: int
    batch: int

    @property
    def on_gpu(self) -> bool:
        """Whether steps can be recorded."""
        return self.device == "cuda"

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device, torch.bfloat16, enabled=enabled, cache_enabled=False)

    def laid_out(self, images: Tensor) -> Tensor:
        """Images, or weights of convolutions, in the layout that is asked for."""
        if self.channels_last:
            return images.contiguous(memory_format=torch.channels_last)
        return images


class Epoch:
    """Data in memory, and the orders of all seeds; the position lies on the device, too."""

    def __init__(self, options: Options, seeds: int, batch: int, shape: Sequence[int]) -> None:
        device, count = options.device, options.examples
        self.x = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, device=device)
        self.y = torch.randint(0, CLASSES, (count,), device=device)
        orders = [torch.randperm(count, device=device) for _ in range(seeds)]
        self.order, self.position = torch.stack(orders), torch.zeros((), dtype=torch.int64)
        self.position = self.position.to(device)
        self.range, self.seeds, self.batch = torch.arange(batch, device=device), seeds, batch

    def __call__(self) -> tuple[Tensor, Tensor]:
        """The next examples, (seeds, batch, …); the epoch begins anew where it is over."""
        start = self.position % (self.order.shape[1] // self.batch) * self.batch
        index = self.order.index_select(1, start + self.range).flatten()
        shape = self.seeds, self.batch
        x = self.x.index_select(0, index).view(*shape, *self.x.shape[1:]).float() / 255
        self.position += 1
        return x, self.y.index_select(0, index).view(shape)


class StackedMLP:
    """K networks with a leading axis, and Adam by hand."""

    def __init__(self, options: Options, members: int, seeds: int) -> None:
        self.members, self.dropout = members, options.dropout
        self.data = Epoch(options, seeds, MLP_BATCH, SIZES[:1])
        device = options.device
        self.weights = [
            (torch.randn(members, o, i, device=device) / i**0.5).requires_grad_()
            for i, o in pairwise(SIZES)
        ]
        self.biases = [
            torch.zeros(members, o, device=device, requires_grad=True) for o in SIZES[1:]
        ]
        self.parameters = self.weights + self.biases
        self.means, self.squares = ([torch.zeros_like(p) for p in self.parameters] for _ in "mv")
        self.lr = torch.full((members,), 1e-4, device=device)
        self.time = torch.zeros((), device=device)
        self.losses: Callable[[], Tensor] = self._losses
        self.update: Callable[[Sequence[Tensor]], None] = self._update
        backend = "inductor" if options.on_gpu else "eager"
        if options.way.startswith("compiled"):
            self.update = torch.compile(self._update, dynamic=False, backend=backend)
        if options.way == "compiled":
            self.losses = torch.compile(self._losses, dynamic=False, backend=backend)

    def _losses(self) -> Tensor:
        x, y = self.data()
        share = self.members // self.data.seeds
        h = x.mT
        last = len(self.weights) - 1
        for number, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            if number == 0:  # members with one seed share the product
                h = torch.baddbmm(b.view(len(x), -1, 1), w.view(len(x), -1, w.shape[2]), h)
                h = h.view(self.members, -1, MLP_BATCH)
            else:
                h = torch.baddbmm(b.unsqueeze(-1), w, h)
            if number < last:
                h = F.dropout(F.relu(h), self.dropout)
        picked = F.log_softmax(h, 1).gather(1, y.repeat_interleave(share, 0).unsqueeze(1))
        return -picked.squeeze(1).mean(1).sum()

    def _update(self, gradients: Sequence[Tensor]) -> None:
        first, second = 1 - 0.9**self.time, (1 - 0.999**self.time).sqrt()
        rate, eps = -(self.lr * second / first), 1e-8 * second
        slots = zip(self.parameters, gradients, self.means, self.squares, strict=True)
        for p, g, mean, square in slots:
            mean.add_((g - mean) * 0.1)
            square.add_((g * g - square) * 0.001)
            p.detach().add_(rate.view(-1, *[1] * (p.dim() - 1)) * mean / (square.sqrt() + eps))

    def __call__(self) -> None:
        """Take a step."""
        gradients = torch.autograd.grad(self.losses(), self.parameters)
        with torch.no_grad():
            self.time += 1
            self.update(gradients)


class StackedCNN:
    """K small convolutional networks as grouped convolutions, with momentum by hand."""

    def __init__(self, options: Options, members: int, seeds: int) -> None:
        self.options, self.members = options, members
        self.data = Epoch(options, seeds, options.batch, (3, SIDE, SIDE))
        shapes = [(members * 32, 3, 3, 3), (members * 64, 32, 3, 3)]
        shapes += [(members, 128, FEATURES), (members, CLASSES, 128)]
        self.weights = [(torch.randn(s, device=options.device) * 0.05) for s in shapes]
        for weight in self.weights:
            weight.requires_grad_()
        self.momenta = [torch.zeros_like(weight) for weight in self.weights]

    def _losses(self) -> Tensor:
        x, y = self.data()
        share, first = self.members // len(x), len(x)
        h = self.options.laid_out(x.transpose(0, 1).flatten(1, 2))  # members are groups of channels
        a, b, c, d = self.weights
        with self.options.autocast():
            h = F.max_pool2d(F.relu(F.conv2d(h, a, padding=1, groups=first)), 2)
            h = F.max_pool2d(F.relu(F.conv2d(h, b, padding=1, groups=self.members)), 2)
            h = h.reshape(y.shape[1], self.members, -1).transpose(0, 1)
            h = torch.bmm(F.relu(torch.bmm(h, c.mT)), d.mT)
        targets = y.repeat_interleave(share, 0).flatten()
        return F.cross_entropy(h.float().flatten(0, 1), targets, reduction="sum") / y.shape[1]

    def __call__(self) -> None:
        """Take a step."""
        gradients = torch.autograd.grad(self._losses(), self.weights)
        with torch.no_grad():
            torch._foreach_mul_(self.momenta, 0.9)
            torch._foreach_add_(self.momenta, list(gradients))
            torch._foreach_add_(self.weights, self.momenta, alpha=-0.01)


class Plain:
    """One network, as PyTorch has it."""

    def __init__(self, options: Options) -> None:
        mlp = options.network == "mlp"
        self.options = options
        shape, batch = (SIZES[:1], MLP_BATCH) if mlp else ([3, SIDE, SIDE], options.batch)
        self.data = Epoch(options, 1, batch, shape)
        self.module = build(options).to(options.device)
        if options.channels_last:
            self.module = self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = self.module.parameters()
        graph = options.way == "graph"
        self.optimizer: torch.optim.Optimizer
        if mlp:
            self.optimizer = torch.optim.Adam(parameters, 1e-4, capturable=graph and options.on_gpu)
        else:
            self.optimizer = torch.optim.SGD(parameters, 0.01, momentum=0.9)

    def __call__(self) -> None:
        """Take a step."""
        x, y = self.data()
        inputs = self.options.laid_out(x[0]) if x.dim() == 5 else x[0]
        with self.options.autocast():
            outputs = self.module(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(outputs.float(), y[0]).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def build(options: Options) -> nn.Module:
    """One network."""
    if options.network == "mlp":
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(SIZES):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(options.dropout)]
        return nn.Sequential(*layers[:-2])
    if options.network == "cnn":
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, CLASSES),
        )  # fmt: skip
    from torchvision.models import resnet18

    module: nn.Module = resnet18(num_classes=CLASSES)
    module.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    module.maxpool = nn.Identity()
    return module


class Products:
    """The matrix products and convolutions of a step, and nothing else."""

    def __init__(self, options: Options, members: int, seeds: int) -> None:
        self.work: list[Step] = []
        seen: list[tuple[nn.Module, Tensor, Tensor]] = []
        module = build(options).to(options.device)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.register_forward_hook(lambda m, x, y: seen.append((m, x[0], y)))
        mlp = options.network == "mlp"
        shape = [MLP_BATCH, SIZES[0]] if mlp else [options.batch, 3, SIDE, SIDE]
        with torch.no_grad():
            module(torch.randn(shape, device=options.device))
        dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
        for number, (layer, x, y) in enumerate(seen):
            groups = members if number else seeds
            wide = members // groups
            x, y = x.to(dtype), y.to(dtype)
            weight = layer.get_parameter("weight").detach().to(dtype)
            if isinstance(layer, nn.Conv2d):
                weight = options.laid_out(weight.repeat(members, 1, 1, 1))
                self._convolve(options, layer, x, y, weight, groups, wide, first=number == 0)
            else:
                w = weight.repeat(wide, 1).expand(groups, -1, -1).contiguous()
                h = x.expand(groups, -1, -1).contiguous()
                dy = y.repeat(1, wide).expand(groups, -1, -1).mT.contiguous()
                self._multiply(w, h, dy, first=number == 0)

    def _multiply(self, w: Tensor, h: Tensor, dy: Tensor, *, first: bool) -> None:
        self.work += [lambda: torch.bmm(w, h.mT), lambda: torch.bmm(dy, h)]
        if not first:
            self.work.append(lambda: torch.bmm(w.mT, dy))

    def _convolve(
        self, options: Options, layer: nn.Conv2d, x: Tensor, y: Tensor, weight: Tensor,
        groups: int, wide: int, *, first: bool,
    ) -> None:  # fmt: skip
        images = options.laid_out(x.repeat(1, groups, 1, 1))
        dy = options.laid_out(y.repeat(1, groups * wide, 1, 1))
        how = [list(layer.stride), list(map(int, layer.padding)), list(layer.dilation)]
        rest = [False, [0, 0], groups]
        forward, backward = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
        wanted = [not first, True, False]
        self.work += [
            lambda: forward(images, weight, None, *how, *rest),
            lambda: backward(dy, images, weight, None, *how, *rest, wanted),
        ]

    @torch.no_grad()
    def __call__(self) -> None:
        """Compute them."""
        for each in self.work:
            each()


def graphed(step: Step) -> Step:
    """A step as one CUDA graph."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def milliseconds(step: Step, options: Options) -> float:
    """The mean time of a step."""
    for _ in range(WARM_UP):
        step()
    _wait(options)
    started = time.perf_counter()
    for _ in range(options.steps):
        step()
    _wait(options)
    return 1000 * (time.perf_counter() - started) / options.steps


def _wait(options: Options) -> None:
    if options.on_gpu:
        torch.cuda.synchronize()


def measure(options: Options, members: int, seeds: int) -> float:
    """Milliseconds of one step of all members."""
    alone = options.way == "plain" or (options.network == "resnet18" and options.way != "products")
    step: Step
    if alone:
        step = Plain(options)
    elif options.way == "products":
        step = Products(options, members, seeds)
    else:
        step = (StackedMLP if options.network == "mlp" else StackedCNN)(options, members, seeds)
    if options.on_gpu and options.way not in ("plain", "stack"):
        step = graphed(step)
    return milliseconds(step, options) * (members if alone else 1)


def main() -> None:
    """Measure the shapes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=["mlp", "cnn", "resnet18"])
    ways = ["plain", "stack", "graph", "compiled-update", "compiled", "products"]
    parser.add_argument("way", choices=ways)
    parser.add_argument("shapes")
    parser.add_argument("steps", type=int)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args(namespace=Options())
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = options.precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = options.precision == "tf32"
    found = {}
    for shape in options.shapes.split(","):
        members, _, seeds = shape.partition("/")
        found[shape] = measure(options, int(members), int(seeds))
    name = torch.cuda.get_device_name() if options.on_gpu else platform.machine()
    print(json.dumps({"device": name, "milliseconds": found}))


if __name__ == "__main__":
    main()
