"""Following a PyTorch `forward`: torch.fx runs it on symbolic tensors, each with an example beside it.

The examples answer what a `forward` asks its tensors for in Python: how many samples there are, how many dims, what a
sequence unpacks into. So a loop over time runs, as many times as the example has samples; `loops` rolls it up again.
"""

from __future__ import annotations

import contextlib
import dis
import inspect
import operator
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, fx, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOT_KNOWN: Final = object()
"""In the place of an example, where no shape is known yet."""
_PACKING: Final = ("pack_padded_sequence", "pad_packed_sequence")
_MAKING: Final = ("zeros", "arange")


class Followed(fx.Proxy):  # type: ignore[misc]
    """A symbolic tensor, number or tuple that answers Python with what its example is."""

    @property
    def example(self) -> Any:
        return self.tracer.examples.get(self.node, NOT_KNOWN)

    def __getattr__(self, name: str) -> Any:
        example = self.example
        if example is NOT_KNOWN or callable(getattr(example, name)):
            return super().__getattr__(name)
        return self.tracer.create_proxy("call_function", getattr, (self, name), {})

    def __iter__(self) -> Any:
        example = self.example
        count = _unpacked(inspect.currentframe()) if example is NOT_KNOWN else len(example)
        return iter([self[rank] for rank in range(count)])

    def __len__(self) -> int:
        return len(self._known())

    def __bool__(self) -> bool:
        return bool(self._number())

    def __index__(self) -> int:
        return int(self._number())

    __int__ = __index__

    def __float__(self) -> float:
        return float(self._number())

    def _known(self) -> Any:
        if self.example is NOT_KNOWN:
            raise fx.proxy.TraceError("it asks for the size of what is not known yet")
        return self.example

    def _number(self) -> Any:
        """A number that is not one of a tensor's values: a size, or what was computed of sizes."""
        if self.example is NOT_KNOWN:
            return 1
        if isinstance(self.example, Tensor):
            raise fx.proxy.TraceError("it decides by the values of tensors, which a sample to come may change")
        return self.example


def _unpacked(frame: Any) -> int:
    """How many values the line that iterates unpacks; one where it is a loop."""
    above = frame.f_back
    now = next(one for one in dis.get_instructions(above.f_code) if one.offset >= above.f_lasti)
    return int(now.argval) if now.opname == "UNPACK_SEQUENCE" else 1


def _apart(proxy: Any, example: Any) -> Any:
    """What is a plain tuple is one for the code that is followed, too."""
    if type(example) not in (tuple, list):
        return proxy
    return tuple(_apart(proxy[rank], item) for rank, item in enumerate(example))


class Following(fx.Tracer):  # type: ignore[misc]
    """Writes down what a model's forward does with these examples of its arguments."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given, self.asking = given, False
        self.examples: dict[Any, Any] = {}

    def proxy(self, node: Any) -> Any:
        return Followed(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **options: Any) -> Any:
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **options)
        example = self._example(kind, target, args, kwargs)
        if example is not NOT_KNOWN:
            self.examples[proxy.node] = example
        return _apart(proxy, example)

    def call_module(self, m: Any, forward: Any, args: Any, kwargs: Any) -> Any:
        return forward(*args, **kwargs) if self.asking else super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
        return attr_val if self.asking else super().getattr(attr, attr_val, parameter_proxy_cache)

    def _example(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "placeholder":
            return self.given.get(str(target).lstrip("*"), NOT_KNOWN)
        if kind == "get_attr":
            with self._asked():
                return operator.attrgetter(target)(self.root)
        known: list[bool] = []
        args, kwargs = (fx.node.map_aggregate(some, lambda a: self._plain(a, known)) for some in (args, kwargs))
        if not all(known):
            return NOT_KNOWN
        with self._asked(), torch.no_grad():
            if kind == "call_method":
                return getattr(args[0], target)(*args[1:], **kwargs)
            return (self.root.get_submodule(target).forward if kind == "call_module" else target)(*args, **kwargs)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """Modules that are called inside are run, and not followed."""
        self.asking = True
        try:
            yield
        finally:
            self.asking = False

    @staticmethod
    def _plain(value: Any, known: list[bool]) -> Any:
        if not isinstance(value, fx.Proxy):
            return value
        example = value.example if isinstance(value, Followed) else value.root.example
        if not isinstance(value, Followed) and example is not NOT_KNOWN:
            example = getattr(example, value.attr)
        known.append(example is not NOT_KNOWN)
        return example


def traced(module: Any, given: Mapping[str, Any], fixed: Mapping[str, Any]) -> tuple[Any, Exception | None]:
    """What a forward calls for these examples of its arguments, and these values of others: the nodes of torch.fx.

    The second is what the model's own code raised on the way, None where it came through.
    """
    tracer = Following(given)
    with _followed_by_name(tracer, module):
        try:
            return tracer.trace(module, concrete_args=dict(fixed) or None), None
        except Exception as error:  # whatever a user's forward raises on symbolic tensors is about that forward
            return tracer.graph, error


@contextlib.contextmanager
def _followed_by_name(tracer: Following, module: Any) -> Iterator[None]:
    """Functions that torch.fx cannot follow by itself are written down as calls, wherever `forward` names them."""
    packing = nn.utils.rnn
    own = {id(getattr(packing, name)): getattr(packing, name) for name in _PACKING}
    own |= {id(getattr(torch, name)): getattr(torch, name) for name in _MAKING}

    def written(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **options: Any) -> Any:
            found: list[Any] = []
            fx.node.map_aggregate((given, options), lambda a: found.append(a) if isinstance(a, fx.Proxy) else a)
            if tracer.asking or not found:
                return function(*given, **options)
            return tracer.create_proxy("call_function", function, given, options)

        return call

    places: list[tuple[dict[str, Any], str, Any]] = []
    spaces = [vars(packing), vars(torch)]
    for some in module.modules():
        forward = inspect.unwrap(type(some).forward)
        spaces.append(getattr(forward, "__globals__", {}))
    for space in {id(space): space for space in spaces}.values():
        for name, value in list(space.items()):
            if id(value) in own:
                places.append((space, name, value))
    try:
        for space, name, value in places:
            space[name] = written(value)
        yield
    finally:
        for space, name, value in places:
            space[name] = value
