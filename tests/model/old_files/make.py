"""Writes small models as old versions of Keras save them, with those versions' own answers.

Runs under Python 3.6 to 3.11, in an environment of its own for each version:

    python make.py DIRECTORY            # the package `keras`: 1.2.2 (TensorFlow 1.4) to 2.3.1 (1.15), and 3.0 to 3.10
    python make.py DIRECTORY tf         # `tf.keras`: TensorFlow 2.0 to 2.15
    python make.py DIRECTORY tf ops ... # some cases only

A case gives VERSION_CASE.h5 (or .keras, or a description .json/.yaml beside weights) and VERSION_CASE.npz: the input
`x` (or `x_NAME` of each input), and the answers `y1` ... `yT` to every prefix; only `yT` where the length is fixed.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_USE_LEGACY_KERAS", "0")
import numpy as np

directory, with_tf, chosen = sys.argv[1], sys.argv[2:3] == ["tf"], sys.argv[3:]
if with_tf:
    import tensorflow as tf

    keras = tf.keras
    version = tuple(int(part) for part in tf.__version__.split(".")[:2])
    label = "tf" + ".".join(tf.__version__.split(".")[:2])
else:
    import keras

    version = tuple(int(part) for part in keras.__version__.split(".")[:2])
    label = "keras" + keras.__version__
    if version >= (3, 0):
        import tensorflow as tf
L, K = keras.layers, keras.backend
Input, Sequential, Model = L.Input, keras.models.Sequential, keras.models.Model
rng = np.random.RandomState(7)
x3 = rng.normal(size=(4, 6, 3)).astype("float32")
tokens = np.array([[3, 1, 4, 1, 5, 0], [2, 7, 0, 0, 0, 0], [9, 8, 7, 6, 5, 4], [1, 2, 3, 0, 0, 0]], "int32")
static = rng.normal(size=(4, 2)).astype("float32")
images = rng.normal(size=(2, 4, 5, 5, 2)).astype("float32")
CASES = {}


def case(since=(0, 0), until=(99, 0), tf_only=False, endings=("h5",)):
    """A function that gives a model and its inputs: arrays, whose second axis is time, except for `static`."""

    def register(function):
        is_in = since <= version <= until and not (tf_only and not with_tf and version < (3, 0))
        if is_in and (not chosen or function.__name__ in chosen):
            CASES[function.__name__] = (function, endings)
        return function

    return register


BOTH = ("h5", "keras") if (version >= (2, 12) if with_tf else version >= (3, 0)) else ("h5",)


# ---------------------------------------------------------------- Keras 1


@case(until=(1, 9))
def lstm1():
    model = Sequential()
    model.add(L.LSTM(output_dim=4, input_shape=(None, 3), return_sequences=True, dropout_W=0.1, dropout_U=0.1))
    model.add(L.Dropout(0.2))
    model.add(L.LSTM(4, inner_activation="sigmoid", consume_less="gpu", W_regularizer="l2"))
    model.add(L.Dense(1, activation="sigmoid"))
    return model, [x3]


@case(until=(1, 9))
def gru1():
    model = Sequential()
    model.add(L.GRU(4, input_dim=3, return_sequences=True, consume_less="mem"))
    model.add(L.SimpleRNN(3, return_sequences=True))
    model.add(L.TimeDistributed(L.Dense(2)))
    model.add(L.BatchNormalization())
    model.add(L.LeakyReLU())
    model.add(L.Activation("hard_sigmoid"))
    return model, [x3]


@case(until=(1, 9))
def embedding1():
    model = Sequential()
    model.add(L.Embedding(10, 4, mask_zero=True, dropout=0.1))
    model.add(L.LSTM(4))
    model.add(L.Dense(3, activation="softmax", W_constraint=keras.constraints.maxnorm(2)))
    return model, [tokens]


@case(until=(1, 9))
def merged1():
    x = Input(shape=(None, 3), name="x")
    shared = L.GRU(4, name="shared")
    left, right = shared(x), shared(L.TimeDistributed(L.Dense(3))(x))
    both = L.merge([left, right, L.merge([left, right], mode="mul")], mode="concat")
    return Model(
        input=x, output=[L.Dense(1, name="a")(both), L.Dense(2, name="b")(L.merge([left, right], mode="sum"))]
    ), [x3]


@case(until=(1, 9))
def bidirectional1():
    model = Sequential()
    model.add(L.Bidirectional(L.LSTM(3, return_sequences=True), input_shape=(6, 3)))
    model.add(L.Convolution1D(4, 3, border_mode="same", subsample_length=1))
    model.add(L.MaxPooling1D(pool_length=2, stride=2))
    model.add(L.Flatten())
    model.add(L.Dense(1, bias=False))
    return model, [x3]


@case(until=(1, 9))
def highest1():
    inner = Sequential()
    inner.add(L.Dense(3, input_dim=3))
    inner.add(L.BatchNormalization())
    left, right = Sequential(), Sequential()
    left.add(L.LSTM(4, input_shape=(None, 3)))
    right.add(L.GRU(4, input_shape=(None, 3)))
    model = Sequential()
    model.add(L.Merge([left, right], mode="concat"))
    model.add(L.Dense(1))
    return model, [x3, x3[:, :, ::-1].copy()]


# ---------------------------------------------------------------- Keras 2 and 3


@case(since=(2, 0), endings=BOTH)
def lstm():
    return Sequential(
        [
            L.LSTM(4, return_sequences=True, input_shape=(None, 3)),
            L.Dropout(0.2),
            L.LSTM(3, dropout=0.1),
            L.Dense(1, activation="sigmoid"),
        ]
    ), [x3]


@case(since=(2, 0), endings=BOTH)
def regularized():
    return Sequential(
        [
            L.GRU(
                4,
                return_sequences=True,
                input_shape=(None, 3),
                kernel_regularizer="l2",
                kernel_initializer="he_normal",
                recurrent_constraint=keras.constraints.MaxNorm(3)
                if version >= (2, 3) or with_tf
                else keras.constraints.max_norm(3),
            ),
            L.GaussianNoise(0.1),
            L.SimpleRNN(3, activity_regularizer=keras.regularizers.l2(0.01), recurrent_dropout=0.0),
            L.Dense(1, kernel_initializer=keras.initializers.VarianceScaling(0.5)),
        ]
    ), [x3]


@case(since=(2, 0), endings=BOTH)
def embedding():
    return Sequential(
        [
            L.Embedding(10, 4, mask_zero=True, input_length=None)
            if version < (3, 0)
            else L.Embedding(10, 4, mask_zero=True),
            L.LSTM(4, return_sequences=True),
            L.GRU(3),
            L.Dense(3, activation="softmax"),
        ]
    ), [tokens]


@case(since=(2, 0), endings=BOTH)
def wrapped():
    model = Sequential(
        [
            L.TimeDistributed(L.Dense(4, activation="relu"), input_shape=(6, 3)),
            L.Masking(0.5),
            L.Bidirectional(L.LSTM(3, return_sequences=True)),
            L.Bidirectional(L.GRU(2), merge_mode="sum"),
            L.Dense(1),
        ]
    )
    return model, [x3]


@case(since=(2, 0), endings=BOTH)
def functional():
    x, s = Input((None, 3), name="x"), Input((2,), name="s")
    shared = L.LSTM(4, name="zshared")
    left, right = shared(x), shared(L.TimeDistributed(L.Dense(3, name="between"))(x))
    both = L.Concatenate()([left, right, L.Multiply()([left, right]), s])
    both = L.LeakyReLU(0.1)(L.BatchNormalization()(both))
    return Model([x, s], [L.Dense(1, name="a")(both), L.Dense(2, name="b")(L.Add()([left, right]))]), [x3, static]


@case(since=(2, 0), endings=BOTH)
def branches():
    """Equal shapes in several branches, with names against the order."""
    x = Input((None, 3), name="x")
    deep = L.LSTM(3, name="z")(L.LSTM(3, name="m", return_sequences=True)(x))
    flat = L.LSTM(3, name="a")(x)
    other = L.LSTM(3, name="k")(x)
    both = L.Concatenate()([other, deep, flat])
    return Model(x, L.Dense(1, name="b")(L.Dense(9, name="y")(both))), [x3]


@case(since=(2, 0), endings=BOTH)
def nested():
    inner = Sequential(
        [
            L.LSTM(4, return_sequences=True, input_shape=(None, 3), name="lstm"),
            L.BatchNormalization(name="bn"),
            L.Dense(3, name="dense"),
            L.BatchNormalization(name="bn2"),
        ],
        name="inner",
    )
    inner.trainable = False
    y = Input((None, 3))
    second = Model(y, L.GRU(4, name="lstm")(L.Dense(3, name="dense")(y)), name="second")
    x = Input((None, 3), name="x")
    once = inner(x)
    both = L.Concatenate()([second(once), second(x), L.LSTM(4)(inner(once))])
    return Model(x, L.Dense(1)(both)), [x3]


@case(since=(2, 1), endings=BOTH)
def deeper():
    y = Input((None, 3))
    innermost = Sequential([L.Dense(3, input_shape=(None, 3), name="only")], name="innermost")
    inner = Model(y, innermost(L.LSTM(3, return_sequences=True, name="first")(y)), name="inner")
    model = Sequential(
        [
            L.Dense(3, input_shape=(None, 3)),
            inner,
            L.TimeDistributed(Sequential([L.Dense(4, input_shape=(3,), name="in_td"), L.BatchNormalization()])),
            L.GRU(3),
            L.Dense(1),
        ]
    )
    return model, [x3]


@case(since=(2, 1), endings=BOTH)
def states():
    x, s = Input((None, 3), name="x"), Input((2,), name="s")
    h, c = L.Dense(4, name="to_h")(s), L.Dense(4, name="to_c")(s)
    first, h2, c2 = L.LSTM(4, return_sequences=True, return_state=True)(x, initial_state=[h, c])
    g = L.GRU(4)(first, initial_state=h2)
    return Model([x, s], L.Dense(1)(L.Concatenate()([g, c2]))), [x3, static]


@case(since=(2, 1), endings=BOTH)
def cells():
    return Sequential(
        [
            L.RNN([L.LSTMCell(4), L.GRUCell(3), L.SimpleRNNCell(3)], return_sequences=True, input_shape=(None, 3)),
            L.RNN(L.LSTMCell(3)),
            L.Dense(1),
        ]
    ), [x3]


@case(since=(2, 0), endings=BOTH)
def convolutions():
    model = Sequential(
        [
            L.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu", input_shape=(None, 3)),
            L.SpatialDropout1D(0.1),
            L.Conv1D(4, 2, padding="causal", use_bias=False),
            L.LSTM(3),
            L.Dense(1),
        ]
    )
    return model, [x3]


@case(since=(2, 0), endings=BOTH)
def convlstm():
    model = Sequential(
        [
            L.ConvLSTM2D(2, 3, padding="same", input_shape=(None, 5, 5, 2), return_sequences=True),
            L.TimeDistributed(L.Conv2D(2, 3)),
            L.TimeDistributed(L.MaxPooling2D(2)),
            L.TimeDistributed(L.Flatten()),
            L.LSTM(3),
            L.Dense(1),
        ]
    )
    return model, [images]


@case(since=(2, 0), endings=BOTH)
def activations():
    listed = [
        L.Dense(4, input_shape=(None, 3)),
        L.LeakyReLU(),
        L.PReLU(shared_axes=[1]),
        L.ELU(0.5),
        L.LSTM(4, activation="hard_sigmoid", return_sequences=True),
        L.Activation("softsign"),
    ]
    if with_tf or version >= (2, 2):
        listed += [L.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.05), L.Softmax(axis=-1)]
    if version < (3, 0):
        listed += [L.ThresholdedReLU(0.1)]
    if with_tf and version >= (2, 6):
        listed += [
            L.Dense(4, activation=tf.nn.swish),
            L.Dense(4, activation=tf.nn.leaky_relu),
            L.Dense(4, activation="gelu"),
        ]
    return Sequential(listed + [L.Activation("hard_sigmoid"), L.GRU(3), L.Dense(1, activation="relu")]), [x3]


@case(since=(2, 0), endings=BOTH)
def stateful():
    x = dict(batch_input_shape=(4, 6, 3)) if version < (3, 0) else {}
    listed = [
        L.LSTM(4, return_sequences=True, stateful=True, unroll=True, **x),
        L.GRU(3, stateful=True, implementation=1) if version < (3, 0) else L.GRU(3, stateful=True),
        L.Dense(1),
    ]
    return Sequential(([Input(batch_shape=(4, 6, 3))] if version >= (3, 0) else []) + listed), [x3]


@case(since=(2, 0), endings=BOTH)
def norm():
    listed = [
        L.Dense(4, input_shape=(None, 3)),
        L.BatchNormalization(momentum=0.9, scale=False),
        L.BatchNormalization(axis=-1, center=False),
    ]
    if with_tf or version >= (3, 0):
        listed += [L.LayerNormalization(), L.LayerNormalization(axis=2), L.LayerNormalization(axis=[-1])]
    return Sequential(listed + [L.LSTM(3), L.Dense(1)]), [x3]


@case(since=(2, 0), endings=BOTH)
def joined():
    """Layers of two tensors and more, Lambda-free arithmetic, Permute, Reshape, RepeatVector."""
    x, s = Input((None, 3), name="x"), Input((2,), name="s")
    a, b = L.GRU(4, return_sequences=True)(x), L.Dense(4)(x)
    t = L.Average()([L.Maximum()([a, b]), L.Add()([a, b])])
    if version >= (2, 1) or with_tf:
        t = L.Subtract()([t, b])
    z = L.LSTM(4)(t)
    return Model([x, s], L.Dot(axes=1)([z, L.Reshape((4,))(L.Flatten()(L.RepeatVector(2)(s)))])), [x3, static]


@case(since=(2, 0), endings=BOTH)
def slashes():
    if version >= (3, 0):
        return None
    x = Input((None, 3), name="in/x")
    return Model(x, L.Dense(1, name="head/out")(L.LSTM(3, name="rnn/a")(L.Dense(3, name="rnn_a")(x)))), [x3]


@case(since=(2, 1), until=(2, 15), endings=("h5",))
def mixed():
    if not with_tf or version < (2, 1):
        return None
    name = "mixed_float16"
    policy = (tf.keras.mixed_precision.Policy if version >= (2, 4) else tf.keras.mixed_precision.experimental.Policy)(
        name
    )
    return Sequential(
        [
            L.LSTM(4, input_shape=(None, 3), dtype=policy, return_sequences=True),
            L.LSTM(3, dtype=policy),
            L.Dense(1, dtype="float32"),
        ]
    ), [x3]


@case(since=(2, 0), until=(2, 15), endings=("h5",))
def mixed_global():
    if not with_tf or version < (2, 4):
        return None
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        x = Input((None, 3))
        y = L.Dense(3)(L.Dense(3, activation="relu")(x) + 1.0)
        return Model(x, L.Activation("linear", dtype="float32")(L.Dense(1)(L.GRU(3)(y)))), [x3]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@case(since=(2, 0), tf_only=True, endings=BOTH)
def ops():
    """Operators and functions of TensorFlow: TFOpLambda and SlicingOpLambda, and TensorFlowOpLayer before 2.4."""
    o = tf if version < (3, 0) else None
    x, s = Input((None, 3), name="x"), Input((2,), name="s")
    if o is None:
        y = keras.ops.tanh(2.0 * x + 1.0) - x / 3.0
        z = L.LSTM(4, return_sequences=True)(y)
        return Model([x, s], L.Dense(1)(keras.ops.concatenate([z[:, -1], s[:, :1]], axis=-1))), [x3, static]
    y = tf.tanh(2.0 * x + 1.0) - x / 3.0
    y = tf.concat([y, tf.nn.relu(1.0 - x), tf.square(x[:, :, :2])], axis=-1)
    y = tf.abs(-y) * y - tf.maximum(y, 0.1)
    z = L.LSTM(4, return_sequences=True)(y)
    last = z[:, -1]
    q = tf.sigmoid(last) + tf.exp(tf.minimum(last, 1.0)) + last**2
    q = tf.concat([q, s, s[:, :1] * s[:, 1:]], -1)
    return Model([x, s], [L.Dense(1)(q), tf.nn.softmax(L.Dense(3)(q)), tf.reduce_mean(q, axis=-1, keepdims=True)]), [
        x3,
        static,
    ]


@case(since=(2, 4), until=(2, 15), tf_only=True, endings=BOTH)
def more_ops():
    x = Input((None, 3), name="x")
    pair = tf.stack([x, 2.0 * x], axis=-1)
    flat = tf.reduce_sum(pair, axis=-1)
    flat = tf.clip_by_value(flat, -1.0, 1.0) + tf.math.log(tf.math.softplus(x)) + tf.where(x > 0.0, x, tf.zeros_like(x))
    first, second, third = tf.split(flat, 3, axis=-1)
    flat = tf.concat([first, second * third, tf.cast(x[..., 0:1] > 0.0, tf.float32)], axis=2)
    y = L.GRU(4, return_sequences=True)(flat)
    y = (
        keras.activations.relu(y)
        + keras.backend.sigmoid(y)
        + tf.nn.leaky_relu(y, alpha=0.1)
        + tf.nn.elu(y)
        + tf.identity(y)
    )
    y = y * tf.constant([0.5, 1.0, 2.0, 3.0])
    y = L.LSTM(3, return_sequences=True)(y)
    y = tf.expand_dims(y, 2)
    y = tf.squeeze(y, axis=[2])
    y = tf.math.rsqrt(1.0 + tf.square(y)) * tf.sqrt(tf.abs(y) + 1.0) / (2.0 + tf.sign(y))
    return Model(x, L.Dense(1)(tf.reduce_max(y, axis=1) + tf.reduce_mean(y, 1) - tf.math.reduce_min(y, axis=[1]))), [x3]


@case(since=(2, 4), tf_only=True, endings=BOTH)
def attention():
    x = Input((6, 3), name="x")
    y = L.Dense(4)(x)
    y = L.LayerNormalization()(
        y + L.MultiHeadAttention(2, 2)(y, y) if version < (3, 0) else L.Add()([y, L.MultiHeadAttention(2, 2)(y, y)])
    )
    y = L.Attention()([y, L.LSTM(4, return_sequences=True)(y)])
    return Model(x, L.Dense(1)(L.GlobalAveragePooling1D()(y))), [x3]


@case(since=(2, 0), tf_only=True, endings=BOTH)
def dicts():
    if version < (2, 4):
        return None
    x, s = Input((None, 3), name="x"), Input((2,), name="s")
    z = L.LSTM(4)(x)
    return Model(
        {"sequence": x, "key": s},
        {"q": L.Dense(1, name="one")(z), "p": L.Dense(2, name="two")(L.Concatenate()([s, z]))},
    ), {"sequence": x3, "key": static}


@case(since=(2, 0), tf_only=True, endings=BOTH)
def deferred():
    """No input was named: the shape is known from the data."""
    model = Sequential([L.LSTM(4, return_sequences=True), L.GRU(3), L.Dense(1)])
    model(x3) if version >= (2, 2) else model.build((None, None, 3))
    return model, [x3]


@case(since=(2, 0), until=(2, 15))
def cudnn():
    layers = L if not with_tf else tf.compat.v1.keras.layers
    if not hasattr(layers, "CuDNNLSTM"):
        return None

    def build(lstm, gru):
        x = Input((None, 3))
        y = lstm(4, return_sequences=True, name="l")(x)
        y = L.TimeDistributed(L.Dense(3, name="d"), name="t")(y)
        return Model(x, L.Dense(1, name="o")(gru(3, name="g")(y)))

    if not with_tf:  # the package `keras` asks for a GPU to initialise the weights
        return None
    trained = build(layers.CuDNNLSTM, layers.CuDNNGRU)
    plain = build(
        lambda n, **k: L.LSTM(n, recurrent_activation="sigmoid", **k),
        lambda n, **k: L.GRU(n, recurrent_activation="sigmoid", reset_after=True, **k),
    )
    return trained, [x3], plain


@case(since=(2, 0), until=(2, 15), endings=("json", "yaml"))
def described():
    x = Input((None, 3), name="x")
    return Model(
        x,
        L.Dense(1)(L.GRU(3)(L.LSTM(3, return_sequences=True)(x))),
    ), [x3]


@case(until=(1, 9), endings=("json", "yaml"))
def described1():
    model = Sequential()
    model.add(L.LSTM(4, input_shape=(None, 3)))
    model.add(L.Dense(1))
    return model, [x3]


@case(since=(3, 0), endings=("json",))
def described3():
    x = Input((None, 3), name="x")
    return Model(x, L.Dense(1)(L.GRU(3)(L.LSTM(3, return_sequences=True)(x)))), [x3]


# ---------------------------------------------------------------- writing


def randomized(model):
    draw = np.random.RandomState(3)
    names = [w.name for w in model.weights]
    values = []
    for name, w in zip(names, model.get_weights()):
        v = draw.normal(size=w.shape) * 0.5
        if "var" in name or "running_std" in name or ("moving" in name and "var" in name):
            v = np.abs(v) + 0.5
        values.append(v.astype(w.dtype))
    model.set_weights(values)


def positive_variances(model):
    """Gives layers of BatchNormalization variances above zero, whatever their place among the weights."""
    for layer in getattr(model, "layers", [model]):
        inner = getattr(layer, "layer", None)
        if hasattr(layer, "layers"):
            positive_variances(layer)
        elif inner is not None and hasattr(inner, "layers"):
            positive_variances(inner)
        elif type(layer).__name__ == "BatchNormalization":
            values = layer.get_weights()
            layer.set_weights(values[:-1] + [np.abs(values[-1]) + 0.5])


def answer(model, inputs, t):
    timed = lambda a: a if a is static else a[:, :t]
    given = {k: timed(v) for k, v in inputs.items()} if isinstance(inputs, dict) else [timed(a) for a in inputs]
    if isinstance(given, list) and len(given) == 1:
        given = given[0]
    return model.predict(given, verbose=0, batch_size=4)


def write(name, made, endings):
    model, inputs = made[0], made[1]
    randomized(model)
    positive_variances(model)
    arrays = dict(inputs) if isinstance(inputs, dict) else {"x%d" % n if n else "x": a for n, a in enumerate(inputs)}
    length = next(a for a in arrays.values() if a is not static).shape[1]
    base = os.path.join(directory, label + "_" + name)
    for ending in endings:
        if ending == "json":
            with open(base + ".json", "w") as file:
                file.write(model.to_json())
            model.save_weights(base + ".weights.h5")
        elif ending == "yaml":
            try:
                text = model.to_yaml()
            except (AttributeError, RuntimeError):
                continue
            with open(base + ".yaml", "w") as file:
                file.write(text)
        else:
            kept = (
                {"include_optimizer": False}
                if ending == "h5" and version >= (2, 0) and version < (3, 0) and not (version < (2, 1))
                else {}
            )
            try:
                model.save(base + "." + ending, **kept)
            except Exception as error:
                print("  CANNOT SAVE", base + "." + ending, type(error).__name__, str(error)[:150])
    if len(made) > 2:
        made[2].load_weights(base + ".h5")
        model = made[2]
    fixed = any(
        a is not static
        and None not in [model.input_shape[1] if not isinstance(model.input_shape, (list, dict)) else None]
        for a in arrays.values()
    )
    answers = {}
    for t in [length] if fixed else range(1, length + 1):
        if any(getattr(layer, "stateful", False) for layer in model.layers) and hasattr(model, "reset_states"):
            model.reset_states()
        y = answer(model, inputs, t)
        if isinstance(y, dict):
            for k in y:
                answers["y%d_%s" % (t, k)] = y[k]
        elif isinstance(y, list):
            for n, part in enumerate(y):
                answers["y%d_%d" % (t, n)] = part
        else:
            answers["y%d" % t] = y
    np.savez_compressed(base + ".npz", **dict(answers, **arrays))


if not os.path.isdir(directory):
    os.makedirs(directory)
for name, (function, endings) in sorted(CASES.items()):
    try:
        K.clear_session()
        made = function()
        if made is not None:
            write(name, made, endings)
            print(label, name)
    except Exception as error:
        print("  FAILED", label, name, type(error).__name__, str(error)[:300])
