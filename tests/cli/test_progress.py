import math

import pytest

from whisper_lambda.cli.progress import BarDisplay, LineDisplay, clock


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (0.2, "0:01"), (61, "1:01"), (3599.5, "1:00:00"), (36_000, "10:00:00")],
)
def test_times_are_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_lines_tell_where_we_are_and_what_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay(0.0)
    display.begin("a\x1b.mp3")
    display.tick()
    display.planned(100.0)
    display.tick()
    display.heard(25.0)
    first, second, third = capfd.readouterr().err.splitlines()

    assert first == r"a\x1b.mp3: preparing"
    assert second == r"a\x1b.mp3: 0% of 1:40"
    assert third.startswith(r"a\x1b.mp3: 25% of 1:40, about 0:0")


def test_lines_are_rare_unless_time_has_passed(capfd: pytest.CaptureFixture[str]) -> None:
    for every_s in (30.0, math.inf):
        display = LineDisplay(every_s)
        display.begin("a.mp3")
        display.planned(100.0)
        for second in range(100):
            display.heard(second)
        display.end()

    assert capfd.readouterr().err == ""


def test_weights_on_their_way_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay(0.0)
    display.begin("a.mp3")
    for done, total in ((10_000_000, 145_000_000), (0, 0), (145_000_000, 145_000_000)):
        display.fetched("base", done, total)
        display.tick()
    lines = capfd.readouterr().err.splitlines()

    assert lines == [
        "a.mp3: fetching base: 10 of 145 MB",
        "a.mp3: fetching base",
        "a.mp3: preparing",
    ]


def test_a_short_recording_draws_no_bar(capfd: pytest.CaptureFixture[str]) -> None:
    display = BarDisplay()
    display.begin("a.mp3")
    display.planned(2.0)
    display.heard(2.0)
    with display.hidden():
        pass
    display.end()

    assert capfd.readouterr().err == ""
