"""Makes a safetensors file of weights that PyTorch has saved, such as torchvision's or CheXNet's.

    python3 -m venv venv && venv/bin/pip install torch safetensors
    venv/bin/python scripts/to_safetensors.py densenet121-a639ec97.pth densenet121.safetensors

Takes what lies under `state_dict` where a file has that beside other things. Runs no code from the file.
"""

import sys

import torch
from safetensors.torch import save_file


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    held = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
    held = held.get("state_dict", held)
    tensors = {name: t.contiguous() for name, t in held.items() if isinstance(t, torch.Tensor)}
    if not tensors:
        sys.exit(f"{sys.argv[1]}: holds no tensors by name")
    save_file(tensors, sys.argv[2], metadata={"format": "pt"})
    print(f"{sys.argv[2]}: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
