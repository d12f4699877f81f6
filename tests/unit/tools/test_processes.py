from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from whisper_lambda.errors import EngineFailed
from whisper_lambda.tools.processes import memory_mb, run_cold, tree, tree_cpu_s

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; x = b'x' * 80_000_000; time.sleep(0.5)"])
time.sleep(0.4)
child.wait()
print("text")
"""
BUSY = """
import sys
while sys.stdin.readline():
    sum(i * i for i in range(1_500_000))
    print("done", flush=True)
"""


@linux
def test_memory_counts_the_children_too() -> None:
    cost = run_cold([sys.executable, "-c", PARENT], memory=True)

    assert cost.output == "text\n"
    assert 85 < cost.peak_pss_mb < cost.peak_rss_mb < 140
    assert cost.seconds > 0.4


def test_a_command_that_fails_is_told_with_its_complaint() -> None:
    with pytest.raises(EngineFailed, match=r"exited with 3: .*oh dear"):
        run_cold([sys.executable, "-c", "import sys; print('oh dear', file=sys.stderr); sys.exit(3)"])


@linux
def test_cpu_seconds_are_those_spent_between_two_looks() -> None:
    busy = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert busy.stdin
    assert busy.stdout
    with busy:
        for _ in range(2):  # the second is measured: the first includes the start
            before = tree_cpu_s(busy.pid)
            busy.stdin.write(b"go\n")
            busy.stdin.flush()
            busy.stdout.readline()
            worked = tree_cpu_s(busy.pid) - before
        idle = tree_cpu_s(busy.pid)
        assert worked > 0.02
        assert tree_cpu_s(busy.pid) - idle < 0.02
        busy.stdin.close()


@linux
def test_a_process_that_is_gone_weighs_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()

    assert memory_mb(gone.pid) == (0.0, 0.0)
    assert tree_cpu_s(gone.pid) == 0.0
    assert next(tree(os.getpid())) == os.getpid()
