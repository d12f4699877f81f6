import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whisper_lambda.live.tape import Tape


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 600), max_size=10),
    ask=st.tuples(st.integers(0, 700), st.integers(0, 700)),
)
def test_a_tape_gives_what_was_put_in_but_for_what_was_cut(sizes, cuts, ask) -> None:
    tape, all_of_it = Tape(100), np.arange(100, 100 + sum(sizes), dtype=np.float32)
    at = 0
    for i, size in enumerate(sizes):
        tape.add(all_of_it[at : at + size])
        at += size
        if i < len(cuts):
            tape.forget(cuts[i])
    start, stop = max(ask[0], tape.start), min(ask[1], tape.stop)

    assert tape.stop == 100 + at
    assert tape.between(*ask).tolist() == list(range(start, max(start, stop)))


def test_a_tape_holds_no_more_than_is_still_needed() -> None:
    """Ten minutes in packets of which a part is always left over, as a session's frames leave it."""
    tape, gathered = Tape(), Tape()
    tracemalloc.start()
    try:
        for n in range(6_000):
            tape.add(np.zeros(1_600, np.float32))
            while tape.stop - tape.start >= 512:
                gathered.add(tape.between(tape.start, tape.start + 512))
                tape.forget(tape.start + 512)
            if n % 5 == 0:  # a step decodes two seconds
                gathered.between(gathered.start, gathered.stop)
                gathered.forget(gathered.stop - 32_000)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 1_000_000
    assert most < 2_000_000
