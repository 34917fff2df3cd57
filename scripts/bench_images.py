"""Times training DenseNet-121 on X-ray-shaped pictures: covalign beside torchvision.

Makes grey PNGs of 1024 × 1024 pixels, then trains on them in turns: `covalign bench`, and PyTorch with
torchvision's network, its transforms, a DataLoader with workers and a fused AdamW, in contiguous and in
channels-last memory. Both cut and mirror at random and take batches of as many images at 224 × 224
pixels on as many threads. Prints each turn's images per second, and the medians.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 torchvision==0.26.0 numpy pillow
    venv/bin/python scripts/bench_images.py --turns 3
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIDE, SIZE, BATCH = 1024, 224, 16
CONFIG = """
encoder: {{kind: densenet121, weights: none}}
data: {folder}
tasks: [{folder}/Rays.yaml]
method: single
training: {{batch_size: {batch}, epochs: 1000, threads: {threads}, device: cpu, learning_rate: 1e-4}}
"""
TASK = """
labels: [a, b]
metrics: [accuracy]
layout: {format: csv, image: image, label: label, images: images}
files: {train: rows.csv, dev: rows.csv}
"""


def make(folder, count):
    """Smooth bodies with some grain, which PNG packs to about half of their bytes."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    (folder / "images").mkdir()
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    rows = ["image,label"]
    for number in range(count):
        a, b, c = chance.uniform(2, 6, 3)
        picture = 128 + 60 * np.sin(a * x + b) * np.cos(b * y) + 30 * np.sin(c * 4 * x * y)
        picture += chance.normal(0, 3, picture.shape)
        file = f"{number:04}.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "images" / file)
        rows.append(f"{file},{'ab'[number % 2]}")
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    (folder / "Rays.yaml").write_text(TASK)


def torchvisions(folder, steps, threads, channels_last):
    """Images per second, after two steps of warm-up."""
    import torch
    from PIL import Image
    from torchvision import models, transforms

    torch.set_num_threads(threads)
    steps_of_training = transforms.Compose([
        transforms.RandomResizedCrop(SIZE),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    files = sorted((folder / "images").iterdir())

    class Rays(torch.utils.data.Dataset):
        def __len__(self):
            return (steps + 2) * BATCH

        def __getitem__(self, at):
            image = Image.open(files[at % len(files)]).convert("RGB")
            return steps_of_training(image), at % 2

    form = torch.channels_last if channels_last else torch.contiguous_format
    model = models.densenet121(num_classes=2).to(memory_format=form)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    loader = torch.utils.data.DataLoader(Rays(), BATCH, num_workers=threads)
    for step, (images, labels) in enumerate(loader):
        if step == 2:
            start = time.perf_counter()
        out = model(images.to(memory_format=form))
        torch.nn.functional.cross_entropy(out, labels).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return steps * BATCH / (time.perf_counter() - start)


def covaligns(folder, steps, threads):
    config = folder / "bench.yaml"
    config.write_text(CONFIG.format(folder=folder, batch=BATCH, threads=threads))
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/covalign"
    command = [binary, "bench", config, "--steps", str(steps), "--json"]
    costs = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return costs["rows"] / costs["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "FORM"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        folder, form = args.one
        last = form == "channels_last"
        print(torchvisions(Path(folder), args.steps, args.threads, last))
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), args.images)
        speeds = {"covalign": [], "torchvision": [], "torchvision, channels_last": []}
        for turn in range(args.turns):
            speeds["covalign"].append(covaligns(Path(folder), args.steps, args.threads))
            for form in ("contiguous", "channels_last"):
                own = ["--one", folder, form, "--steps", args.steps, "--threads", args.threads]
                command = [sys.executable, __file__, *map(str, own)]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                name = "torchvision" + ", channels_last" * (form == "channels_last")
                speeds[name].append(float(out))
            shown = ", ".join(f"{name} {all[-1]:.2f}" for name, all in speeds.items())
            print(f"turn {turn + 1}, images/s: {shown}; load {os.getloadavg()[0]:.1f}", flush=True)
    medians = {name: round(statistics.median(all), 3) for name, all in speeds.items()}
    best = max(medians["torchvision"], medians["torchvision, channels_last"])
    print(json.dumps({
        "images_per_second": medians,
        "time_beside_torchvision": round(medians["torchvision"] / medians["covalign"], 3),
        "time_beside_its_best": round(best / medians["covalign"], 3),
    }))


if __name__ == "__main__":
    main()
