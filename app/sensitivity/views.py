"""What a sweep has found: surface and contour with sliders that read them, curves, bars; points and CSV."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st

from app import cache
from app.figures import sensitivity as figures
from app.kit.names import config_label, run_label
from app.kit.palette import loss_color
from app.kit.pictures import pictures
from app.kit.steady import steady_chart
from app.kit.words import plain
from app.mechanism.settings import NAMES
from app.sensitivity import maps
from core.errors import MaclError
from core.experiments.surface import Cell, between, cells, matrix, nearest
from core.experiments.sweep import Point, Sweep
from core.losses import Value, spec_of
from core.mechanism import table_csv
from core.metrics import METRICS
from core.runs import Run

NAMED = 4  # runs that a message names
SYMBOLS = {"alpha": "α", "beta": "β", "tau": "τ", "lr": "learning rate"} | NAMES


def title_of(name: str) -> str:
    """Title of an axis on the page."""
    return SYMBOLS.get(name, name.replace("_", " "))


def text_of(value: Value) -> str:
    """Text of a value of an axis on the page."""
    if isinstance(value, str):
        with suppress(ValueError):
            return spec_of(value).title
    return f"{value:g}" if isinstance(value, float) else str(value)


def show(sweep: Sweep, pairs: Sequence[tuple[Point, Run | None]], metric: str) -> None:
    """The figure that fits the axes, a table of its points, and CSV.

    Args:
        sweep: The chosen one.
        pairs: Its points with their runs.
        metric: Key of the metric.
    """
    if missing := [config_label(point.config) for point, run in pairs if run is None]:
        more = f", and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        st.warning(plain(f"Not here (any more): {', '.join(missing[:NAMED])}{more}. Continue trains them."))
    done, scores, damaged = [], {}, []
    for point, run in pairs:
        if run is not None and cache.state(run) == "finished":
            try:
                scores[run.id] = cache.scores(run)["metrics"]
                done.append((point, run))
            except MaclError as error:
                damaged.append(str(error))
    if damaged:
        st.warning(plain("\n\n".join(f"Left out: {one}" for one in dict.fromkeys(damaged))))
    if not done:
        st.info("Its first run has not finished yet.")
        return
    all_cells = cells(done, scores, metric)
    if not all_cells:
        why = "no test image can query"
        if any(metric not in run_scores for run_scores in scores.values()):
            why = "it was not computed when these runs were scored"
        st.info(f"{METRICS[metric]} has no value here: {why}. Choose another metric.")
        return
    shown_cells, axes = _cut(sweep, all_cells)
    numeric = [name for name in axes if _numeric(sweep.axes[name])]
    if len(axes) == 2 and len(numeric) == 2:
        _read(sweep, shown_cells, (axes[0], axes[1]), metric)
    elif len(numeric) == 1 and len(sweep.axes[numeric[0]]) > 3:
        axis = numeric[0]
        by = next((name for name in axes if name != axis), None)
        colors: dict[object, str] = {str(key): loss_color(str(key)) for key in sweep.axes.get("loss", ())}
        figure = figures.curve(shown_cells, axis, by, (title_of(axis), METRICS[metric]), colors, text_of)
        steady_chart(figure, "sw_curve", f"{METRICS[metric]} over {title_of(axis)}")
    elif axes:
        axis = next((name for name in axes if name not in numeric), axes[0])
        by = next((name for name in axes if name != axis), None)
        titles = (title_of(axis), title_of(by or axis), METRICS[metric])
        figure = figures.bars(shown_cells, axis, by, titles, text_of)
        steady_chart(figure, "sw_bars", f"{METRICS[metric]} by {', '.join(title_of(name) for name in axes)}")
    _points(sweep, shown_cells, all_cells, metric)


def _numeric(values: Sequence[Value]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _cut(sweep: Sweep, cells: Sequence[Cell]) -> tuple[list[Cell], list[str]]:
    """Cells over two axes at most; every other axis is held at a value that a person chooses."""
    axes, remaining = sweep.shown, list(cells)
    for name in axes[2:]:
        value = st.selectbox(
            plain(title_of(name)),
            sweep.axes[name],
            key=f"sw_cut_{name}",
            format_func=text_of,
            width=200,
            persist_state="session",
        )
        remaining = [cell for cell in remaining if cell.at[name] == value]
    return remaining, axes[:2]


@st.fragment
def _read(sweep: Sweep, shown_cells: Sequence[Cell], axes: tuple[str, str], metric: str) -> None:
    """Surface and contour, sliders that read between their points, and the maps for the same values."""
    started = time.perf_counter()
    if any(cache.gone(run) for cell in shown_cells for run in cell.runs):
        st.rerun()  # the whole page, which names them
    x_name, y_name = axes
    xs, ys = (sorted(float(value) for value in sweep.axes[name]) for name in axes)
    means, _ = matrix(shown_cells, x_name, y_name, xs, ys)
    spreads = {(cell.at[x_name], cell.at[y_name]): figures.spread(cell) for cell in shown_cells}
    notes = [[spreads.get((x, y), "") for x in xs] for y in ys]
    left, right, text_column = st.columns([3, 3, 5], gap="medium", vertical_alignment="center")
    x = _slider(left, x_name, xs)
    y = _slider(right, y_name, ys)
    height = between(xs, ys, means, x, y)
    column, row = nearest(xs, ys, x, y)
    cell = next((c for c in shown_cells if (c.at[x_name], c.at[y_name]) == (xs[column], ys[row])), None)
    with text_column:
        _reading(height, metric, cell, axes, (x, y) == (xs[column], ys[row]))
    titles = (title_of(x_name), title_of(y_name), METRICS[metric])
    solid, flat = st.columns(2)
    with solid:
        figure = figures.surface(xs, ys, means, notes, titles, (x, y, height))
        steady_chart(figure, "sw_surface", f"{METRICS[metric]} over {titles[0]} and {titles[1]} as a surface")
    with flat:
        figure = figures.contour(xs, ys, means, notes, titles, (x, y, height))
        steady_chart(figure, "sw_contour", f"{METRICS[metric]} over {titles[0]} and {titles[1]} from above")
    _maps(shown_cells, {x_name: x, y_name: y})
    st.session_state["sw_ms"] = 1000 * (time.perf_counter() - started)


def _slider(column: Any, name: str, values: Sequence[float]) -> float:
    low, high = values[0], values[-1]
    step = round((high - low) / 60, 6) or 0.01
    key = f"sw_at_{name}"
    if key in st.session_state and not low <= st.session_state[key] <= high:
        del st.session_state[key]
    start = values[len(values) // 2]
    return float(
        column.slider(
            plain(title_of(name)), low, high, start, step, key=key, format="%.3g", persist_state="session"
        )
    )


def _reading(height: float, metric: str, cell: Cell | None, axes: tuple[str, str], trained: bool) -> None:
    """Value of the surface at the sliders, and the nearest trained runs."""
    if height != height:
        st.markdown(f"{METRICS[metric]}: not known here, a neighbour has not finished.")
    else:
        how = "trained" if trained else "read between trained points"
        st.markdown(f"{METRICS[metric]} **{height:.2f} %** · {how}")
    if cell is None:
        return
    point = plain(", ".join(f"{title_of(name)} {text_of(cell.at[name])}" for name in axes))
    ids = [run.id for run in cell.runs]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"nearest trained: {point}: {cell.mean:.2f} % ({plain(figures.spread(cell))})", width="content"
        )
        st.page_link("../pages/retrieval.py", label="its images", query_params={"runs": ids[:1]})
        st.page_link("../pages/train.py", label="its runs", query_params={"runs": ids})


def _maps(shown_cells: Sequence[Cell], at: Mapping[str, float]) -> None:
    """T and w for the values of the sliders, where these are parameters of the loss."""
    if not shown_cells:
        return
    config = cache.config(shown_cells[0].runs[0])  # of the slice that is shown
    known = {p.name for p in spec_of(config.loss).parameters}
    if not set(at) & known:
        return
    params = {**config.params, **{k: v for k, v in at.items() if k in known}}
    try:
        moved = config.model_copy(update={"params": params})
        images = pictures(config)
        if images is not None:
            maps.draw_maps(maps.batch_of(shown_cells[0].runs[0], config, images), moved, "sw_maps")
    except MaclError as error:
        st.caption(f"No maps: {plain(error)}")


def _points(sweep: Sweep, shown_cells: Sequence[Cell], all_cells: Sequence[Cell], metric: str) -> None:
    """The points shown, with links to their runs; all metrics of every point as CSV."""
    names = [name for name in sweep.axes if name != "seed"]
    ordered = sorted(shown_cells, key=lambda cell: -cell.mean)
    with st.expander(f"Points, best first ({len(ordered)})", key="sw_points_open"):
        frame = pd.DataFrame(
            [
                {title_of(name): text_of(cell.at[name]) for name in names if name in cell.at}
                | {METRICS[metric]: cell.mean, "±": cell.spread, "seeds": len(cell.values)}
                for cell in ordered
            ]
        )
        number = st.column_config.NumberColumn(format="%.2f")
        chosen = st.dataframe(
            frame, hide_index=True, on_select="rerun", selection_mode="multi-row", key="sw_points",
            column_config={METRICS[metric]: number, "±": number}, height=280,
            alt="Points of the sweep; tick some to open their runs",
        )  # fmt: skip
        rows = [row for row in chosen["selection"]["rows"] if row < len(ordered)]
        runs = [run for row in rows for run in ordered[row].runs]
        with st.container(horizontal=True, vertical_alignment="center"):
            if runs:
                firsts = [ordered[row].runs[0].id for row in rows]
                st.page_link("../pages/retrieval.py", label="Images retrieved", query_params={"runs": firsts})
                st.page_link("../pages/train.py", label="Curves", query_params={"runs": [r.id for r in runs]})
                st.page_link(
                    "../pages/compare.py", label="Scores", query_params={"runs": [r.id for r in runs]}
                )
            else:
                st.caption("Tick points to see what they retrieve.", width="content")
            st.download_button(
                "CSV", lambda: csv(sweep, all_cells), "sweep.csv", "text/csv", on_click="ignore",
                help="Every run with its settings and all metrics, unrounded",
            )  # fmt: skip


def csv(sweep: Sweep, found: Sequence[Cell]) -> str:
    """One line per run: its place on the axes, seed, all metrics as fractions, and its name."""
    names = [name for name in sweep.axes if name != "seed"]
    rows = [
        [*(cell.at.get(name, "") for name in names), cache.config(run).seed]
        + [cache.scores(run)["metrics"].get(key) for key in METRICS]
        + [run.id, run_label(run)]
        for cell in found
        for run in cell.runs
    ]
    head = [*names, "seed", *METRICS, "run", "label"]
    return table_csv(head, list(zip(*rows, strict=True)) if rows else [[] for _ in head])
