"""A workload and the ways to run it in; a table, and a page with plots, out."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from whisper_lambda.economy.prices import MONTH_S, PriceBook, checked_architecture
from whisper_lambda.economy.speeds import speed
from whisper_lambda.errors import BadOption
from whisper_lambda.tools.costing.bill import Bill, Warmth, Way, month, wallet_bound_usd_per_hour
from whisper_lambda.tools.costing.workload import Workload
from whisper_lambda.tools.extras import needed

FIXED = ("snapshots kept", "provisioned, idle or not")
WARMTHS: tuple[Warmth, ...] = ("cold", "snapstart", "pings", "provisioned")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is compared."""

    tiers: Sequence[str]
    sizes_mb: Sequence[int]
    architectures: Sequence[str]
    ready: int = 1
    at_once: int = 20


def names(text: str) -> list[str]:
    """Return the parts of a list with commas.

    Raises:
        BadOption: there are none.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise BadOption(f"a list with commas is wanted, not {text!r}")
    return parts


def compared(load: Workload, question: Question, book: PriceBook) -> list[Bill]:
    """Return a month's bill for every tier, size, architecture and warmth.

    Raises:
        BadOption: a tier's speed is not known, or there is no such architecture.
    """
    return [
        month(
            load,
            tier,
            speed(tier),
            Way(
                memory_mb=size,
                architecture=checked_architecture(architecture),
                warmth=warmth,
                ready=question.ready,
                most=question.at_once,
            ),
            book,
        )
        for tier in question.tiers
        for architecture in question.architectures
        for size in question.sizes_mb
        for warmth in WARMTHS
    ]


def text(found: Sequence[Bill], load: Workload, question: Question, book: PriceBook) -> str:
    """Return the table, the break-even lines and the bound, for a terminal."""
    head = f"{'tier':9}{'arch':8}{'MB':>6} {'warmth':12}{'USD/month':>10}{'USD/hour':>10}"
    lines = [
        _about(load),
        "",
        f"{head}{'p50 s':>8}{'p95 s':>8}{'cold %':>8}{'refused':>9}{'at once':>9}",
        *(
            f"{b.tier:9}{b.way.architecture:8}{b.way.memory_mb:>6} {b.way.warmth:12}{b.usd:>10.2f}"
            f"{b.usd_per_hour:>10.5f}{b.p50_s:>8.2f}{b.p95_s:>8.2f}{100 * b.cold_share:>8.2f}"
            f"{b.refused:>9}{b.most_busy:>9}"
            for b in found
        ),
        "",
        *against_others(found, book),
        "",
        *bounds(found, question, book),
    ]
    return "\n".join(lines)


def _about(load: Workload) -> str:
    a_day = load.hours * 86_400 / load.span_s
    measured = "by the measured speeds"
    if load.measured_s is not None:
        measured = "as the log measured them, in every row: those of other tiers and sizes compare nothing"
    return (
        f"{len(load.times_s)} requests, {a_day:.1f} hours of audio a day, mean "
        f"{float(load.audio_s.mean()):.0f} s; times {measured}; a month is 30 days"
    )


def against_others(found: Sequence[Bill], book: PriceBook) -> list[str]:
    """Say for each tier which alternatives are cheaper, and from how much audio on we are."""
    lines = ["beside others, for an hour of audio (their models are not ours: compare words too)"]
    for tier in dict.fromkeys(b.tier for b in found):
        ours = min((b for b in found if b.tier == tier), key=lambda b: b.usd_per_hour)
        lines.append(f"  {tier}: {ours.usd_per_hour:.5f} USD ({_way(ours)})")
        for other in sorted(book.alternatives, key=lambda a: a.usd_per_audio_hour):
            theirs = other.usd_per_audio_hour
            lines.append(f"    {_beside(ours, theirs)} {other.title} ({theirs:g} USD)")
    return lines


def _fixed(bill: Bill) -> float:
    """Return what a month costs though nobody speaks."""
    return sum(usd for name, usd in bill.lines.items() if name in FIXED)


def _way(bill: Bill) -> str:
    return f"{bill.way.memory_mb} MB, {bill.way.architecture}, {bill.way.warmth}"


def _beside(ours: Bill, theirs: float) -> str:
    """Tell whether we are dearer, and where the lines cross: some of our cost comes whatever is heard."""
    fixed = _fixed(ours)
    each = (ours.usd - fixed) / ours.hours if ours.hours else 0.0
    if each >= theirs:
        return "DEARER at any volume than"
    crossing = fixed / (theirs - each)
    if ours.usd_per_hour > theirs:
        return f"DEARER here (cheaper from {crossing:.1f} hours a month on) than"
    return f"cheaper (from {crossing:.1f} hours a month on) than"


def bounds(found: Sequence[Bill], question: Question, book: PriceBook) -> list[str]:
    """Say what the worst hour can cost at each size."""
    lines = [f"at the very most, with {question.at_once} at once, whoever calls:"]
    for way in dict.fromkeys((b.way.memory_mb, b.way.architecture) for b in found):
        worst = wallet_bound_usd_per_hour(
            Way(memory_mb=way[0], architecture=way[1], most=question.at_once), book
        )
        lines.append(
            f"  {way[0]} MB {way[1]}: {worst:.2f} USD an hour, {worst * MONTH_S / 3600:.0f} USD a month"
        )
    return lines


def write_page(
    found: Sequence[Bill], load: Workload, question: Question, book: PriceBook, page: Path
) -> None:
    """Write a page that needs no other file.

    Raises:
        ModuleNotFoundError: the extra `bench` is not installed.
    """
    alt = needed("altair")
    rows = [
        {
            "tier": b.tier,
            "way": f"{b.way.architecture} {b.way.memory_mb}",
            "warmth": b.way.warmth,
            "USD": usd,
            "for": name,
        }
        for b in found
        for name, usd in b.lines.items()
    ]
    month_plot = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar()
        .encode(
            x=alt.X("warmth:N", title=None),
            y=alt.Y("sum(USD):Q", title="USD a month"),
            color=alt.Color("for:N", title=None),
            column=alt.Column("way:N", title=None),
            row=alt.Row("tier:N", title=None),
        )
        .properties(width=110, height=150)
    )
    lines = [
        {"hours": h, "USD": _at(b, h), "who": f"{b.tier} ({_way(b)})"}
        for tier in dict.fromkeys(b.tier for b in found)
        for b in [min((x for x in found if x.tier == tier), key=lambda x: x.usd_per_hour)]
        for h in _HOURS
    ]
    lines += [
        {"hours": h, "USD": h * a.usd_per_audio_hour, "who": a.title}
        for a in book.alternatives
        for h in _HOURS
    ]
    even = (
        alt.Chart(alt.Data(values=lines))
        .mark_line()
        .encode(
            x=alt.X("hours:Q", scale=alt.Scale(type="log"), title="hours of audio a month"),
            y=alt.Y("USD:Q", scale=alt.Scale(type="log"), title="USD a month"),
            color=alt.Color("who:N", title=None),
        )
        .properties(width=620, height=360, title="break-even")
    )
    lengths = (
        alt.Chart(alt.Data(values=[{"s": float(a)} for a in load.audio_s[:2000]]))
        .mark_bar()
        .encode(x=alt.X("s:Q", bin=alt.Bin(maxbins=40), title="seconds of a recording"), y="count()")
        .properties(width=620, height=120)
    )
    chart = alt.vconcat(month_plot, even, lengths)
    page.parent.mkdir(parents=True, exist_ok=True)
    said = html.escape(text(found, load, question, book))
    # The plots' own program writes pages, too: the last end of a body is the page's.
    before, _, after = chart.to_html(inline=True, fullhtml=True).rpartition("</body>")
    page.write_text(f"{before}<pre>{said}</pre></body>{after}", encoding="utf-8")


_HOURS = tuple(round(10 ** (n / 4), 2) for n in range(21))


def _at(bill: Bill, hours: float) -> float:
    fixed = _fixed(bill)
    return fixed + (bill.usd - fixed) / max(bill.hours, 1e-9) * hours
