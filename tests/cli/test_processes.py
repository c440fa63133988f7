"""Processes that go on, and their logs: whole, bounded, and their owner's alone."""

import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from driftline_cli import processes, rotation

pytestmark = pytest.mark.process


def test_a_log_holds_all_that_a_process_said_when_it_has_ended(tmp_path: Path):
    code = "import os, sys; print('out'); sys.stdout.flush(); os.write(2, b'err\\nno line end')"
    processes.start(tmp_path, "talker", [sys.executable, "-c", code])
    processes._gone(tmp_path, "talker", 20)
    assert processes.said(tmp_path, "talker") == "out\nerr\nno line end\n"
    processes.stop(tmp_path, "talker")
    assert not list(tmp_path.glob("*.pid"))


def test_a_log_never_outgrows_its_bound_and_nobody_else_reads_it(tmp_path: Path):
    count = 5 * rotation.SIZE // 1000
    code = f"for n in range({count}): print(f'{{n:08d}}' + 'x' * 991)"
    processes.start(tmp_path, "talker", [sys.executable, "-c", code])
    processes._gone(tmp_path, "talker", 60)
    processes._gone(tmp_path, "talker.log", 60)
    logs = sorted(tmp_path.glob("talker.log*"))
    assert len([log for log in logs if log.suffix != ".pid"]) == rotation.FILES
    files = [log for log in logs if log.suffix != ".pid"]
    for log in files:
        assert log.stat().st_size <= rotation.SIZE
        assert log.stat().st_mode & 0o077 == 0
    kept = "".join((tmp_path / f"talker.log{suffix}").read_text() for suffix in (".2", ".1", ""))
    numbers = [int(line[:8]) for line in kept.splitlines()]
    assert numbers == list(range(numbers[0], count)), "the newest lines, without a gap"


def test_a_line_that_never_ends_takes_no_memory(tmp_path: Path):
    code = "import sys\nfor _ in range(300): sys.stdout.write('x' * 100_000)"
    processes.start(tmp_path, "talker", [sys.executable, "-c", code])
    processes._gone(tmp_path, "talker", 60)
    processes._gone(tmp_path, "talker.log", 60)
    assert {len(line) for line in processes.said(tmp_path, "talker").splitlines()[:-1]} == {rotation.LINE}


def test_who_has_ended_and_was_not_waited_for_runs_no_more(tmp_path: Path):
    reading, writing = os.pipe()
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-c", ""], {}, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)]
    )
    os.close(writing)
    processes.note(tmp_path, "child", child)
    with os.fdopen(reading) as end:
        end.read()
    processes._gone(tmp_path, "child", 20)
    for text in ("", "nobody", "-1", str(2**22 + 1)):
        (tmp_path / "child.pid").write_text(text)
        assert processes.running(tmp_path, "child") is None


@pytest.mark.parametrize("noted", ["{pid}", "{pid} another-boot/1"], ids=["of a former release", "of another boot"])
def test_another_process_that_has_the_id_by_now_is_left_alone(tmp_path: Path, noted: str):
    processes.start(tmp_path, "mine", [sys.executable, "-c", "import time; time.sleep(600)"])
    pid = processes.running(tmp_path, "mine")
    shutil.copy(tmp_path / "mine.pid", tmp_path / "kept")
    (tmp_path / "mine.pid").write_text(noted.format(pid=pid))
    processes.stop(tmp_path, "mine")
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    shutil.move(tmp_path / "kept", tmp_path / "mine.pid")
    processes.stop(tmp_path, "mine")
    assert not psutil.pid_exists(pid)


def test_what_still_runs_is_said(tmp_path: Path):
    processes.start(tmp_path, "sleeper", [sys.executable, "-c", "import signal; signal.pause()"])
    with pytest.raises(processes.StillRunningError):
        processes._gone(tmp_path, "sleeper", 0.2)
    processes.stop(tmp_path, "sleeper")
    assert processes.running(tmp_path, "sleeper") is None
