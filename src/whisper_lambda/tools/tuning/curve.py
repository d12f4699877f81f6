"""Points in; facts for the record and a page with the curve out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whisper_lambda.tools.extras import needed
from whisper_lambda.tools.tuning.choosing import Point
from whisper_lambda.tools.tuning.local import Measured


def facts(
    measured: Sequence[Measured], by_side: Mapping[str, Sequence[Point]], architecture: str
) -> dict[str, Any]:
    """Return what was measured, for the JSON file: raw runs, and cost for an hour of audio."""
    if not measured:
        return {"architecture": architecture}
    audio_s = measured[0].audio_s
    hours = {
        side: {str(p.memory_mb): round(p.usd / audio_s * 3600, 7) for p in points}
        for side, points in by_side.items()
    }
    return {
        "architecture": architecture,
        "audio_s": audio_s,
        "usd_per_audio_hour": hours,
        "runs": [asdict(each) for each in measured],
    }


def write_page(by_side: Mapping[str, Sequence[Point]], chosen: Point, page: Path) -> None:
    """Write a page that needs no other file: duration and cost over memory, side by side.

    Also a .svg and .png beside it.

    Raises:
        ModuleNotFoundError: the extra `bench` is not installed.
    """
    alt = needed("altair")
    rows = [
        {"side": side, "memory, MB": p.memory_mb, "ms": p.duration_ms, "USD": p.usd}
        for side, points in by_side.items()
        for p in points
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X("memory, MB:Q", scale=alt.Scale(zero=False)), color=alt.Color("side:N", title=None)
    )
    rule = alt.Chart(alt.Data(values=[{"chosen": chosen.memory_mb}])).mark_rule(strokeDash=[4, 4])
    plots = [
        (
            base.mark_line(point=True).encode(y=alt.Y(f"{name}:Q", title=title)) + rule.encode(x="chosen:Q")
        ).properties(width=360, height=240)
        for name, title in (("ms", "milliseconds billed"), ("USD", "USD a run"))
    ]
    chart = alt.hconcat(*plots).properties(
        title=f"memory against time and cost; chosen: {chosen.memory_mb} MB"
    )
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(chart.to_html(inline=True), encoding="utf-8")
    for suffix in (".svg", ".png"):
        chart.save(str(page.with_suffix(suffix)))
