"""The demo from beginning to end; everything that it prints was computed in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastseq as fs
from fastseq import jit, nn
from fastseq.checks import require
from fastseq.cli.demo import meter as data
from fastseq.cli.demo.network import Learned, learn, rehearse
from fastseq.cli.demo.plots import plot_forecasts, plot_learning_curve
from fastseq.cli.demo.rivals import rival_forecasts
from fastseq.forecasting import Windows, mae, mase, rmse, smape
from fastseq.scoring import score

_MODEL_NAME = "fastseq LSTM"


def tell(output: str, *, epochs: int, seed: int) -> None:
    """Run the demo: learn, compare, plot, save, load, score, stream.

    Parameters
    ----------
    output
        Folder to write to, made if missing.
    epochs
        Passes over the training data.
    seed
        Seed of weights and of the order of batches.
    """
    console = require("rich.console", "demo").Console(highlight=False, soft_wrap=True)
    for module in ("pyarrow", "matplotlib", "sklearn"):  # say so before a minute is spent
        require(module, "demo")
    begin = time.perf_counter()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)

    _title(console, "The data")
    meter = data.load_meter()
    _describe_data(console.print, meter)

    threads = jit.get_num_threads()
    _title(console, f"Learning on {threads} {'thread' if threads == 1 else 'threads'}")
    folder_of_kernels = jit.cache_folder()
    console.print("Compiling kernels, or loading them where an earlier run has kept them ...")
    console.print(
        f"... ready in {rehearse(meter):.1f} s, kept in {folder_of_kernels or 'memory: no folder is writable'}"
    )
    learned = learn(meter, epochs=epochs, seed=seed)
    console.print(repr(learned.model))
    console.print(
        f"{learned.model.num_parameters():,} weights, {learned.windows:,} windows of {data.HISTORY} hours: "
        f"{learned.seconds:.1f} s for {len(learned.training_mae)} epochs; "
        f"epoch {learned.best_epoch} was best on the validation weeks and is kept"
    )

    _title(console, f"Comparison on the last {data.HOLDOUT // data.WEEK} weeks, which nothing above has seen")
    holdout = meter.holdout_windows()
    forecasts = rival_forecasts(meter, holdout.origins)
    forecasts[_MODEL_NAME] = predictions = last_step(learned.model, holdout.inputs)
    console.print(_table(meter, holdout, forecasts))

    _title(console, "Pictures")
    _draw(console.print, folder, meter, holdout, forecasts, learned)

    _title(console, "Save, load, score a Parquet file")
    loaded = _save_and_score(console.print, folder, meter, holdout, predictions, learned.model)

    _title(console, "One observation at a time")
    _stream(console.print, meter, loaded)

    console.print(f"\nDone in {time.perf_counter() - begin:.1f} s.")


def last_step(model: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the forecasts that follow the last step of each history.

    Parameters
    ----------
    model
        Gives a forecast per step (W, T, 24).
    inputs
        Histories (W, T, F).
    """
    model.eval()
    with fs.no_grad():
        return np.ascontiguousarray(model(np.ascontiguousarray(inputs)).numpy()[:, -1])


def _title(console: Any, text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}", align="left")


def _describe_data(say: Callable[[str], None], meter: data.Meter) -> None:
    days = np.datetime_as_string(meter.ds, "D")
    say(f"Electricity of one household near Paris, {len(meter.ds):,} hours, {days[0]} to {days[-1]}.")
    say(f"Source: {meter.source} (CC BY 4.0).")
    weeks = meter.validation
    say(
        f"Held out: the last {data.HOLDOUT // data.WEEK} weeks, from {days[meter.holdout_start]}. Epoch chosen on: "
        f"the same weeks a year earlier, {days[weeks.start]} to {days[weeks.stop - 1]}. Learnt from: all the rest."
    )
    say(
        f"In: {data.HISTORY // data.DAY} days of hourly log power, hour and weekday as sine and cosine. "
        f"Out: the mean power of the next {data.HORIZON} hours in kW."
    )


def _table(meter: data.Meter, holdout: Windows, forecasts: dict[str, NDArray[Any]]) -> Any:
    """Return the table of errors, the best of each column in bold."""
    measures: dict[str, Callable[[NDArray[Any]], float]] = {
        "MAE (kW)": lambda forecast: mae(holdout.targets, forecast),
        "RMSE (kW)": lambda forecast: rmse(holdout.targets, forecast),
        "MASE": lambda forecast: mase(holdout.targets, forecast, meter.power[: meter.holdout_start], data.DAY),
        "sMAPE": lambda forecast: smape(holdout.targets, forecast),
    }
    rows = {name: [measure(forecast) for measure in measures.values()] for name, forecast in forecasts.items()}
    best = np.min(list(rows.values()), axis=0)
    table = require("rich.table", "demo").Table(
        caption=f"{len(holdout.origins)} forecasts of 24 hours, one a day. MASE: MAE over that of the same hour "
        "yesterday in all of the past. sMAPE: mean of |error| / (|y| + |forecast|), from 0 to 1.",
        caption_justify="left",
    )
    table.add_column("forecast")
    for name in measures:
        table.add_column(name, justify="right")
    for name, values in rows.items():
        cells = [f"[bold]{v:.3f}[/bold]" if v == low else f"{v:.3f}" for v, low in zip(values, best, strict=True)]
        table.add_row(name, *cells)
    return table


def _draw(
    say: Callable[[str], None],
    folder: Path,
    meter: data.Meter,
    holdout: Windows,
    forecasts: dict[str, NDArray[Any]],
    learned: Learned,
) -> None:
    rival = "same hour last week"
    path = folder / "forecast.png"
    plot_forecasts(path, meter.ds[holdout.origins], holdout.targets, forecasts[_MODEL_NAME], forecasts[rival], rival)
    say(f"{path}: the first week of the hold-out")
    path = folder / "learning_curve.png"
    plot_learning_curve(
        path,
        learned.training_mae,
        learned.validation_mae,
        learned.best_epoch,
        "same hour yesterday",
        learned.yesterday_mae,
    )
    say(f"{path}: error by epoch")


def _save_and_score(
    say: Callable[[str], None],
    folder: Path,
    meter: data.Meter,
    holdout: Windows,
    predictions: NDArray[np.float32],
    model: nn.Module,
) -> nn.Module:
    """Write model and hold-out windows, score the file with the saved model and compare bit by bit."""
    parquet = require("pyarrow.parquet", "demo")
    model_path, table_path, scored_path = (
        folder / name for name in ("model.safetensors", "holdout.parquet", "predictions.parquet")
    )
    fs.save(model, model_path)
    loaded = fs.load(model_path)
    parquet.write_table(data.long_format(meter, holdout), table_path)
    summary = score(model_path, table_path, scored_path, progress=False)
    scored = parquet.read_table(scored_path)
    columns = np.stack([scored[f"prediction_{hour}"].to_numpy() for hour in range(data.HORIZON)], axis=1)
    if not np.array_equal(columns, predictions) or not np.array_equal(last_step(loaded, holdout.inputs), predictions):
        raise RuntimeError("the scored file differs from the forecasts in memory: please report this as a bug")
    say(f"{model_path}: {model_path.stat().st_size / 1024:.0f} KiB, architecture and weights, scaling included")
    say(f"fastseq score {model_path} {table_path} -o {scored_path}")
    say(
        f"{summary.series} series, {summary.rows:,} rows in {summary.seconds:.3f} s "
        f"({summary.rows_per_second:,.0f} rows per second); the same bits as the forecasts above"
    )
    return loaded


def _stream(say: Callable[[str], None], meter: data.Meter, model: nn.Module) -> None:
    """Feed a week as warm-up and then a day, hour by hour; compare with the batch, bit by bit."""
    start = meter.holdout_start
    hours = np.ascontiguousarray(meter.features[start : start + data.HISTORY + data.DAY])
    stream = fs.Stream(model)
    seconds, streamed = [], []
    for hour in hours:
        before = time.perf_counter()
        forecast = stream.step(hour)
        seconds.append(time.perf_counter() - before)
        streamed.append(forecast.copy())
    with fs.no_grad():
        batch = model(hours[None]).numpy()[0]
    if not np.array_equal(np.stack(streamed), batch):
        raise RuntimeError("the streamed forecasts differ from those of the batch: please report this as a bug")
    day = np.array(seconds[data.HISTORY :]) * 1e6
    say(
        f"{data.DAY} hours, each with a new forecast of the next {data.HORIZON}: median {np.median(day):.1f} us per "
        f"step, {np.quantile(day, 0.9):.1f} us at most in nine of ten; the same bits as in one batch"
    )
