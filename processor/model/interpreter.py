"""LiteRT's interpreters: the one door to its library."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from processor.errors import Incompatible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from processor.model.artifact import Artifact

    View = Callable[[], NDArray[Any]]


def open_interpreter(
    artifact: Artifact,
    size: int,
    inputs: dict[str, tuple[tuple[int, ...], str]],
    outputs: dict[str, tuple[tuple[int, ...], str]],
) -> tuple[Interpreter, dict[str, View]]:
    """An interpreter of the step graph for `size` rows, which has run once, and the memory of its tensors by name.

    Raises:
        Incompatible: the step graph does not run, or has other tensors.
    """
    try:
        with _without_greeting():
            interpreter = Interpreter(model_content=artifact.step_graph, num_threads=1)
            # The runner knows which tensor goes by which name. It is not kept: with it alive nothing else may run.
            runner = interpreter.get_signature_runner()
            wanted, given = runner.get_input_details(), runner.get_output_details()
            del runner
            if set(wanted) != set(inputs) or not set(given) >= set(outputs):
                raise ValueError(
                    f"its tensors are {sorted(wanted)} -> {sorted(given)}, not {sorted(inputs)} -> {sorted(outputs)}"
                )
            for name, (shape, _) in inputs.items():
                interpreter.resize_tensor_input(wanted[name]["index"], (size, *shape), strict=True)
            interpreter.allocate_tensors()
            views: dict[str, View] = {name: interpreter.tensor(wanted[name]["index"]) for name in inputs}
            for view in views.values():
                view()[...] = 0
            interpreter.invoke()
            views |= {name: interpreter.tensor(given[name]["index"]) for name in outputs}
        for name, (shape, dtype) in (inputs | outputs).items():
            memory = views[name]()
            if memory.shape != (size, *shape) or memory.dtype != dtype:
                raise ValueError(f"{name} is {memory.dtype}{list(memory.shape)}, not {dtype}{[size, *shape]}")
    except (ValueError, RuntimeError) as error:
        raise _not_run(artifact, size, error) from error
    return interpreter, views


def row_bytes(artifact: Artifact) -> int:
    """The most memory that one more row takes in an interpreter: that of all tensors of the step graph.

    Raises:
        Incompatible: the step graph does not run.
    """
    sizes = []
    for rows in (1, 2):
        try:
            with _without_greeting():
                interpreter = Interpreter(model_content=artifact.step_graph, num_threads=1)
                for tensor in interpreter.get_input_details():
                    interpreter.resize_tensor_input(tensor["index"], (rows, *tensor["shape"][1:]), strict=True)
                interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _not_run(artifact, rows, error) from error
        details = interpreter.get_tensor_details()
        sizes.append(sum(int(np.prod(of["shape"])) * np.dtype(of["dtype"]).itemsize for of in details))
    return int(sizes[1] - sizes[0])


def _not_run(artifact: Artifact, rows: int, error: Exception) -> Incompatible:
    return Incompatible(
        f"The step graph of the artifact {artifact.directory} cannot be run with {rows} rows.",
        f"{error}",
        "Convert the model again with this version.",
    )


_greeted = False


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Keeps LiteRT's line about its XNNPACK delegate, which is no news, out of logs and reports.

    It is written past Python to the file descriptor 2, once in a process; whatever else is written there meanwhile
    is passed on.
    """
    global _greeted
    if _greeted:
        yield
        return
    _greeted = True
    try:
        sys.stderr.flush()
        original = os.dup(2)
    except (OSError, AttributeError, ValueError):  # there is no standard error
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(original, 2)
            held.seek(0)
            others = [line for line in held if b"XNNPACK delegate" not in line]
            os.write(original, b"".join(others))
            os.close(original)
