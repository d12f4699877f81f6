"""The figures of `bench live` as a page and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whisper_lambda.tools.extras import needed

Results = Mapping[str, Any]


def write(results: Results, out: Path) -> None:
    """Write the page, and the plot beside it."""
    plot = out.with_suffix(".svg")
    _draw(results, plot)
    out.write_text(page(results, plot.name), encoding="utf-8")


def page(results: Results, plot: str) -> str:
    """Return the page."""
    one, idle = results["one"], results["idle"]
    pair = results["peer"]
    ratio = pair["ours"]["cpu_per_audio_s"] / pair["theirs"]["cpu_per_audio_s"]
    kept = max((int(n) for n, c in results["crowds"].items() if c["p95"] < KEPT_UP_S), default=0)
    worse = one["wer"] - one["wer_offline"]
    rows = [
        _row("word spoken -> committed, p50", f"{one['p50']:.2f} s", "2.0", "1.0", one["p50"]),
        _row("word spoken -> committed, p95", f"{one['p95']:.2f} s", "4.0", "2.0", one["p95"]),
        _row("word spoken -> first shown, p50", f"{one['first_p50']:.2f} s", "1.0", "0.5", one["first_p50"]),
        _row(
            "WER above offline, same audio",
            f"{worse:+.2f} points ({one['wer']:.2f} against {one['wer_offline']:.2f})",
            "2.0",
            "0.5",
            worse,
        ),
        _row(
            "processor seconds per audio second, against 30 s windows", f"{ratio:.2f}x", "0.5", "0.25", ratio
        ),
        _row(
            "share of a core while silent", f"{100 * idle['silence']:.2f} %", "2", "2", 100 * idle["silence"]
        ),
        _row(
            "share of a core, a quiet room",
            f"{100 * idle['quiet room']:.2f} %",
            "2",
            "2",
            100 * idle["quiet room"],
        ),
        _row(f"sessions kept up with (p95 < {KEPT_UP_S:.0f} s), of those tried", str(kept), "3", "8", -kept),
    ]
    crowds = [
        f"| {n} | {c['p50']:.2f} s | {c['p95']:.2f} s | {c['cpu_per_audio_s']:.3f} | {c['words']} |"
        for n, c in results["crowds"].items()
    ]
    ways = (("whisper-lambda", pair["ours"]), ("LocalAgreement-2, 30 s windows", pair["theirs"]))
    sides = [
        f"| {name} | {f['p50']:.2f} s | {f['p95']:.2f} s | {f['first_p50']:.2f} s | "
        f"{f['cpu_per_audio_s']:.3f} |"
        for name, f in ways
    ]
    each: dict[str, list[str]] = {}
    for part, run in results["runs"].items():
        each.setdefault(run, []).append(part)
    runs = "\n".join(f"* {', '.join(parts)}: {run}" for run, parts in each.items())
    sets = [
        f"| {name} | {s['words']} | {s['offline']:.2f} | {s['live']:.2f} |"
        for name, s in results["sets"].items()
    ]
    return f"""# Live captions, measured
<!-- Written by `bench live`; run it again rather than editing. -->

{runs}

{results["machine"]};
model {results["model"]}, int8, one thread a decode, delay `{results["delay"]}`,
{one["audio_s"]:.0f} s of recordings.

| what | measured | bar | aim | |
|---|---|---|---|---|
{chr(10).join(rows)}

![How late words are committed]({plot})

How it is measured: recordings are played on a clock that advances with the audio and by the processor
seconds each decode took, so a busy machine changes little (load: how many programs wanted its cores; the
caches they share are not in it). A word was spoken at its end in **our own
offline word times of the same audio** (`times=word`); words not heard alike offline are not counted
({one["words"]} were). WER: corpus-level, after Whisper's normalisers, numbers folded.

## Words, set by set

| set | words | WER offline | WER live |
|---|---|---|---|
{chr(10).join(sets)}

## Several at once

Sessions play at the same time on the cores above, one step at most of each in the queue; lateness
against the session's own word times. Steps are not batched here, so this is the worse case.

| sessions | p50 | p95 | processor seconds per audio second | words |
|---|---|---|---|---|
{chr(10).join(crowds)}

## Against LocalAgreement on 30 s windows

The algorithm of ufal/whisper_streaming (buffer decoded whole each second, cut beyond 15 s, no VAD) on the
same engine and beam, on the beginning of each recording ({pair["ours"]["audio_s"]:.0f} s), in the same run.

| | p50 | p95 | first shown, p50 | processor seconds per audio second |
|---|---|---|---|---|
{chr(10).join(sides)}
"""


KEPT_UP_S = 6.0


def _row(what: str, measured: str, bar: str, aim: str, value: float) -> str:
    least = value < 0 or what.startswith("sessions")
    reached = -value >= float(aim) if least and what.startswith("sessions") else value <= float(aim)
    met = -value >= float(bar) if least and what.startswith("sessions") else value <= float(bar)
    return f"| {what} | {measured} | {bar} | {aim} | {'aim' if reached else 'bar' if met else '**missed**'} |"


def _draw(results: Results, plot: Path) -> None:
    altair = needed("altair")
    late = sorted(results["latencies"])
    values = [{"s": x, "share": 100 * (i + 1) / len(late)} for i, x in enumerate(late)]
    line = (
        altair.Chart(altair.Data(values=values))
        .mark_line(interpolate="step-after")
        .encode(
            x=altair.X("s:Q", title="seconds from the word's end to its being committed"),
            y=altair.Y("share:Q", title="% of words", scale=altair.Scale(domain=[0, 100])),
        )
    )
    rules = [
        altair.Chart(altair.Data(values=[{"s": s}]))
        .mark_rule(strokeDash=[4, 4], color="#a1a1aa")
        .encode(x="s:Q")
        for s in (2.0, 4.0)
    ]
    chart = altair.layer(line, *rules).properties(width=520, height=260, background="white", padding=12)
    chart.save(str(plot))
