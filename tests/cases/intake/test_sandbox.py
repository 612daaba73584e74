"""A file that crashes, hangs or swells its decoder costs that file and nothing else."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cases.errors import ImageCorrupt, Overloaded
from cases.intake import Limits, inspect, sandbox
from cases.intake.sandbox import Pool
from tests.cases.intake.conftest import Take
from tests.phantoms import bmode_phantom, jpeg_bytes

MISBEHAVING = ("-m", "tests.cases.intake.misbehaving")
ROOT = Path(__file__).resolve().parents[3]
SMALL = Limits(wall_s=60, memory_bytes=128 * 2**20)
# For what never ends: all else may take longer than that on a busy machine.
QUICK = replace(SMALL, wall_s=0.5)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(size=2, command=MISBEHAVING, wait_s=300)
    yield pool
    pool.close()


def say(pool: Pool, what: int | str = "hello") -> int:
    """Have the child answer; its process id."""
    result, payload = pool.run("echo", "/nowhere", Limits(), say=what)
    assert result["said"] == what
    assert payload == str(what).encode() * 1000
    return int(result["pid"])


def has_ended(pid: int, within_s: float = 60) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


def test_child_is_kept_for_the_next_file(pool: Pool) -> None:
    assert say(pool) == say(pool)


@pytest.mark.parametrize("habit", ["crash", "babble", "hang", "blow_up", "map_too_much"])
def test_bad_file_is_refused_and_the_next_one_gets_a_fresh_child(
    habit: str, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    before = say(pool)
    with pytest.raises(ImageCorrupt) as refusal:
        pool.run(habit, "/nowhere", QUICK if habit == "hang" else SMALL)
    assert refusal.value.detail.endswith(".")
    assert say(pool) != before
    assert has_ended(before)
    memory = dict.fromkeys(("blow_up", "map_too_much"), "decoder_out_of_memory")
    events = {"hang": "decoder_hung", **memory}
    assert events.get(habit, "decoder_died") in caplog.text


def test_hang_and_memory_are_told_apart_in_words(pool: Pool) -> None:
    with pytest.raises(ImageCorrupt, match="too long"):
        pool.run("hang", "/nowhere", QUICK)
    with pytest.raises(ImageCorrupt, match="too much memory"):
        pool.run("blow_up", "/nowhere", SMALL)


def test_file_is_tried_once_more_when_its_child_died(pool: Pool, tmp_path: Path) -> None:
    before = say(pool)
    result, _ = pool.run("crash_once", "/nowhere", Limits(), flag=str(tmp_path / "flag"))
    assert result["pid"] != before


def test_child_killed_while_idle_is_replaced_unnoticed(pool: Pool) -> None:
    pid = say(pool)
    os.kill(pid, signal.SIGKILL)
    assert has_ended(pid)
    assert say(pool) != pid


def test_fault_of_ours_is_logged_by_its_place_and_without_its_message(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ImageCorrupt):
        pool.run("fail", "/nowhere", Limits())
    assert "decoder_fault op=fail error=KeyError at=misbehaving.py:" in caplog.text
    assert "Secret" not in caplog.text


def test_many_threads_share_the_children_and_get_their_own_answers(pool: Pool) -> None:
    with ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(lambda i: say(pool, i), range(64)))
    assert 1 <= len(pids) <= 2
    assert set(pool.pids()) == pids


def test_good_files_pass_while_others_bring_their_children_down(pool: Pool) -> None:
    def work(index: int) -> str:
        if index % 4 == 3:
            with pytest.raises(ImageCorrupt):
                pool.run("crash", "/nowhere", SMALL)
            return "refused"
        say(pool, index)
        return "passed"

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(work, range(12)))
    assert outcomes.count("refused") == 3
    assert outcomes.count("passed") == 9


def test_no_free_child_in_time_is_overload_and_not_the_fault_of_the_file() -> None:
    busy = Pool(size=1, command=MISBEHAVING, wait_s=0.01)
    busy._slots.acquire()
    with pytest.raises(Overloaded) as refusal:
        say(busy)
    assert refusal.value.retry_after
    busy._slots.release()
    say(busy)
    busy.close()


def test_decoder_that_cannot_start_is_overload() -> None:
    broken = Pool(size=1, command=("-c", "raise SystemExit(3)"))
    with pytest.raises(Overloaded):
        say(broken)


def test_child_is_replaced_after_its_share_of_files(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "JOBS_PER_CHILD", 3)
    pids = [say(pool) for _ in range(6)]
    assert pids[0] == pids[2] != pids[3] == pids[5]
    assert has_ended(pids[0])


def test_child_outlives_the_thread_that_asked_for_it(pool: Pool) -> None:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(say(pool)))
    thread.start()
    thread.join()
    assert not has_ended(found[0], within_s=0.3)
    assert say(pool) == found[0]


def test_memory_limit_is_set_anew_for_each_file(pool: Pool) -> None:
    roomy = Limits(memory_bytes=2**30)
    first, _ = pool.run("describe", "/nowhere", SMALL)
    second, _ = pool.run("describe", "/nowhere", roomy)
    difference = second["limits"]["AS"][0] - first["limits"]["AS"][0]
    assert difference == roomy.memory_bytes - SMALL.memory_bytes


def test_child_has_no_secrets_and_no_powers(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:s3cret@host/db")
    found, _ = pool.run("describe", "/nowhere", Limits())
    assert not {"SECRET_KEY", "DATABASE_URL"} & set(found["environment"])
    assert "s3cret" not in repr(found["environment"])
    for name in ("CORE", "FSIZE", "NPROC"):
        assert found["limits"][name] == [0, 0]
    assert found["limits"]["NOFILE"] == [32, 32]
    assert found["no_new_privs"]


def test_child_loads_neither_django_nor_torch(pool: Pool) -> None:
    found, _ = pool.run("describe", "/nowhere", Limits())
    assert "pydicom" in found["modules"]
    assert not {"django", "torch", "celery", "psycopg"} & set(found["modules"])


def test_closing_ends_the_children_and_the_pool_can_go_on(pool: Pool) -> None:
    pid = say(pool)
    pool.close()
    assert has_ended(pid)
    assert say(pool) != pid


def test_children_die_with_a_parent_that_is_killed() -> None:
    program = (
        "import sys, time\n"
        "from cases.intake import sandbox\n"
        "sandbox.warm(2)\n"
        "print(*sandbox.pool().pids(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.communicate()
    assert all(has_ended(pid) for pid in pids)


def test_children_end_when_the_interpreter_exits() -> None:
    program = (
        "from cases.intake import sandbox\n"
        "sandbox.warm()\n"
        "print(*sandbox.pool().pids(), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, cwd=ROOT, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert has_ended(int(done.stdout))


def test_forked_process_uses_children_of_its_own(take: Take) -> None:
    file = take(jpeg_bytes(bmode_phantom(0, (96, 128))))
    inspect(file)
    before = sandbox.pool().pids()
    child = os.fork()
    if child == 0:
        try:
            inspect(file)
            os._exit(1 if set(sandbox.pool().pids()) & set(before) else 0)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    inspect(file)
    assert sandbox.pool().pids() == before
