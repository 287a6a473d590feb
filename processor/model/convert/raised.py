"""What TensorFlow, Keras or code of the user's own raises while a model is followed, traced or asked: a refusal.

A bug of the converter's own stays what it is, and is seen as one.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

from processor.errors import ProcessorError
from processor.model.convert.memory import is_out_of_memory
from processor.model.convert.names import plain
from processor.model.convert.refusal import ConversionRefused, Obstacle, in_its_words

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE: Final = "processor."
_CALLED: Final = re.compile(r"when calling (\w+)\.call\(\)")
_NODE: Final = re.compile(r"[\w.]+(?:/[\w.]+)+")
_NO_TOKEN: Final = re.compile(r"indices\S* = -?\d+ is not in \[0, |gather index out of bounds")
"""Of TensorFlow, and of LiteRT."""
_CHATTER: Final = re.compile(
    r"""\x1b\[\d+m                                              # colours
    |^Graph\ execution\ error:|^Detected\ at\ node.*$|^\s*File\ ".*$|^\s*\[\[\{\{node.*$  # where TensorFlow was
    |\{\{function_node.*?\}\}|\[Op:.*?\]
    |^Exception\ encountered\ when\ calling.*$|^Arguments\ received\ by(.|\n)*  # where Keras was
    """,
    re.MULTILINE | re.VERBOSE,
)


@contextlib.contextmanager
def refused_where_it_raises(model: Any) -> Iterator[None]:
    """Whatever other people's code raises inside is a refusal of the model, with the layer where it is known.

    Raises:
        ConversionRefused: it raised; its own exception is the cause.
    """
    try:
        yield
    except ProcessorError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or _is_ours(error):
            raise
        raise _refused(model, error) from error


def _is_ours(error: Exception) -> bool:
    """Whether the converter's own code raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(_HERE)


def _refused(model: Any, error: Exception) -> ConversionRefused:
    no_token = _NO_TOKEN.search(str(error)) is not None
    layer = _layer_in(str(error), model) or (_only("Embedding", model) if no_token else None)
    where = f"The layer {layer!r} of the model {model.name!r}" if layer else f"The model {model.name!r}"
    if no_token:
        return ConversionRefused(
            f"{where} looks up tokens that it computes, and its table does not have all of them.",
            layer=layer or model.name,
            reason=Obstacle.INPUT_TYPE,
            cause="The converter cannot tell which samples give tokens that the table has, so it can try none.",
            remedies=[
                "Let the model take the tokens as they are: an input of integers, which an Embedding looks up. Compute "
                "them before they are sent."
            ],
        )
    return ConversionRefused(
        f"{where} fails when it is run.",
        layer=layer or model.name,
        reason=Obstacle.FAILS,
        cause=f"It raises {type(error).__name__}: {in_its_words(_without_chatter(error))}",
        remedies=["Mend it until Keras can call it on a batch of whole sequences of random numbers: model.predict(x)."],
    )


def _without_chatter(error: Exception) -> Exception:
    """The same words without where TensorFlow and Keras were when they stopped."""
    return ValueError(_CHATTER.sub("", str(error)).strip() or "it gives no reason")


def _layer_in(text: str, model: Any) -> str | None:
    """The layer that an exception's words name: by its class where there is one of it, or by TensorFlow's scopes."""
    called = _CALLED.search(text)
    if called and (only := _only(called[1], model)):
        return only
    parts = [part for path in _NODE.findall(text) for part in reversed(path.split("/"))]
    names = {plain(layer.name): str(layer.name) for layer in model._flatten_layers(include_self=False)}
    # TensorFlow numbers a scope that it has met before.
    return next((names[name] for part in parts for name in (part, part.rpartition("_")[0]) if name in names), None)


def _only(kind: str, model: Any) -> str | None:
    """The name of the model's one layer of a class."""
    names = {layer.name for layer in model._flatten_layers(include_self=False) if type(layer).__name__ == kind}
    return str(names.pop()) if len(names) == 1 else None
