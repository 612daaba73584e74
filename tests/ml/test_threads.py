"""The CPU quota of a control group, read from files like the kernel's."""

import os
from pathlib import Path

import pytest

from ml.threads import cpu_count, default_threads


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write files under a made-up root; 8 CPUs to be scheduled on."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/").replace("--", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def v2(cgroup: str, **limits: str) -> dict[str, str]:
    """Files of cgroup v2: ``limits`` by folder ("" is the top)."""
    files = {"proc__self__cgroup": f"0::{cgroup}\n"}
    for folder, text in limits.items():
        files[f"sys__fs__cgroup__{folder}__cpu--max".replace("____", "__")] = text
    return files


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),  # 2.5 CPUs: a third thread would be stopped half of its time
        ("50000 100000\n", 1),
        ("max 100000\n", 8),
        ("1600000 100000\n", 8),  # more than may be scheduled on
        ("nonsense", 8),
        ("", 8),
        ("0 0", 8),
    ],
)
def test_the_quota_of_a_container_is_heeded(kernel, text, count):
    assert cpu_count(kernel(**v2("/", **{"": text}))) == count


def test_the_tightest_group_above_counts(kernel):
    files = v2("/a/b", a__b="max 100000", a="300000 100000")
    assert cpu_count(kernel(**files)) == 3
    assert cpu_count(kernel(**v2("/a/b", a__b="100000 100000", a="300000 100000"))) == 1


def test_a_group_path_of_the_host_is_looked_for_from_the_containers_top(kernel):
    # Without a cgroup namespace the path names folders that the container does not see.
    assert cpu_count(kernel(**v2("/docker/abc", **{"": "400000 100000"}))) == 4


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1_is_read_too(kernel, mount):
    root = kernel(
        proc__self__cgroup=f"5:memory:/x\n4:{mount}:/x\n1:name=systemd:/x\n",
        **{
            f"sys__fs__cgroup__{mount}__x__cpu--cfs_quota_us": "300000\n",
            f"sys__fs__cgroup__{mount}__x__cpu--cfs_period_us": "100000\n",
            f"sys__fs__cgroup__{mount}__cpu--cfs_quota_us": "-1\n",
            f"sys__fs__cgroup__{mount}__cpu--cfs_period_us": "100000\n",
        },
    )
    assert cpu_count(root) == 3


def test_without_control_groups_it_is_the_cpus_to_be_scheduled_on(tmp_path, monkeypatch):
    assert cpu_count(tmp_path) == len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert cpu_count(tmp_path) == 1


@pytest.mark.parametrize(("told", "count"), [("3", 3), ("0", 5), ("", 5), ("2,1", 5)])
def test_a_number_set_by_hand_goes_first(monkeypatch, told, count):
    monkeypatch.setattr("ml.threads.cpu_count", lambda: 5)
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert default_threads() == count
