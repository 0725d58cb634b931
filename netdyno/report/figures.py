"""The report's figures: Plotly figures without colours of text, which the page sets for light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from netdyno.nas.search.front import Front
from netdyno.report.breakdown import Part

Floats = NDArray[np.float64]

PREDICTED = "#5b86c4"
MEASURED = "#e0803c"
FAINT = "rgba(128, 136, 148, 0.28)"
UNITS = ("#a5d8cf", "#62bcb4", "#2f9a9f", "#2f7499", "#5163a6", "#7a5aa0", "#a0587f")
SERIES = ("#5b86c4", "#e0803c", "#2f9a9f", "#a0587f", "#8a9a3b", "#7a5aa0", "#7d8997", "#c7544f")
MANY = 100
"""Evaluations from which on their axis is logarithmic."""
STAGES = {"overhead": "#b4bac2", "stem": "#7d8997", "head": "#e0a15c"}


@dataclass(frozen=True)
class Axis:
    """How an objective is shown: values times ``scale`` plus ``offset``, in ``unit``."""

    title: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0

    def __call__(self, values: Floats) -> Floats:
        """Objective values, as a front holds them, in the axis' own unit."""
        return np.asarray(values, np.float64) * self.scale + self.offset

    def __str__(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


AXES = {
    "latency_ms": Axis("Latency", "ms"),
    "energy_mj": Axis("Energy", "mJ"),
    "error_pct": Axis("Accuracy", "%", -1.0, 100.0),
    "memory_bytes": Axis("Memory", "MB", 1e-6),
    "peak_activation_bytes": Axis("Peak activation memory", "kB", 1e-3),
    "macs": Axis("Multiply-accumulates", "millions", 1e-6),
    "params": Axis("Parameters", "millions", 1e-6),
}


def axes_of(front: Front) -> tuple[int, int] | None:
    """The two objectives to draw, accuracy upward against the first other one; None if there is but one."""
    return chosen_axes(front.objectives)


def chosen_axes(objectives: Sequence[str]) -> tuple[int, int] | None:
    """Positions of the two objectives to draw."""
    if len(objectives) < 2:
        return None
    up = objectives.index("error_pct") if "error_pct" in objectives else 1
    return (0 if up else 1), up


def axis_of(objective: str) -> Axis:
    """How an objective is shown, or its bare name and values."""
    return AXES.get(objective) or Axis(objective[:80])


def front_figure(front: Front, chosen: tuple[int, int], measured: pd.DataFrame) -> Any:
    """The predicted front in two of its objectives as a stair; over it what was measured, shipped points by name."""
    across, up = (axis_of(front.objectives[position]) for position in chosen)
    x, y = across(front.F[:, chosen[0]]), up(front.F[:, chosen[1]])
    order = np.argsort(x)
    figure = go.Figure(layout=_layout(escape(str(across)), escape(str(up))))
    figure.add_scatter(
        x=x[order],
        y=y[order],
        name="predicted",
        mode="lines+markers",
        line={"shape": "hv", "width": 1.5, "color": PREDICTED},
        marker={"size": 5, "color": PREDICTED},
        hovertemplate=f"predicted<br>%{{x:.4~g}} {across.unit}<br>%{{y:.2f}} {up.unit}<extra></extra>",
    )
    if {front.objectives[position] for position in chosen} == {"latency_ms", "error_pct"} and len(measured):
        _add_measured(figure, measured)
    return figure


def _add_measured(figure: Any, measured: pd.DataFrame) -> None:
    for name, rows in (("measured", measured[measured["winner"] == ""]), ("shipped", _shipped(measured))):
        x = rows["latency_ms"]
        figure.add_scatter(
            x=x,
            y=rows["accuracy_pct"],
            name=name,
            mode="markers",
            marker=_marker(name),
            error_x={
                "array": rows["latency_ms_high"] - x,
                "arrayminus": x - rows["latency_ms_low"],
                "thickness": 1,
                "width": 3,
                "color": MEASURED,
            },
            text=_labels(rows),
            hovertemplate="%{text}measured<br>%{x:.4~g} ms<br>%{y:.2f} %<extra></extra>",
        )
    for row in _shipped(measured).to_dict("records"):
        figure.add_annotation(
            x=row["latency_ms"],
            y=row["accuracy_pct"],
            text=f"<b>{escape(row['winner'][:40])}</b>",
            showarrow=True,
            arrowwidth=1,
            arrowhead=0,
            arrowcolor=FAINT,
            standoff=8,
            ax=-12,
            ay=-34,
            bgcolor="white",
            opacity=0.92,
        )


def fronts_figure(
    fronts: Mapping[str, Floats], objectives: Sequence[str], chosen: tuple[int, int], loose: Sequence[str] = ()
) -> Any:
    """Several fronts ``(n, m)`` by name, in two of their objectives; ``loose`` ones are points that no line joins."""
    across, up = (axis_of(objectives[position]) for position in chosen)
    figure = go.Figure(layout=_layout(escape(str(across)), escape(str(up))))
    for (name, F), colour in zip(fronts.items(), cycle(SERIES), strict=False):
        order = np.argsort(F[:, chosen[0]])
        figure.add_scatter(
            x=across(F[order, chosen[0]]),
            y=up(F[order, chosen[1]]),
            name=escape(name[:60]),
            mode="markers" if name in loose or len(F) == 1 else "lines+markers",
            line={"shape": "hv", "width": 1.5, "color": colour},
            marker={"size": 9 if name in loose or len(F) == 1 else 4, "color": colour},
        )
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.08})
    return figure


def growth_figure(growth: Mapping[str, Sequence[tuple[int, float]]], what: str = "Hypervolume") -> Any:
    """What was reached after evaluations, by name; many evaluations on a logarithmic axis."""
    figure = go.Figure(layout=_layout("Evaluations", escape(what)))
    many = max(points[-1][0] for points in growth.values()) > MANY
    for (name, points), colour in zip(growth.items(), cycle(SERIES), strict=False):
        x, y = zip(*points, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            name=escape(name[:60]),
            mode="lines" if many else "lines+markers",
            line={"shape": "hv", "width": 1.8, "color": colour},
            marker={"size": 4, "color": colour},
        )
    if many:
        figure.update_xaxes(type="log", nticks=None, dtick=1)
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.08})
    return figure


def descent_figure(history: pd.DataFrame, metric: str, target: float | None) -> Any:
    """The runtime of the architecture, step by step, over the expected one, and the target as a line."""
    axis = axis_of(metric)
    figure = go.Figure(layout=_layout("Step", escape(str(axis))))
    steps = np.arange(len(history))
    for name, colour, width in (("expected", FAINT, 1.5), ("runtime", PREDICTED, 1.8)):
        figure.add_scatter(
            x=steps, y=axis(history[name].to_numpy()), name=name, mode="lines", line={"width": width, "color": colour}
        )
    if target is not None:
        figure.add_hline(y=float(axis(np.array(target))), line={"dash": "dot", "width": 1.2, "color": MEASURED})
    return figure


def loss_figure(history: pd.DataFrame) -> Any:
    """Loss over steps and, on the right, λ, on a logarithmic axis."""
    figure = go.Figure(layout=_layout("Step", "Loss"))
    steps = np.arange(len(history))
    figure.add_scatter(x=steps, y=history["loss"], name="loss", mode="lines", line={"width": 1, "color": PREDICTED})
    figure.add_scatter(
        x=steps, y=history["penalty"], name="λ", mode="lines", yaxis="y2", line={"width": 1.5, "color": MEASURED}
    )
    right = {"overlaying": "y", "side": "right", "type": "log", "showgrid": False, "title": {"text": "λ"}, "dtick": 1}
    figure.update_layout(yaxis2={"automargin": True, "ticks": "", **right})
    return figure


def leads_figure(leads: pd.DataFrame) -> Any:
    """Parts over layers, coloured by how far each is ahead of being left out (blue) or behind (orange)."""
    table = leads.pivot_table(index="part", columns="layer", values="lead")
    fullest = leads.loc[
        leads["layer"] == leads["layer"].mode()[0], "part"
    ]  # a layer that cannot be skipped lacks one
    parts = pd.concat([fullest, leads["part"]]).drop_duplicates()
    table = table.loc[parts[::-1], leads["layer"].drop_duplicates()]
    reach = float(np.nanmax(np.abs(table.to_numpy()))) or 1.0
    figure = go.Figure(layout=_layout("Layer", ""))
    figure.add_heatmap(
        x=[escape(str(name)) for name in table.columns],
        y=[escape(str(name)) for name in table.index],
        z=table.to_numpy(),
        zmin=-reach,
        zmax=reach,
        colorscale=[[0, MEASURED], [0.5, "rgba(128, 136, 148, 0.12)"], [1, PREDICTED]],
        xgap=2,
        ygap=2,
        hovertemplate="%{x}, %{y}: %{z:.3f}<extra></extra>",
        colorbar={"thickness": 10, "outlinewidth": 0},
    )
    figure.update_xaxes(type="category", nticks=None, tickangle=-60)
    figure.update_yaxes(type="category", nticks=None)
    return figure


def parity_figure(measured: pd.DataFrame, column: str, unit: str) -> Any:
    """Predicted over measured values of a column, with the line on which they would be equal."""
    both = measured[[column, f"{column}_predicted"]].to_numpy(float)
    finite = both[np.isfinite(both)]
    low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    ends = [low - margin, high + margin]
    figure = go.Figure(layout=_layout(f"Measured ({unit})", f"Predicted ({unit})"))
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"width": 1, "dash": "dot", "color": "#8c95a1"}, hoverinfo="skip"
    )
    for name, rows in (("measured", measured[measured["winner"] == ""]), ("shipped", _shipped(measured))):
        figure.add_scatter(
            x=rows[column],
            y=rows[f"{column}_predicted"],
            mode="markers",
            marker=_marker(name),
            text=_labels(rows),
            hovertemplate=f"%{{text}}measured %{{x:.4~g}} {unit}<br>predicted %{{y:.4~g}} {unit}<extra></extra>",
        )
    figure.update_xaxes(range=ends)
    figure.update_yaxes(range=ends)
    return figure


def breakdown_figure(networks: Sequence[tuple[str, Sequence[Part]]]) -> Any:
    """A bar a network, made up of its layers in the order in which they run, coloured by stage."""
    figure = go.Figure(layout=_layout("Latency from the table (ms)", ""))
    colours = stage_colours(networks)
    for row, (_, parts) in enumerate(networks):
        for part in parts:
            figure.add_bar(
                x=[part.latency_ms],
                y=[row],
                orientation="h",
                width=0.62,
                marker={"color": colours[part.stage], "line": {"width": 1, "color": "white"}},
                text=[part.label],
                textposition="none",
                hovertemplate="%{text}<br>%{x:.3~g} ms<extra></extra>",
            )
    figure.update_layout(barmode="stack", margin={"l": 10})
    figure.update_yaxes(
        autorange="reversed",
        showgrid=False,
        tickvals=list(range(len(networks))),
        ticktext=[f"<b>{escape(name[:20])}</b><br>{_total(parts):.3f} ms " for name, parts in networks],
    )
    return figure


def stage_colours(networks: Sequence[tuple[str, Sequence[Part]]]) -> Mapping[str, str]:
    """The colour of each stage, in the order in which the stages run."""
    stages = dict.fromkeys(part.stage for _, parts in networks for part in parts)
    units = [stage for stage in stages if stage not in STAGES]
    return {stage: STAGES.get(stage) or UNITS[units.index(stage) % len(UNITS)] for stage in stages}


def _total(parts: Sequence[Part]) -> float:
    return sum(part.latency_ms for part in parts)


def _shipped(measured: pd.DataFrame) -> pd.DataFrame:
    return measured[measured["winner"] != ""]


def _labels(rows: pd.DataFrame) -> list[str]:
    return [f"<b>{escape(name[:40])}</b><br>" if name else "" for name in rows["winner"]]


def _marker(name: str) -> dict[str, Any]:
    if name == "shipped":
        return {"size": 13, "symbol": "diamond", "color": MEASURED, "line": {"width": 1.5, "color": "white"}}
    return {"size": 7, "color": MEASURED, "opacity": 0.85}


def _layout(x_title: str, y_title: str) -> Any:
    axis = {"gridcolor": FAINT, "linecolor": FAINT, "zeroline": False, "automargin": True, "ticks": ""}
    return go.Layout(
        template="none",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 52, "r": 12, "t": 12, "b": 48},
        xaxis={**axis, "title": {"text": x_title, "standoff": 10}, "nticks": 7},
        yaxis={**axis, "title": {"text": y_title, "standoff": 10}, "nticks": 7},
        showlegend=False,
    )
