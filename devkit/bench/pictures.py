"""The pictures of a run, to be read on a dark page as on a light one."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from . import storm
from .runner import percentile

_GREY = "#808080"
_COLORS = {"ours": "#2f81d7", "thinnest": "#6a9f58", "bare": "#d9822b"}
_NAMES = {
    "ours": "the extension",
    "thinnest": "the thinnest extension",
    "bare": "the bare SDK",
}

matplotlib.rcParams.update(
    {
        "axes.edgecolor": _GREY,
        "axes.grid": True,
        "axes.labelcolor": _GREY,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": _GREY,
        "figure.figsize": (7.2, 3.4),
        "font.size": 10,
        "grid.alpha": 0.25,
        "grid.color": _GREY,
        "legend.frameon": False,
        "legend.labelcolor": _GREY,
        "savefig.transparent": True,
        "svg.fonttype": "none",  # text stays text, and the file small
        "svg.hashsalt": "spatius_avatar_python",
        "text.color": _GREY,
        "xtick.color": _GREY,
        "ytick.color": _GREY,
    }
)


def draw(curves: dict[str, list[float]], folder: Path) -> list[Path]:
    """Draw the benchmarks that there are samples of; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"latency": _latency, "cpu": _cpu, "storm": _storm}
    drawn: list[Path] = []
    for name, draw_one in pictures.items():
        its = {
            one.removeprefix(f"{name} "): values
            for one, values in curves.items()
            if one.startswith(f"{name} ")
        }
        if its:
            figure = draw_one(its)
            figure.tight_layout()
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})
            drawn.append(path)
    return drawn


def _latency(curves: dict[str, list[float]]) -> Figure:
    """Draw how many frames took longer than a given time."""
    figure = Figure()
    axes = figure.subplots()
    # Every tenth of a percent.
    percents = [at / 10 for at in range(1, 1000)]
    for side, values in curves.items():
        axes.plot(
            [percentile(values, percent) for percent in percents],
            [100 - percent for percent in percents],
            color=_COLORS[side],
            label=_NAMES[side],
        )
    every = [value for values in curves.values() for value in values]
    axes.set(
        title="Latency from a frame's arrival until the service has it",
        xlabel="ms",
        ylabel="% of frames that took longer",
        xscale="log",
        yscale="log",
        xticks=(0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
        yticks=(0.1, 1, 10, 100),
    )
    axes.set_xlim(percentile(every, 0.1) * 0.9, percentile(every, 99.9) * 1.1)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.legend()
    return figure


def _cpu(curves: dict[str, list[float]]) -> Figure:
    """Draw the CPU time of a frame, for each pace and side."""
    figure = Figure()
    axes = figure.subplots()
    for place, (side, color) in enumerate(_COLORS.items()):
        axes.bar(
            [at + 0.27 * (place - 1) for at in range(len(curves))],
            [values[place] for values in curves.values()],
            width=0.25,
            color=color,
            label=_NAMES[side],
        )
    axes.set_xticks(range(len(curves)), list(curves))
    axes.set(title="CPU of the event loop for each frame", ylabel="us")
    axes.legend()
    return figure


def _storm(curves: dict[str, list[float]]) -> Figure:
    figure = Figure()
    attempts, back = figure.subplots(1, 2)
    for side, color in zip(storm.SIDES, (_COLORS["ours"], _COLORS["bare"])):
        for axes, what in ((attempts, "attempts"), (back, "back")):
            values = curves[f"{what} {side}"]
            times_s = [at * storm.BIN_S for at in range(len(values))]
            axes.step(times_s, values, where="post", color=color, label=side)
    attempts.axhline(storm.ACCEPTED_PER_S, color=_GREY, linestyle=":")
    attempts.set(title="Attempts a second", yscale="symlog")
    attempts.set_yticks((0, 10, 100, 1000, 10_000))
    attempts.yaxis.set_major_formatter("{x:g}")
    attempts.set_ylim(0, None)
    back.set(title="Avatars that are back", ylabel="%", ylim=(0, 100))
    back.legend()
    for axes in (attempts, back):
        axes.axvline(storm.DOWN_S, color=_GREY, linestyle=":")
        axes.set(xlabel="s after the loss", xlim=(0, None))
        axes.minorticks_off()
    return figure
