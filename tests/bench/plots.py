"""Draws what was measured: ``.venv-bench/bin/python tests/bench/plots.py bench/bench.json bench``.

It needs matplotlib, which is in the environment of ``make bench`` alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own

mpl.use("svg")

from matplotlib import pyplot as plt  # type: ignore[import-not-found,unused-ignore]  # as above
from measured import PICTURES, Measured
from ratios import middle, ratio

OURS, OTHERS, LIMIT = "#c2410c", "#64748b", "#0f766e"
BRIDGE, BASE = "otel-bridge", "httpx"
plt.rcParams |= {
    # Text stays text, and the same numbers give the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "otel-bridge",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def drain(measured: Measured) -> Any:
    """Rate and processor time of all, as ratios to plain httpx."""
    rounds = measured.stage(0, 16)
    assert rounds is not None
    names = list(rounds)[::-1]
    colours = [OURS if name == BRIDGE else OTHERS for name in names]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    for axis, what, title in (
        (axes[0], "records_per_s", "records a second, to plain httpx (more is better)"),
        (axes[1], "cpu_us", "processor time a record, to plain httpx (less is better)"),
    ):
        values = [ratio(rounds, name, BASE, what) for name in names]
        bars = axis.barh(names, values, color=colours)
        axis.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
        axis.axvline(1, color="black", linewidth=0.6)
        axis.set_title(title, fontsize=9)
        axis.margins(x=0.15)
    return figure


def latency(measured: Measured) -> Any:
    """Records a second at each latency and number in flight, beside what is possible."""
    stages = [row for row in measured.numbers("drain") if row["latency_ms"]]
    figure, axis = plt.subplots(figsize=(9, 3.2))
    names = list(stages[0]["rounds"])
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        shares = [
            middle(row["rounds"], name, "records_per_s") * row["latency_ms"] / row["in_flight"] / 1000
            for row in stages
        ]
        places = [stage + (place - len(names) / 2 + 0.5) * width for stage in range(len(stages))]
        shade = OURS if name == BRIDGE else OTHERS
        strength = 1 if name == BRIDGE else 0.3 + 0.7 * place / (len(names) - 1)
        bars = axis.bar(places, shares, width * 0.9, color=shade, alpha=strength, label=name)
        axis.bar_label(bars, [f"{share:.2f}" for share in shares], fontsize=7, padding=1)
    axis.axhline(1, color=LIMIT, linewidth=1, label="ideal")
    axis.legend(frameon=False, ncols=len(names) + 1, loc="upper center", fontsize=8)
    labels = [f"{row['latency_ms']} ms, {row['in_flight']} in flight" for row in stages]
    axis.set_xticks(range(len(stages)), labels)
    axis.set_ylabel("records/s, of the ideal")
    axis.set_ylim(0, 1.25)
    return figure


def scale(measured: Measured) -> Any:
    """Memory over a long run, and what a record costs, for few and many records and projects."""
    rows = measured.numbers("scale")
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.0))
    longest = max(rows, key=lambda row: row["records"])
    axes[0].plot([each[0] for each in longest["memory"]], [each[1] for each in longest["memory"]], color=OURS)
    axes[0].set_title(f"memory in MB over {longest['records']:,} records", fontsize=9)
    axes[0].set_xlabel("requests made")
    axes[0].set_ylim(bottom=0)
    for axis, what, title in (
        (axes[1], "peak_mb", "most memory, MB"),
        (axes[2], "cpu_us", "processor time a record, µs"),
    ):
        for projects in sorted({row["projects"] for row in rows}):
            mine = sorted((row["records"], row[what]) for row in rows if row["projects"] == projects)
            axis.plot(*zip(*mine, strict=True), marker="o", label=f"{projects} project{'s'[: projects - 1]}")
        axis.set_xscale("log")
        axis.set_ylim(0, 1.5 * max(row[what] for row in rows))
        axis.set_xlabel("records waiting")
        axis.set_title(title, fontsize=9)
        axis.legend(frameon=False, loc="upper right", fontsize=8)
    return figure


def freshness(measured: Measured) -> Any:
    """From visible to delivered at rising rates, under each quota, with its own limit."""
    rows = measured.numbers("freshness")
    quotas = sorted({row["quota"] for row in rows})
    figure, axes = plt.subplots(1, len(quotas), figsize=(9, 3.2), sharey=True)
    for axis, quota in zip(axes, quotas, strict=True):
        mine = [row for row in rows if row["quota"] == quota]
        rates = [row["rate"] for row in mine]
        axis.plot(rates, [row["p95_s"] for row in mine], marker="o", color=OURS, label="95 %")
        axis.plot(rates, [row["p50_s"] for row in mine], marker="o", color=OTHERS, label="50 %")
        limit = mine[0]["limit"]
        axis.axvline(limit, color=LIMIT)
        axis.text(limit, 1.1, f"the share allows {limit:.1f}/s ", color=LIMIT, fontsize=8, ha="right")
        axis.axvspan(limit, max(rates), color=LIMIT, alpha=0.07)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(1, 1_000)
        axis.set_xlabel("new records a second")
        axis.set_title(f"half of {quota:,} requests a minute, after {mine[0]['seconds']:.0f} s", fontsize=9)
    axes[0].set_ylabel("s from visible to delivered")
    axes[0].legend(frameon=False, loc="upper left")
    return figure


DRAWN = {
    "performance-drain.svg": drain,
    "performance-latency.svg": latency,
    "performance-scale.svg": scale,
    "performance-freshness.svg": freshness,
}


def main() -> None:
    """Draw all that was measured."""
    measured, folder = Measured.read(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in PICTURES.items():
        if not all(part in measured.parts for part in parts):
            print(f"{name}: not measured")
            continue
        figure = DRAWN[name](measured)
        about = {"Date": None, "Creator": None, "Description": f"numbers {measured.digest(*parts)}"}
        figure.savefig(folder / name, metadata=about)
        plt.close(figure)
        print(folder / name)


if __name__ == "__main__":
    main()
