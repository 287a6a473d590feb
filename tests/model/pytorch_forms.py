"""The forms in which people write the `forward` of a recurrent model in PyTorch, one class each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class StateViewed(nn.Module):
    """The last layer's state laid flat by its width."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        _, (h_n, _c_n) = self.lstm(x)
        return self.head(torch.relu(h_n.view(-1, 4)))


class TimeInTheBatch(nn.Module):
    """Batch and time laid into one dim for the head, and apart again; states of zeros by the sizes of x."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        batch, samples, _ = x.shape
        h0, c0 = torch.zeros(2, batch, 4, device=x.device), torch.zeros(2, x.size(0), 4).to(x.device)
        out, _ = self.lstm(x, (h0, c0))
        out = self.head(out.contiguous().view(-1, 4))
        return out.view(batch, samples, -1)[:, -1]


class BothWays(nn.Module):
    """The states of both directions, found in two ways."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(3, 2, 2, batch_first=True, bidirectional=True), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        _, h = self.gru(x)
        h = h.view(2, 2, x.size(0), 2)[-1]
        return self.head(torch.cat((h[0], h[1]), dim=1) + h.transpose(0, 1).reshape(x.size(0), -1))


class Projected(nn.Module):
    """An LSTM whose output is a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, 2, batch_first=True, proj_size=2)

    def forward(self, x: Any) -> Any:
        return self.lstm(x)[0]


class LearnedStart(nn.Module):
    """First states that were learned, expanded to the batch in two ways; a parameter of the model's own behind."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2, batch_first=True)
        self.h0, self.c0 = nn.Parameter(torch.zeros(2, 1, 4)), nn.Parameter(torch.zeros(2, 4))
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, x: Any) -> Any:
        batch = x.size(0)
        h0, c0 = self.h0.expand(-1, batch, -1).contiguous(), self.c0.unsqueeze(1).repeat(1, batch, 1)
        return self.lstm(x, (h0, c0))[0] * self.scale


class Packed(nn.Module):
    """Sequences that were packed in training; the newest sample found in three ways."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.lstm = nn.Embedding(7, 3), nn.LSTM(3, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, tokens: Any, lengths: Any) -> Any:
        packed = pack_padded_sequence(self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, (h, _) = self.lstm(packed)
        out, _ = pad_packed_sequence(out, batch_first=True)
        last = (lengths - 1).view(-1, 1).expand(tokens.size(0), out.size(2)).unsqueeze(1)
        newest = out.gather(1, last).squeeze(1)
        return self.head(h[-1] + newest + out[torch.arange(tokens.size(0)), lengths - 1])


class Chomp(nn.Module):
    """Cuts off what a convolution that is padded at both ends says behind the newest sample."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Any) -> Any:
        return x[:, :, : -self.size].contiguous()


class Block(nn.Module):
    """A residual block of a temporal convolutional network."""

    def __init__(self, channels: int, outputs: int, width: int, dilation: int) -> None:
        super().__init__()
        padding = (width - 1) * dilation
        conv = nn.utils.weight_norm(nn.Conv1d(channels, outputs, width, padding=padding, dilation=dilation))
        self.net = nn.Sequential(conv, Chomp(padding), nn.ReLU(), nn.Dropout(0.2))
        self.side = nn.Conv1d(channels, outputs, 1) if channels != outputs else None

    def forward(self, x: Any) -> Any:
        return torch.relu(self.net(x) + (x if self.side is None else self.side(x)))


class Convolutions(nn.Module):
    """Causal convolutions, padded at both ends and cut, or on the left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(3, 4, 3, 1), Block(4, 4, 3, 2))
        self.last, self.head = nn.Conv1d(4, 4, 2), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        y = self.blocks(x.transpose(1, 2))
        return self.head(self.last(functional.pad(y, (1, 0), mode="constant", value=None))[:, :, -1])


class TwoCells(nn.Module):
    """Cells in a loop over the pieces of a series, whose outputs are laid together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.LSTMCell(1, 4), nn.LSTMCell(4, 4), nn.Linear(4, 1)

    def forward(self, series: Any) -> Any:
        outputs = []
        h, c = torch.zeros(series.size(0), 4), torch.zeros(series.size(0), 4)
        h2, c2 = torch.zeros(series.size(0), 4), torch.zeros(series.size(0), 4)
        for sample in series.split(1, dim=1):
            h, c = self.first(sample, (h, c))
            h2, c2 = self.second(h, (h2, c2))
            outputs += [self.head(h2)]
        return torch.cat(outputs, dim=1)


class Elman(nn.Module):
    """A cell of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(3 + 4, 4)

    def forward(self, x: Any, h: Any) -> Any:
        return torch.tanh(self.both(torch.cat((x, h), 1)))


class TwoLoops(nn.Module):
    """A loop by index, with a cell of one's own in it, and a second one over what the first gave."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.own, self.second, self.head = nn.GRUCell(3, 4), Elman(), nn.RNNCell(4, 3), nn.Linear(7, 2)

    def forward(self, x: Any) -> Any:
        h, own, outputs = None, x.new_zeros(x.size(0), 4), []
        for t in range(x.size(1)):
            h = self.cell(x[:, t, :], h)
            own = self.own(x[:, t], own)
            outputs.append(h * own)
        k, seconds = None, []
        for output in outputs:
            k = self.second(output, k)
            seconds.append(k)
        return self.head(torch.cat((torch.stack(outputs, dim=1), torch.stack(seconds).transpose(0, 1)), -1))


class TimeFirst(nn.Module):
    """A loop over a tensor that has time first; the whole state carried as one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x: Any) -> Any:
        state: Any = None
        for sample in x:
            state = self.cell(sample, state)
        return state[0]


class StepByStep(nn.Module):
    """nn.LSTM called on one sample after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 4, 2, batch_first=True), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        hidden, outputs = None, []
        for t in range(x.shape[1]):
            out, hidden = self.lstm(x[:, t : t + 1], hidden)
            outputs.append(self.head(out[:, -1]))
        return torch.stack(outputs, 1)


class SizesTurned(nn.Module):
    """Shapes by the sizes of x, time turned to the front, one output squeezed."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        batch, samples, bands, width = x.size()
        x = x.reshape(batch, samples, bands * width).permute(1, 0, 2)
        out, h = self.gru(x)
        assert out.dim() == 3
        return self.head(out[-1].squeeze(0)) + self.head(h.squeeze(0))


class Keeping(nn.Module):
    """A state that is kept in the model from call to call."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.h = nn.LSTM(3, 4, batch_first=True), None

    def forward(self, x: Any) -> Any:
        out, self.h = self.lstm(x, self.h)
        return out[:, -1]


FORMS: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "state_viewed": (StateViewed, {}),
    "time_in_the_batch": (TimeInTheBatch, {}),
    "states_of_both_ways": (BothWays, {}),
    "projected": (Projected, {}),
    "learned_start": (LearnedStart, {}),
    "packed": (Packed, {}),
    "convolutions": (Convolutions, {}),
    "two_cells": (TwoCells, {"shape": (None,)}),
    "two_loops": (TwoLoops, {}),
    "time_first": (TimeFirst, {"batch_first": False}),
    "step_by_step": (StepByStep, {}),
    "sizes_turned": (SizesTurned, {"shape": (None, 2, 3), "batch_first": True}),
}
"""Name -> the model, and the arguments of its export."""
