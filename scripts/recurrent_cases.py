"""Writes what tests/recurrent.rs compares with: PyTorch's nn.LSTM and nn.Conv1d on a few rows.

    python3 -m venv venv && venv/bin/pip install torch==2.11.0 numpy
    venv/bin/python scripts/recurrent_cases.py tests/fixtures/recurrent_cases.json

Each case holds the rows' lengths, the module's weights, an input, what comes out, the gradient that is
sent back, and those of the input and of every weight. Tensors are {"size", "values"}.
"""

import json
import sys

import torch
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

LSTMS = [([4, 1, 7, 2], 3, 5), ([3, 6, 1], 2, 9)]  # lengths, input, width
CONVOLUTIONS = [([4, 1, 7, 2], 3, 5, 3), ([3, 6, 1], 2, 9, 2)]  # and window


def tensor(x):
    return {"size": list(x.shape), "values": [float(f"{v:.9g}") for v in x.detach().flatten()]}


def case(lengths, x, weights, out):
    sent = torch.randn_like(out)
    gradients = torch.autograd.grad(out, [x, *weights], sent)
    return {
        "lengths": lengths,
        "x": tensor(x),
        "weights": [tensor(w) for w in weights],
        "out": tensor(out),
        "sent": tensor(sent),
        "gradients": [tensor(g) for g in gradients],
    }


def lstms():
    for lengths, width_in, width in LSTMS:
        module = torch.nn.LSTM(width_in, width, bidirectional=True)
        for reverse in (False, True):
            x = torch.randn(sum(lengths), width_in, requires_grad=True)
            states, _ = module(pack_sequence(x.split(lengths), enforce_sorted=False))
            both = torch.cat(unpack_sequence(states))
            names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
            weights = [getattr(module, n + "_l0" + "_reverse" * reverse) for n in names]
            yield {"reverse": reverse, **case(lengths, x, weights, both.split(width, 1)[reverse])}


def convolutions():
    for lengths, width_in, filters, window in CONVOLUTIONS:
        module = torch.nn.Conv1d(width_in, filters, window)
        x = torch.randn(sum(lengths), width_in, requires_grad=True)
        rows = []
        for row in x.split(lengths):
            missing = max(window - len(row), 0)
            row = torch.nn.functional.pad(row, (0, 0, 0, missing))
            rows.append(torch.relu(module(row.t())).amax(1))
        yield case(lengths, x, [module.weight, module.bias], torch.stack(rows))


def main():
    torch.manual_seed(1)
    cases = {"torch": torch.__version__, "lstm": list(lstms()), "conv_max": list(convolutions())}
    with open(sys.argv[1], "w") as out:
        json.dump(cases, out)


if __name__ == "__main__":
    main()
