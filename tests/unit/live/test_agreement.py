from whisper_lambda.live.agreement import agreed, same, settled
from whisper_lambda.types import LiveWord


def line(*texts: str) -> tuple[LiveWord, ...]:
    return tuple(LiveWord(float(i), i + 1.0, t, 0.9, (i,)) for i, t in enumerate(texts))


def test_words_are_the_same_but_for_case_and_marks() -> None:
    assert same(line(" Hola,")[0], line("hola")[0])
    assert not same(line(" hola")[0], line(" ola")[0])


def test_two_hypotheses_commit_what_both_begin_with() -> None:
    assert agreed(line(" a", " b", " c"), [line(" a", " b", " x")], 2) == 2
    assert agreed(line(" a", " b"), [], 2) == 0
    assert agreed(line(" a"), [line(" b")], 2) == 0
    assert agreed(line(" a", " b"), [line(" a")], 2) == 1


def test_three_must_agree_where_three_are_asked_for() -> None:
    assert agreed(line(" a", " b"), [line(" a", " b")], 3) == 0
    assert agreed(line(" a", " b"), [line(" a", " x"), line(" a", " b")], 3) == 1


def test_age_settles_words_that_ended_long_enough_ago() -> None:
    assert settled(line(" a", " b", " c"), 2.0) == 2
    assert settled(line(" a"), 0.5) == 0
