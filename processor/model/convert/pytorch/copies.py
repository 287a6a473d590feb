"""A copy of a PyTorch model that may be run and followed, so that the user's own stays as it is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator


def copy_of(module: Any) -> Any:
    """The same model, in evaluation mode.

    Raises:
        ConversionRefused: something that it holds cannot be copied.
    """
    # PyTorch does not copy what it computed with gradients: such a state is kept as numbers.
    memo = {id(tensor): tensor.detach().clone() for tensor in _computed(module)}
    try:
        return copy.deepcopy(module, memo).eval()
    except Exception as error:  # whatever an object of the user's own raises
        kind = type(module).__name__
        raise ConversionRefused(
            f"The PyTorch model {kind} cannot be copied.",
            layer=kind,
            reason=Obstacle.NO_GRAPH,
            cause=f"It is followed on a copy, and copy.deepcopy raises: {str(error).splitlines()[0][:300]}",
            remedies=["Take out of the model's attributes what is no part of its computation (files, locks, loggers)."],
        ) from error


def kept_by(module: Any) -> dict[str, Any]:
    """What the model holds beside parameters and modules: name -> tensors, numbers and the like."""
    return {
        f"{prefix}.{name}" if prefix else name: value
        for prefix, some in module.named_modules()
        if not type(some).__module__.startswith("torch.nn.")
        for name, value in [*vars(some).items(), *some._buffers.items()]
        if not name.startswith("_")
    }


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The names of what a call of `forward` set."""
    return sorted(name for name, value in after.items() if name not in before or before[name] is not value)


def _computed(module: Any) -> Iterator[Any]:
    """The tensors in a model that gradients flow through."""

    def inside(value: Any, depth: int = 0) -> Iterator[Any]:
        if isinstance(value, list | tuple | dict) and depth < 4:
            for item in value.values() if isinstance(value, dict) else value:
                yield from inside(item, depth + 1)
        elif hasattr(value, "is_leaf") and hasattr(value, "detach") and not value.is_leaf:
            yield value

    for some in module.modules():
        for name, value in vars(some).items():
            if name not in ("_modules", "_parameters"):
                yield from inside(value)
