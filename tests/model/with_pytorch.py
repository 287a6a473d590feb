"""Describing PyTorch models, where PyTorch is: `python -m pytest tests/model/with_pytorch.py`.

torch brings gigabytes that nothing else here needs, so it is no part of the test environment, and this file none of
`make test`. The described models that lie beside it were made with PyTorch, and test_pytorch.py converts them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, export_pytorch
from processor.model.convert.pytorch.description import Description

FILES = Path(__file__).parent / "pytorch"


class TestWithPyTorch:
    @pytest.fixture(autouse=True)
    def torch(self) -> Any:
        import torch

        return torch

    def test_the_files_are_what_it_makes_today(self, tmp_path: Path) -> None:
        from model import make_pytorch_files

        make_pytorch_files.main(tmp_path)
        for path in sorted(FILES.glob("*.npz")):
            mine, its = Description.read(tmp_path / path.name), Description.read(path)
            assert (mine.nodes, mine.modules, mine.lengths) == (its.nodes, its.modules, its.lengths)
            for one, other in zip(mine.answers, its.answers, strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)

    def test_a_forward_that_cannot_be_followed(self, torch: Any, tmp_path: Path) -> None:
        class Looping(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                return x if x.sum() > 0 else -x

        with pytest.raises(ConversionRefused, match="Looping"):
            export_pytorch(Looping(), tmp_path / "model.npz", shape=(None, 3))
        assert not list(tmp_path.iterdir())

    def test_a_shape_that_nothing_says(self, torch: Any, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="shape"):
            export_pytorch(torch.nn.Sequential(torch.nn.Tanh()), tmp_path / "model.npz")

    def test_a_model_that_keeps_its_state(self, torch: Any, tmp_path: Path) -> None:
        """Its answers depend on the calls before. It is refused with the way out, and stays as it was."""
        from model.pytorch_forms import Keeping

        model, x = Keeping(), torch.zeros(2, 5, 3)
        model(x)  # as after training: what it keeps is computed with gradients
        model.train()
        kept, flags = model.h, [p.requires_grad for p in model.parameters()]
        hooks, held = dict(model._forward_hooks), dict(vars(model.lstm))
        with pytest.raises(ConversionRefused, match="Keeping") as caught:
            export_pytorch(model, tmp_path / "model.npz")
        assert any("state=None" in remedy for remedy in caught.value.remedies)
        assert model.h is kept
        assert model.training
        assert ([p.requires_grad for p in model.parameters()], dict(model._forward_hooks)) == (flags, hooks)
        assert dict(vars(model.lstm)).keys() == held.keys()
        assert model(x).shape == (2, 4)
        assert not list(tmp_path.iterdir())
        model.h = None
        with pytest.raises(ConversionRefused, match=r"self\.h"):
            export_pytorch(model, tmp_path / "model.npz")
        assert model.h is None

    def test_the_remedy_for_a_kept_state(self, torch: Any, tmp_path: Path) -> None:
        class Passing(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lstm, self.head = torch.nn.LSTM(3, 4, batch_first=True), torch.nn.Linear(4, 1)

            def forward(self, x: Any, state: Any = None) -> Any:
                out, state = self.lstm(x, state)
                return self.head(out), state

        export_pytorch(Passing(), tmp_path / "model.npz")

    def test_what_is_kept_and_never_read_is_no_state(self, torch: Any, tmp_path: Path) -> None:
        class Looking(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.lstm = torch.nn.LSTM(3, 4, batch_first=True)

            def forward(self, x: Any) -> Any:
                self.seen, _ = self.lstm(x)
                return self.seen[:, -1]

        model = Looking()
        export_pytorch(model, tmp_path / "model.npz")
        assert not hasattr(model, "seen")

    def test_a_forward_that_fails(self, torch: Any, tmp_path: Path) -> None:
        class Failing(torch.nn.Module):
            def forward(self, x: Any) -> Any:
                raise RuntimeError("not today")

        with pytest.raises(ConversionRefused, match="not today"):
            export_pytorch(Failing(), tmp_path / "model.npz", shape=(None, 3))

    def test_training_mode_and_zeros_are_as_they_were(self, torch: Any, tmp_path: Path) -> None:
        model, zeros = torch.nn.LSTM(3, 2, batch_first=True), torch.zeros
        export_pytorch(model, tmp_path / "model.npz")
        assert model.training
        assert torch.zeros is zeros
