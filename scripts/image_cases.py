"""Writes what tests/images.rs compares with: torchvision's DenseNet-121 and its transforms.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 torchvision==0.26.0 numpy pillow
    venv/bin/python scripts/image_cases.py tests/fixtures/image_cases.json

Weights, inputs and pictures are `chance`'s numbers on both sides, so that none is kept but a JPEG,
`waves.jpeg` beside the JSON. Of the outputs
every eighth feature is kept, of gradients and running statistics, in float64, the length and a product
with `chance`'s numbers.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2 as transforms

ROWS, SIZE = 4, 96


def chance(number, *shape):
    """Numbers in [0, 1) that hang on `number` and their place alone."""
    at = np.arange(np.prod(shape, dtype=np.int64), dtype=np.float64)
    x = np.sin(at * 12.9898 + number * 78.233) * 43758.5453
    return (x - np.floor(x)).reshape(shape)


def around(number, middle, reach, *shape):
    return torch.tensor(middle + reach * (2 * chance(number, *shape) - 1), dtype=torch.float32)


def fill(network):
    """The tensors in the order of their names; without the classifier."""
    named = {n: t for n, t in network.state_dict().items() if n.startswith("features.")}
    named = {n: t for n, t in named.items() if not n.endswith("num_batches_tracked")}
    for number, name in enumerate(sorted(named)):
        tensor = named[name]
        if tensor.dim() == 4:
            fan_in = tensor[0].numel()
            value = around(number, 0, (6 / fan_in) ** 0.5, *tensor.shape)
        elif name.endswith("running_var"):
            value = around(number, 1, 0.5, *tensor.shape)
        elif name.endswith("weight"):
            value = around(number, 1, 0.2, *tensor.shape)
        else:
            value = around(number, 0, 0.1, *tensor.shape)
        tensor.copy_(value)
    return sorted(named)


def rounded(values):
    return [float(f"{v:.8g}") for v in np.asarray(values, dtype=np.float64).flatten()]


def summary(number, tensor):
    flat = tensor.detach().double().flatten().numpy()
    return rounded([np.linalg.norm(flat), flat @ (2 * chance(number, len(flat)) - 1)])


def features(network, x):
    maps = torch.relu(network.features(x))
    return torch.flatten(torch.nn.functional.adaptive_avg_pool2d(maps, 1), 1)


def densenet():
    network = torchvision.models.densenet121()
    with torch.no_grad():
        names = fill(network)
        x = around(1000, 0, 2, ROWS, 3, SIZE, SIZE)
        network.eval()
        evaluated = features(network, x)
    network.train()
    out = features(network, x)
    # In float64: in float32 the order of sums decides which ReLUs are open.
    precise = torchvision.models.densenet121()
    with torch.no_grad():
        fill(precise)
    precise.double().train()
    exact = features(precise, x.double())
    (exact * around(1001, 0, 1, *exact.shape)).sum().backward()
    state, trained = precise.state_dict(), dict(precise.named_parameters())
    return {
        "rows": ROWS,
        "size": SIZE,
        "evaluated": rounded(evaluated[:, ::8]),
        "trained": rounded(out.detach()[:, ::8]),
        "tensors": [
            {"name": n, "value": summary(k, trained[n].grad if n in trained else state[n])}
            for k, n in enumerate(names)
        ],
    }


def smooth(width, height, colours):
    """Waves over a picture, in [0, 1)."""
    y, x, c = np.mgrid[0:height, 0:width, 0:colours]
    return 0.5 + 0.49 * np.sin(x * 0.05 + c) * np.cos(y * 0.07 - c)


def evaluated(image, size):
    """As torchvision's weights ask: 256 and 224, or other sizes in that proportion."""
    steps = [
        transforms.Resize(round(size * 8 / 7), antialias=True),
        transforms.CenterCrop(size),
    ]
    if isinstance(image, Image.Image):
        steps += [transforms.PILToTensor(), transforms.ToDtype(torch.float32, scale=True)]
    else:
        steps += [transforms.Lambda(lambda x: x.expand(3, -1, -1))]
    steps += [transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    return rounded(transforms.Compose(steps)(image)[:, ::5, ::5])


def pictures():
    """Of each picture its size, the square that it is brought to, and every fifth pixel of each fifth
    row of that."""
    for kind, width, height, size in [
        ("grey", 301, 200, 96),
        ("grey", 80, 111, 96),
        ("colour", 200, 301, 64),
        ("grey16", 180, 150, 64),
        ("jpeg", 160, 120, 64),
    ]:
        case = {"kind": kind, "width": width, "height": height, "size": size}
        if kind == "grey16":
            deep = np.floor(chance(7, height, width) * 3e4 + smooth(width, height, 1)[..., 0] * 3e4)
            image = torch.tensor(deep / 65535, dtype=torch.float32)[None]
        elif kind == "jpeg":
            file = io.BytesIO()
            levels = (smooth(width, height, 3) * 256).astype(np.uint8)
            Image.fromarray(levels).save(file, "JPEG", quality=92)
            Path(sys.argv[1]).with_name("waves.jpeg").write_bytes(file.getvalue())
            image = Image.open(file).convert("RGB")
        else:
            colours = 1 if kind == "grey" else 3
            levels = np.floor(chance(5, height, width, colours) * 256).astype(np.uint8)
            image = Image.fromarray(levels.squeeze()).convert("RGB")
        yield {**case, "pixels": evaluated(image, size)}


def main():
    torch.set_num_threads(2)
    cases = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "densenet": densenet(),
        "pictures": list(pictures()),
    }
    with open(sys.argv[1], "w") as out:
        json.dump(cases, out)


if __name__ == "__main__":
    main()
