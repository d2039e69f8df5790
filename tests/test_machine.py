import os

import pytest

from facesearch import machine
from facesearch.errors import FacesearchError
from facesearch.machine import decoders, processor_limit, processors


@pytest.fixture
def granted(tmp_path, monkeypatch):
    """Says what a process of 64 processors may use, by the files of its control groups."""
    monkeypatch.delenv("FACESEARCH_JOBS", raising=False)
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)

    def granted(proc, files):
        (tmp_path / "proc").write_text(proc)
        for name, text in files.items():
            path = tmp_path / "groups" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        machine._granted_processors.cache_clear()
        return processors()

    yield granted
    machine._granted_processors.cache_clear()


QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("proc", "files", "count"),
    [
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000"}, 2),
        ("0::/\n", {"cpu.max": "10000 100000"}, 1),
        ("0::/\n", {"cpu.max": "max 100000"}, 64),
        ("0::/a/b\n", {"cpu.max": "max 1000", "a/cpu.max": "3000 1000", "a/b/cpu.max": "5000 1000"}, 3),
        ("0::/elsewhere\n", {"cpu.max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/d\n0::/\n", {f"cpu,cpuacct/d/{QUOTA}": "25", f"cpu,cpuacct/d/{PERIOD}": "10"}, 3),
        ("4:cpu:/d\n", {f"cpu/{QUOTA}": "-1", f"cpu/{PERIOD}": "100000"}, 64),
        ("", {}, 64),
        ("nonsense\n", {"cpu.max": "x y"}, 64),
    ],
)  # fmt: skip
def test_a_container_uses_what_it_is_granted(granted, proc, files, count):
    assert granted(proc, files) == count


GIB = 1 << 30


@pytest.mark.parametrize(
    ("proc", "files", "physical", "count"),
    [
        ("0::/\n", {"memory.max": str(3 * GIB)}, 64 * GIB, 4),
        ("0::/a\n", {"memory.max": str(3 * GIB), "a/memory.max": str(2 * GIB)}, 64 * GIB, 2),
        ("0::/\n", {"memory.max": "100000000"}, 64 * GIB, 1),
        ("0::/\n", {"memory.max": "max", "cpu.max": "300000 100000"}, 64 * GIB, 3),
        ("0::/\n", {"memory.max": "max"}, 5 * GIB, 8),
        ("9:memory:/d\n4:cpu:/d\n", {"memory/d/memory.limit_in_bytes": str(2 * GIB)}, 64 * GIB, 2),
        ("9:memory:/d\n", {"memory/d/memory.limit_in_bytes": "9223372036854771712"}, 64 * GIB, 64),
        ("", {}, 0, 64),
    ],
)  # fmt: skip
def test_no_more_photos_are_decoded_at_once_than_fit_into_memory(
    granted, monkeypatch, proc, files, physical, count
):
    pages = {"SC_PHYS_PAGES": physical // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
    granted(proc, files)
    assert decoders() == count


def test_where_the_system_does_not_tell_its_memory_the_processors_decide(granted, monkeypatch):
    monkeypatch.delattr(os, "sysconf", raising=False)
    granted("", {})
    assert decoders() == processors() == 64


@pytest.mark.parametrize(("quota", "limit"), [("200000 100000", 2), ("max 100000", 0)])
def test_a_library_that_knows_nothing_of_containers_is_told_of_a_limit_only(
    granted, monkeypatch, quota, limit
):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    granted("0::/\n", {"cpu.max": quota})
    assert processor_limit() == limit


def test_who_says_how_many_is_heeded(granted, monkeypatch):
    granted("0::/\n", {"cpu.max": "200000 100000"})
    monkeypatch.setenv("FACESEARCH_JOBS", "7")
    assert processors() == 7


@pytest.mark.parametrize("wanted", ["0", "-1", "two", "1.5", "٣"])
def test_what_is_no_number_of_processors_is_said(monkeypatch, wanted):
    monkeypatch.setenv("FACESEARCH_JOBS", wanted)
    with pytest.raises(FacesearchError, match="not a number of processors") as raised:
        processors()
    assert raised.value.hint


def test_a_process_that_is_bound_to_some_processors_uses_these(monkeypatch):
    monkeypatch.delenv("FACESEARCH_JOBS", raising=False)
    machine._granted_processors.cache_clear()
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert processors() == 1
    machine._granted_processors.cache_clear()
