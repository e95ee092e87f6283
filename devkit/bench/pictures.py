"""The pictures of a run, to be read on a dark page as on a light one."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

from . import storm
from .figures import percentile

_GREY = "#808080"
_COLOURS = {"ours": "#2f81d7", "bare": "#d9822b"}
_NAMES = {"ours": "the extension", "bare": "the bare SDK"}

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
    """Draw what there are samples for; return the files."""
    drawn: list[Path] = []
    folder.mkdir(parents=True, exist_ok=True)
    if "latency ours" in curves:
        drawn.append(_draw_latency(curves, folder / "latency.svg"))
    if "avatars" in curves:
        drawn.append(_draw_scaling(curves, folder / "scaling.svg"))
    if any(name.startswith("storm ") for name in curves):
        drawn.append(_draw_storm(curves, folder / "storm.svg"))
    return drawn


def _draw_latency(curves: dict[str, list[float]], path: Path) -> Path:
    """Draw how many frames took longer than a given time."""
    figure, axes = pyplot.subplots()
    for side, colour in _COLOURS.items():
        values = sorted(curves[f"latency {side}"])
        # Every percent, and every tenth of one in the tail.
        percents = [at / 10 for at in range(1, 1000)]
        axes.plot(
            [percentile(values, percent) for percent in percents],
            [100 - percent for percent in percents],
            color=colour,
            label=_NAMES[side],
        )
    axes.set(
        title="Latency from a frame's arrival until the service has it",
        xlabel="ms",
        ylabel="% of frames that took longer",
        xscale="log",
        yscale="log",
        xticks=(0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
        yticks=(0.1, 1, 10, 100),
    )
    axes.set_xlim(*_range(curves))
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.legend()
    return _save(figure, path)


def _range(curves: dict[str, list[float]]) -> tuple[float, float]:
    """Return between which times in ms all but the rarest frames lie."""
    values = curves["latency ours"] + curves["latency bare"]
    return percentile(values, 0.1) * 0.9, percentile(values, 99.9) * 1.1


def _draw_scaling(curves: dict[str, list[float]], path: Path) -> Path:
    figure, (late, cpu) = pyplot.subplots(1, 2)
    avatars = curves["avatars"]
    for side, colour in _COLOURS.items():
        look: dict[str, Any] = {"color": colour, "marker": "o"}
        late.plot(avatars, curves[f"late {side}"], **look)
        cpu.plot(
            avatars,
            [
                each * count
                for each, count in zip(curves[f"cpu {side}"], avatars)
            ],
            label=_NAMES[side],
            **look,
        )
    late.set(title="Lateness of a frame, p99", ylabel="ms", ylim=(0, None))
    cpu.set(
        title="CPU, delivery included",
        ylabel="% of one core",
        yscale="log",
        ylim=(1, 100),
        yticks=(1, 10, 100),
    )
    cpu.yaxis.set_major_formatter("{x:g}")
    for axes in (late, cpu):
        axes.set(xlabel="avatars that speak", xscale="log", xticks=avatars)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    cpu.legend()
    return _save(figure, path)


def _draw_storm(curves: dict[str, list[float]], path: Path) -> Path:
    figure, (attempts, back) = pyplot.subplots(1, 2)
    for side, colour in zip(storm.SIDES, _COLOURS.values()):
        for axes, what in ((attempts, "attempts"), (back, "back")):
            values = curves[f"storm {what} {side}"]
            times_s = [at * storm.BIN_S for at in range(len(values))]
            axes.step(times_s, values, where="post", color=colour, label=side)
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
    return _save(figure, path)


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return path
