"""Makes the described PyTorch models that the tests convert, with PyTorch itself (any version from 1.13 on;
these are of 1.13.1, and 2.15.0 makes the same):

PYTHONPATH=.:tests python tests/model/make_pytorch_files.py tests/model/pytorch
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from model.pytorch_forms import FORMS
from processor.model.convert.pytorch.export import export_pytorch


class Newest(nn.Module):
    """What people write: a recurrent layer, and a head on its newest output."""

    def __init__(self, memory: Any, head: Any, batch_first: bool) -> None:
        super().__init__()
        self.memory, self.head, self.batch_first = memory, head, batch_first

    def forward(self, x: Any, state: Any = None) -> Any:
        out, state = self.memory(x, state)
        return self.head(out[:, -1] if self.batch_first else out[-1]), state


class Begun(nn.Module):
    """States made of zeros by hand, and the last layer's own state for the head."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, num_layers=2, dropout=0.2)
        self.head = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3), nn.Softmax(dim=-1))

    def forward(self, x: Any) -> Any:
        h0 = torch.zeros(2, x.size(1), 4).to(x.device)
        _, h = self.gru(x, h0)
        return self.head(h[-1])


class Bands(nn.Module):
    """One LSTM for parallel streams, each with a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Any) -> Any:
        parts = []
        for band in range(3):
            out, _state = self.shared(x[:, band])
            parts.append(out)
        return torch.cat(parts, dim=-1)


class Words(nn.Module):
    """Tokens, and a mean over time beside a relu RNN."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.rnn = nn.RNN(4, 3, nonlinearity="relu", batch_first=True)
        self.out = nn.Linear(7, 2)

    def forward(self, tokens: Any) -> Any:
        x = self.embedding(tokens)
        out, _ = self.rnn(x)
        return {"mean": self.out(torch.cat([out[:, -1, :], x.mean(dim=1)], 1)), "each": torch.tanh(out) * 2 + 1}


def models() -> dict[str, tuple[Any, Any]]:
    """Name -> the model, and the arguments of its export."""
    head = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.3), nn.Linear(4, 1), nn.Sigmoid())
    flat = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Flatten(), nn.Linear(28, 1))
    return {
        "lstm": (Newest(nn.LSTM(3, 5, num_layers=2, batch_first=True), head, True), {}),
        "gru": (Begun(), {}),
        "bands": (Bands(), {"shape": (3, None, 4)}),
        "words": (Words(), {}),
        "both_ways": (
            Newest(nn.LSTM(3, 2, num_layers=2, bidirectional=True, bias=False), nn.Linear(4, 2), False),
            {},
        ),
        "bare": (nn.GRU(3, 4, batch_first=True), {}),
        "flat": (flat, {"shape": (7, 3)}),
    } | {name: (form(), options) for name, (form, options) in FORMS.items()}


def main(directory: Path) -> None:
    """Writes them all, the same every time."""
    for name, (model, options) in models().items():
        torch.manual_seed(3)
        with torch.no_grad():
            for key, value in model.state_dict().items():
                if value.is_floating_point():
                    value.copy_(torch.rand_like(value) + 0.5 if "var" in key else torch.randn_like(value) * 0.4)
        export_pytorch(model, directory / f"{name}.npz", **options)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
