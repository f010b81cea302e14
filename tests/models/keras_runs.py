"""Models that are trained in Keras and here from the same weights on the same data, as functions of both's modules.

Each run gives data and a function of (layers, models, optimizers, losses) that returns a compiled model.
The numbers in tests/data/face_golden.npz come from running them in Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

B, T, F = 12, 6, 4


class Run(NamedTuple):
    x: Any
    y: Any
    build: Callable[..., Any]
    options: dict[str, Any]  #: of fit


RUNS: dict[str, Run] = {}


def data(name: str) -> np.random.Generator:
    return np.random.default_rng(sum(map(ord, name)))


def weights_for(name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """The weights that a run starts from."""
    rng = data(name + " weights")
    return [(0.4 * rng.standard_normal(shape)).astype("float32") for shape in shapes]


def allowed(model: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    """These weights, but for variances, which are above zero."""
    pairs = zip(model.weights, values, strict=True)
    return [np.abs(value) + 0.1 if "variance" in weight.path else value for weight, value in pairs]


def add(
    name: str, layers_of: Any, x: Any = None, y: Any = None, optimizer: Any = "adam", loss: Any = "mse",
    metrics: Any = None, weighted_metrics: Any = None, **options: Any,
) -> None:  # fmt: skip
    """Add a run; ``layers_of(L)`` returns the layers of a Sequential, or ``layers_of(L, M)`` a model."""
    rng = data(name)
    x = rng.standard_normal((B, T, F)).astype("float32") if x is None else x
    y = rng.standard_normal((B, 1)).astype("float32") if y is None else y

    def build(L, M, optimizers, losses):
        several = layers_of.__name__ != "<lambda>"
        model = layers_of(L, M) if several else M.Sequential([L.Input(x.shape[1:]), *layers_of(L)])
        made = optimizer(optimizers) if callable(optimizer) else optimizer
        chosen = loss(losses) if callable(loss) else loss
        model.compile(optimizer=made, loss=chosen, metrics=metrics, weighted_metrics=weighted_metrics)
        return model

    RUNS[name] = Run(x, y, build, {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0, **options})


def padded() -> np.ndarray:
    rng = data("padded")
    x = rng.standard_normal((B, T, F)).astype("float32")
    x[np.arange(T) >= rng.integers(1, T + 1, B)[:, None]] = 0
    return x


def with_gaps() -> np.ndarray:
    rng = data("gaps")
    x = rng.standard_normal((B, T, F)).astype("float32")
    x[rng.random((B, T)) < 0.35] = 0
    return x


def tokens() -> np.ndarray:
    rng = data("tokens")
    x = rng.integers(1, 9, (B, T))
    x[np.arange(T) >= rng.integers(1, T + 1, B)[:, None]] = 0
    return x


STEPS = data("steps").standard_normal((B, T, 1)).astype("float32")
CLASSES = data("classes").integers(0, 3, B)
STEP_CLASSES = data("step classes").integers(0, 3, (B, T))
ONE_HOT = np.eye(3, dtype="float32")[CLASSES]
YES = (CLASSES > 0).astype("float32")[:, None]

# ---- the listing of the issue, and others of its kind
_listing = data("listing")
add(
    "listing",
    lambda L: [L.LSTM(64, return_sequences=False), L.Dense(1)],
    _listing.standard_normal((32, 50, 16)).astype("float32"),
    _listing.standard_normal((32, 1)).astype("float32"),
    batch_size=32,
)
for _kind in ("LSTM", "GRU", "SimpleRNN"):
    add(f"{_kind} stacked", lambda L, k=_kind: [getattr(L, k)(5, return_sequences=True), getattr(L, k)(3), L.Dense(1)])
    add(f"{_kind} backwards", lambda L, k=_kind: [getattr(L, k)(5, go_backwards=True), L.Dense(1)])
    add(
        f"{_kind} gaps",
        lambda L, k=_kind: [
            L.Masking(0.0), getattr(L, k)(5, return_sequences=True), getattr(L, k)(3, zero_output_for_mask=True),
            L.Dense(1),
        ],
        with_gaps(),
    )  # fmt: skip
    add(
        f"{_kind} bidirectional",
        lambda L, k=_kind: [L.Masking(0.0), L.Bidirectional(getattr(L, k)(3, return_sequences=True)), L.Dense(1)],
        padded(),
        STEPS,
    )
add("LSTM no bias", lambda L: [L.LSTM(5, use_bias=False), L.Dense(1, use_bias=False)])
add("LSTM relu", lambda L: [L.LSTM(5, activation="relu"), L.Dense(1)])
add("SimpleRNN relu", lambda L: [L.SimpleRNN(5, activation="relu"), L.Dense(1)])
for _mode in ("sum", "ave", "mul"):
    add(f"merge {_mode}", lambda L, m=_mode: [L.Bidirectional(L.LSTM(3), merge_mode=m), L.Dense(1)])

# ---- optimisers
for _name in ("sgd", "rmsprop", "adamw", "nadam", "adagrad", "lion"):
    add(f"optimizer {_name}", lambda L: [L.LSTM(5), L.Dense(1)], optimizer=_name)
_small = lambda L: [L.LSTM(5), L.Dense(1)]  # noqa: E731
add("Adam options", _small, optimizer=lambda P: P.Adam(learning_rate=0.05, beta_1=0.8, epsilon=1e-3, amsgrad=True))
add("SGD options", _small, optimizer=lambda P: P.SGD(learning_rate=0.05, momentum=0.9, nesterov=True))
add("RMSprop options", _small, optimizer=lambda P: P.RMSprop(learning_rate=0.01, momentum=0.5, centered=True))
for _schedule in (
    ("ExponentialDecay", 0.05, 4, 0.5), ("InverseTimeDecay", 0.05, 3, 0.5, True), ("CosineDecay", 0.05, 6, 0.1),
    ("PiecewiseConstantDecay", [2, 5], [0.05, 0.02, 0.001]), ("PolynomialDecay", 0.05, 4, 0.01, 2.0, True),
):  # fmt: skip
    add(f"schedule {_schedule[0]}", _small,
        optimizer=lambda P, s=_schedule: P.Adam(getattr(P.schedules, s[0])(*s[1:])))  # fmt: skip
for _name, _rest in (
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("RMSprop", {"momentum": 0.5}),
):
    add(f"schedule of momentum {_name} {len(_rest)}", _small,
        optimizer=lambda P, n=_name, o=_rest: getattr(P, n)(P.schedules.InverseTimeDecay(0.02, 2, 1), **o))  # fmt: skip
add("clipnorm", _small, optimizer=lambda P: P.Adam(clipnorm=0.01))
add("global_clipnorm", _small, optimizer=lambda P: P.SGD(global_clipnorm=0.05))
add("clipvalue", _small, optimizer=lambda P: P.SGD(clipvalue=0.01))

# ---- losses, metrics, weights
_positive = (np.abs(data("positive").standard_normal((B, 1))) + 0.5).astype("float32")
for _name in ("mae", "huber", "mape", "msle", "log_cosh"):
    add(f"loss {_name}", _small, y=_positive, loss=_name)
add("losses of directions", _small, y=np.sign(data("signs").standard_normal((B, 1))).astype("float32"), loss="hinge",
    metrics=["squared_hinge", "cosine_similarity", "mape"])  # fmt: skip
add("loss poisson", lambda L: [L.LSTM(5), L.Dense(1, "softplus")], y=_positive, loss="poisson",
    metrics=["poisson", "msle", "MSE"])  # fmt: skip
add("loss cosine", lambda L: [L.GRU(5), L.Dense(3)], y=np.tile(_positive, (1, 3)), loss="cosine_similarity")
_classes = lambda L: [L.LSTM(5), L.Dense(3, activation="softmax")]  # noqa: E731
add("sparse classes", _classes, y=CLASSES, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
add("one-hot classes", _classes, y=ONE_HOT, loss="categorical_crossentropy", metrics=["accuracy"])
add("smooth logits", lambda L: [L.LSTM(5), L.Dense(3)], y=ONE_HOT,
    loss=lambda S: S.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1))  # fmt: skip
add("sparse logits", lambda L: [L.LSTM(5), L.Dense(3)], y=CLASSES,
    loss=lambda S: S.SparseCategoricalCrossentropy(from_logits=True))  # fmt: skip
add("yes or no", lambda L: [L.LSTM(5), L.Dense(1, activation="sigmoid")], y=YES, loss="binary_crossentropy",
    metrics=["accuracy"])  # fmt: skip
add("yes or no from probabilities", lambda L: [L.LSTM(5), L.Dense(1, activation="sigmoid"), L.Reshape((1,))], y=YES,
    loss="binary_crossentropy")  # fmt: skip
_factors = data("factors").random(B).astype("float32")
add("sample_weight", _small, sample_weight=_factors)
add("sample_weight of steps", lambda L: [L.Masking(), L.LSTM(5, return_sequences=True), L.Dense(1)], with_gaps(), STEPS,
    sample_weight=data("step factors").random((B, T)).astype("float32"))  # fmt: skip
add("loss divergence", _classes, y=np.abs(0.9 * ONE_HOT - 0.05), loss="kl_divergence",
    metrics=["kl_divergence", "categorical_crossentropy"])  # fmt: skip
add("loss categorical hinge", _classes, y=ONE_HOT, loss="categorical_hinge", metrics=["categorical_hinge"])
add("counted", lambda L: [L.LSTM(5), L.Dense(1, activation="sigmoid")], y=YES, loss="bce",
    metrics=["AUC", "Precision", "Recall", "binary_crossentropy"])  # fmt: skip
add("weighted metrics", lambda L: [L.LSTM(5), L.Dense(1, activation="sigmoid")], y=YES, loss="bce",
    metrics=["accuracy", "mae"], weighted_metrics=["mae", "AUC", "Precision", "binary_accuracy", "mse"],
    sample_weight=np.linspace(0.2, 2, B).astype("float32"))  # fmt: skip
add("class_weight", _classes, y=CLASSES, loss="sparse_categorical_crossentropy", class_weight={0: 1.0, 1: 5.0, 2: 0.5})
add("validation_split", _small, validation_split=0.3, metrics=["mae"])
_held = data("held out")
add("validation_data", _small, metrics=["mse"], validation_data=(
    _held.standard_normal((5, T, F)).astype("float32"), _held.standard_normal((5, 1)).astype("float32")))  # fmt: skip
add("regularizers", lambda L: [
    L.LSTM(5, kernel_regularizer="l2", recurrent_regularizer="l1", bias_regularizer="l2"),
    L.Dense(1, kernel_regularizer="l1")])  # fmt: skip

# ---- other layers
add("convolutions", lambda L: [
    L.Conv1D(4, 3, padding="same", activation="relu"), L.Conv1D(4, 2, padding="causal", dilation_rate=2),
    L.Conv1D(4, 3, strides=2, padding="same"), L.Conv1D(3, 2), L.GlobalAveragePooling1D(), L.Dense(1)])  # fmt: skip
add("normalization", lambda L: [
    L.LayerNormalization(), L.LSTM(5, return_sequences=True), L.LayerNormalization(scale=False),
    L.LayerNormalization(center=False, epsilon=1e-5), L.Dense(1)], y=STEPS)  # fmt: skip
add("masked mean", lambda L: [
    L.Masking(), L.LSTM(5, return_sequences=True), L.GlobalAveragePooling1D(), L.Dense(1)], with_gaps())  # fmt: skip
for _name in ("relu", "gelu", "elu", "silu", "leaky_relu", "softplus", "log_softmax"):
    add(f"activation {_name}", lambda L, a=_name: [L.Dense(5, activation=a), L.LSTM(3), L.Dense(1), L.Flatten()])
add("embedding", lambda L: [L.Embedding(9, 5, mask_zero=True), L.LSTM(5), L.Dense(3, activation="softmax")],
    tokens(), CLASSES, loss="sparse_categorical_crossentropy", metrics=["accuracy"])  # fmt: skip
add("embedding, tags", lambda L: [
    L.Embedding(9, 5, mask_zero=True), L.Bidirectional(L.LSTM(4, return_sequences=True)),
    L.TimeDistributed(L.Dense(3, activation="softmax"))],
    tokens(), STEP_CLASSES, loss="sparse_categorical_crossentropy")  # fmt: skip


# ---- functional models
def attention(L, M):
    i = L.Input((T, F))
    h = L.MultiHeadAttention(2, 3, value_dim=4)(i, i, use_causal_mask=True)
    h = L.LayerNormalization()(L.Add()([i, h]))
    return M.Model(i, L.Dense(1)(L.GlobalAveragePooling1D()(h)))


def attention_with_masks(L, M):
    i = L.Input((T,))
    e = L.Embedding(9, 6, mask_zero=True)(i)
    h = L.MultiHeadAttention(3, 2, output_shape=5)(e, e, e)
    return M.Model(i, L.Dense(1)(L.LSTM(3)(h)))


def two_outputs(L, M):
    i = L.Input((T, F))
    h = L.LSTM(4)(i)
    first = L.Dense(2, name="first")(h)
    second = L.Dense(1, activation="sigmoid", name="second")(L.Concatenate()([h, first]))
    return M.Model(i, [first, second])


def encoder_decoder(L, M):
    i = L.Input((None, F))
    _, h, c = L.LSTM(4, return_state=True)(i)
    o = L.LSTM(4, return_sequences=True)(L.RepeatVector(T)(h), initial_state=[h, c])
    return M.Model(i, L.TimeDistributed(L.Dense(1))(o))


def bidirectional_states(L, M):
    i = L.Input((T, F))
    o, a, _, _, d = L.Bidirectional(L.LSTM(4, return_state=True))(i)
    return M.Model(i, L.Dense(1)(L.Concatenate()([o, a, d])))


def shared_layer(L, M):
    i = L.Input((T, F))
    lstm, dense = L.LSTM(4, return_sequences=True), L.Dense(F)
    return M.Model(i, L.Dense(1)(L.Flatten()(lstm(dense(lstm(i))))))


def nested(L, M):
    inner = M.Sequential([L.Input((T, F)), L.LSTM(4, return_sequences=True)])
    i = L.Input((T, F))
    return M.Model(i, L.Dense(1)(L.GlobalAveragePooling1D()(inner(L.Masking()(i)))))


add("constraints", lambda L: [
    L.LSTM(4, kernel_constraint="unit_norm", recurrent_constraint="max_norm", bias_constraint="non_neg"),
    L.Dense(3, kernel_constraint="min_max_norm"), L.Dense(1, kernel_constraint="non_neg")])  # fmt: skip
add("activity", lambda L: [
    L.GRU(4, activity_regularizer="l2", return_sequences=True), L.Dense(3, "tanh", activity_regularizer="l1"),
    L.GlobalAveragePooling1D(), L.Dense(1)])  # fmt: skip
add("cells", lambda L: [L.RNN([L.LSTMCell(4), L.GRUCell(3)], return_sequences=True), L.RNN(L.SimpleRNNCell(3)),
                        L.Dense(1)], with_gaps())  # fmt: skip
add("attention", attention)
add("embedding, attention", attention_with_masks, tokens())
add("two outputs", two_outputs, y=[np.concatenate([YES, 1 - YES], 1), YES], loss=["mse", "binary_crossentropy"],
    metrics=[["mae"], ["accuracy"]])  # fmt: skip
add("encoder-decoder", encoder_decoder, y=STEPS)
add("bidirectional states", bidirectional_states)
add("shared layer", shared_layer)
add("nested", nested, with_gaps())


# ---- convolution, pooling and normalisation before and behind recurrent layers
def dotted(L, M):
    i = L.Input((T, F))
    h = L.LSTM(4, return_sequences=True)(i)
    scores = L.Dense(1, activation="tanh")(h)
    weights = L.Softmax(axis=1)(scores)
    return M.Model(i, L.Dense(1)(L.Flatten()(L.Dot(axes=(1, 1))([weights, h]))))


def attending(L, M):
    i = L.Input((T, F))
    h = L.Masking()(i)
    h = L.LSTM(4, return_sequences=True)(h)
    q = L.GRU(4, return_sequences=True)(h)
    both = L.Concatenate()([L.Attention(use_scale=True)([q, h]), L.AdditiveAttention()([q, h])])
    return M.Model(i, L.Dense(1)(L.GlobalMaxPooling1D()(L.Lambda(lambda x: x)(both))))


add("CNN-LSTM", lambda L: [
    L.Conv1D(5, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling1D(2), L.LSTM(4),
    L.Dense(1)])  # fmt: skip
add("windows by windows", lambda L: [
    L.Reshape((2, 3, F)), L.TimeDistributed(L.Conv1D(3, 2, activation="relu")), L.TimeDistributed(L.MaxPooling1D(2)),
    L.TimeDistributed(L.Flatten()), L.LSTM(4, activation="relu"), L.Dense(1)])  # fmt: skip
add("normalised over batches", lambda L: [
    L.BatchNormalization(momentum=0.8), L.LSTM(4, return_sequences=True), L.BatchNormalization(momentum=0.5),
    L.GRU(3), L.BatchNormalization(scale=False, momentum=0.9), L.Dense(1)])  # fmt: skip
add("normalised over what counts", lambda L: [
    L.Masking(), L.BatchNormalization(momentum=0.7), L.LSTM(4, return_sequences=True),
    L.BatchNormalization(center=False, beta_regularizer="l2", gamma_regularizer="l2"), L.LSTM(3), L.Dense(1)],
    with_gaps())  # fmt: skip
add("sizes changed", lambda L: [
    L.ZeroPadding1D((1, 2)), L.Conv1D(4, 3, strides=2, padding="causal"), L.LeakyReLU(), L.UpSampling1D(2),
    L.AveragePooling1D(3, 2, "same"), L.PReLU(shared_axes=[1]), L.Cropping1D((1, 0)), L.Permute((2, 1)),
    L.SimpleRNN(4), L.ELU(), L.ReLU(max_value=1.0, negative_slope=0.1), L.Dense(1)])  # fmt: skip


def named_outputs(L, M):
    i = L.Input((T, F))
    h = L.GRU(4)(i)
    return M.Model(i, {"second": L.Dense(1)(h), "first": L.Dense(2)(h)})


add("weighted sum", dotted)
add("GRU clipnorm", lambda L: [L.GRU(5), L.Dense(1)], optimizer=lambda P: P.SGD(0.3, clipnorm=0.2))
add("outputs by name", named_outputs, y={"first": ONE_HOT[:, :2], "second": YES}, loss="mse",
    metrics={"second": ["mae"]})  # fmt: skip
add("attention without projections", attending, padded())


def run(name: str, layers: Any, models: Any, optimizers: Any, losses: Any) -> dict[str, np.ndarray]:
    """Train a run's model; return what is compared: predictions, history, evaluation, weights."""
    one = RUNS[name]
    model = one.build(layers, models, optimizers, losses)
    model.set_weights(allowed(model, weights_for(name, [np.shape(weight) for weight in model.get_weights()])))
    before = model.predict(one.x, verbose=0)
    history = model.fit(one.x, one.y, **one.options).history
    found = {f"history {key}": np.asarray(values) for key, values in history.items()}
    if isinstance(before, dict):
        before = [before[name] for name in sorted(before)]
    for k, array in enumerate(before if isinstance(before, list) else [before]):
        found[f"prediction {k}"] = np.asarray(array)
    evaluation = model.evaluate(one.x, one.y, batch_size=5, verbose=0, return_dict=True)
    found |= {f"evaluation {key}": np.asarray(value) for key, value in evaluation.items()}
    if name != "listing":  # its 20,000 weights would fill the file
        for k, weight in enumerate(model.get_weights()):
            found[f"weight {k}"] = np.asarray(weight)
    return found
