import pytest

from whisper_lambda.cli.terminal import harmless, one_line


@pytest.mark.parametrize(
    "unsafe", ["\x1b[2J", "\r", "\x07", "\x9b31m", "\u202e", "\u2028", "\x7f", "\x00", "\udcff"]
)
def test_what_could_move_the_cursor_or_lie_about_order_is_spelt_out(unsafe: str) -> None:
    for shown in (one_line(f"a{unsafe}b"), harmless(f"a{unsafe}b")):
        assert unsafe not in shown
        assert "\\" in shown
        assert shown.isprintable()


def test_a_line_stays_one_line() -> None:
    assert one_line("a\nb\tc") == "a\\nb\\tc"


def test_lines_and_scripts_of_a_transcript_stay() -> None:
    text = "¿Qué?\n\tمرحبا بالعالم\nשלום\u200f\n日本語 👋🏽\n"

    assert harmless(text) == text
