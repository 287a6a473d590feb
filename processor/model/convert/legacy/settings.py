"""Repairs of a layer's settings: each a small function, with the version that wrote it so as its reason.

A repair is made where its meaning is certain, and listed in the report. What nothing here knows is left to the layer's
class, which refuses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from processor.model.convert.activations import hard_sigmoid_of_keras_2
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from collections.abc import Callable

    Settings = dict[str, Any]
    Repair = Callable[[str, Settings, str], list[str]]

RECURRENT: Final = {
    "LSTM", "GRU", "SimpleRNN", "RNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D",
}  # fmt: skip
_KINDS: Final = {
    "BatchNormalizationV1": "BatchNormalization",  # TensorFlow 1.13 and 1.14
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",  # it differs in training only
    "UnifiedLSTM": "LSTM",  # previews of TensorFlow 2.0
    "UnifiedGRU": "GRU",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU",
    "ThresholdedReLU": "ReLU",
}
_FOR_TRAINING: Final = ("_initializer", "_regularizer", "_constraint")
_WITHOUT_MEANING: Final = {
    "implementation", "batch_input_shape", "input_length", "input_dtype", "ragged", "sparse", "reverse_state_order",
    "noise_shape", "seed", "fused", "renorm", "virtual_batch_size",
    "query_shape", "key_shape", "value_shape", "num_constants", "autocast",
    "experimental_autocast",
}  # fmt: skip
_OLD_FUNCTIONS: Final = {"softmax_v2": "softmax"}
_ACTIVATIONS: Final = ("activation", "recurrent_activation")


def repaired(kind: str, settings: Settings, label: str) -> tuple[str, list[str]]:
    """The name of a layer's class in Keras 3, and what was repaired in its settings (changed in place).

    Raises:
        ConversionRefused: it holds what can neither be read nor repaired.
    """
    done = [line for repair in _REPAIRS for line in repair(kind, settings, label)]
    return _KINDS.get(kind, kind), done


def only_for_training(_kind: str, settings: Settings, _label: str) -> list[str]:
    """Any version: initial values, regularizers and constraints play no part once the weights are read."""
    for name in [name for name in settings if name.endswith(_FOR_TRAINING)]:
        del settings[name]
    return []


def time_major(kind: str, settings: Settings, label: str) -> list[str]:
    """TensorFlow's Keras 2 wrote `time_major` of each recurrent layer."""
    if "time_major" not in settings:
        return []
    if settings.pop("time_major"):
        raise ConversionRefused(
            f"The layer {label!r} has time_major=True, which Keras 3 does not have.",
            layer=label,
            reason=Obstacle.UNREADABLE,
            cause="Its first axis is time, and the batch is the second.",
            remedies=["Build the model with time as the second axis, load the same weights, and save it again."],
        )
    return [f"{label}: dropped time_major=False, which Keras 3 no longer knows."]


def unroll(kind: str, settings: Settings, label: str) -> list[str]:
    """Any version: an unrolled layer gives the same answers, and a file that names a length has a graph of it."""
    if kind not in RECURRENT or not settings.pop("unroll", False):
        return []
    return [f"{label}: unroll=True was dropped, which changes nothing but how it is run."]


def reset_after(kind: str, settings: Settings, label: str) -> list[str]:
    """Before Keras 2.1 there was one kind of GRU only, and its files do not name it."""
    if kind not in ("GRU", "GRUCell") or "reset_after" in settings:
        return []
    settings["reset_after"] = False
    return [f"{label}: reset_after=False, which was the only kind of GRU when the file was written."]


def cudnn(kind: str, settings: Settings, label: str) -> list[str]:
    """Keras 2 had layers for GPUs alone (CuDNNLSTM, CuDNNGRU), of fixed activations."""
    if kind not in ("CuDNNLSTM", "CuDNNGRU"):
        return []
    settings |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    if kind == "CuDNNGRU":
        settings["reset_after"] = True
    return [f"{label}: {kind} became {_KINDS[kind]}, its weights rearranged."]


def hard_sigmoid(_kind: str, settings: Settings, label: str) -> list[str]:
    """Before Keras 3, `hard_sigmoid` was steeper."""
    found = [name for name in _ACTIVATIONS if settings.get(name) == "hard_sigmoid"]
    settings |= dict.fromkeys(found, hard_sigmoid_of_keras_2)
    return [f"{label}: hard_sigmoid as it was before Keras 3 (0.9 at 2.0, not 0.8333)." for _ in found]


def names_of_functions(_kind: str, settings: Settings, _label: str) -> list[str]:
    """TensorFlow's Keras 2 wrote `tf.nn.softmax` by its inner name, and functions as objects from 2.12 on."""
    for name in _ACTIVATIONS:
        value = settings.get(name)
        if isinstance(value, dict) and value.get("class_name") == "function":
            value = value.get("config")
        if isinstance(value, str):
            settings[name] = _OLD_FUNCTIONS.get(value, value)
    return []


def precision(kind: str, settings: Settings, label: str) -> list[str]:
    """Keras 2.1 to 2.15 wrote a policy as an object; 2.0 gave an Embedding the type of its tokens."""
    dtype = settings.get("dtype")
    if isinstance(dtype, dict):
        inner = dtype.get("config")
        dtype = inner.get("name") if isinstance(inner, dict) else None
        settings["dtype"] = dtype
    if isinstance(dtype, str) and "infer" in dtype:  # tf.keras of TensorFlow 1.15 and 2.0
        settings["dtype"] = "float32"
    if kind == "Embedding" and isinstance(dtype, str) and "int" in dtype:
        settings["dtype"] = "float32"
        return [f"{label}: its dtype {dtype} is that of its tokens, and its vectors are float32."]
    return []


def one_axis(_kind: str, settings: Settings, _label: str) -> list[str]:
    """TensorFlow's Keras 2 wrote the one axis of BatchNormalization as a list."""
    axis = settings.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        settings["axis"] = axis[0]
    return []


def leaky_slope(kind: str, settings: Settings, _label: str) -> list[str]:
    """Before Keras 3 the slope of LeakyReLU was called `alpha`."""
    if kind == "LeakyReLU" and "alpha" in settings:
        settings["negative_slope"] = settings.pop("alpha")
    return []


def threshold(kind: str, settings: Settings, label: str) -> list[str]:
    """Before Keras 3 a ReLU with a threshold was a layer of its own."""
    if kind != "ThresholdedReLU":
        return []
    settings["threshold"] = settings.pop("theta", 1.0)
    return [f"{label}: ThresholdedReLU became ReLU(threshold={settings['threshold']})."]


def arrays_of_one(_kind: str, settings: Settings, _label: str) -> list[str]:
    """Keras 2 wrote numbers that NumPy had made as objects."""
    for name, value in settings.items():
        if isinstance(value, dict) and value.get("type") == "ndarray":
            settings[name] = value.get("value")
    return []


def without_meaning(_kind: str, settings: Settings, _label: str) -> list[str]:
    """Settings that say how a layer was run, or what its class or the shapes around it say already."""
    for name in _WITHOUT_MEANING & settings.keys():
        del settings[name]
    if settings.get("causal") is False:  # of attention, before 2.11
        del settings["causal"]
    return []


_REPAIRS: Final[tuple[Repair, ...]] = (
    only_for_training, arrays_of_one, precision, time_major, unroll, reset_after, cudnn, names_of_functions,
    hard_sigmoid, one_axis, leaky_slope, threshold, without_meaning,
)  # fmt: skip
