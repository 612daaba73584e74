"""Folders, URLs and what is said when a piece is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dj_database_url
import pytest
import redis

from bcweb.embedded import StartupError, cache_url, database_url, paths, redis_url, state_dir
from tests.embedded.conftest import ROOT


def test_database_url_is_read_as_a_socket_folder_by_dj_database_url(tmp_path: Path) -> None:
    parsed = dj_database_url.parse(database_url(tmp_path))
    assert parsed["HOST"] == str(paths.run_folder(tmp_path))
    assert (parsed["USER"], parsed["NAME"], parsed["PORT"]) == ("app", "bcweb", "")


def test_cache_url_of_the_embedded_valkey_is_read_as_a_socket_by_redis_py(tmp_path: Path) -> None:
    client = redis.from_url(cache_url(redis_url(tmp_path)))
    expected = str(paths.valkey_socket(tmp_path))
    assert client.connection_pool.connection_kwargs["path"] == expected


def test_cache_url_leaves_network_urls_as_they_are() -> None:
    assert cache_url("rediss://:secret@queue.example:6380/1") == (
        "rediss://:secret@queue.example:6380/1"
    )


def test_sockets_fit_into_the_kernels_limit_for_a_state_folder_of_any_depth(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a rather long folder name"] * 8)
    assert len(os.fsencode(paths.postgres_socket(deep))) < 107
    assert len(os.fsencode(paths.valkey_socket(deep))) < 107


def test_two_names_of_one_state_folder_share_a_run_folder(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    assert paths.run_folder(real) == paths.run_folder(tmp_path / "link")
    assert paths.run_folder(real) != paths.run_folder(tmp_path / "other")


def test_state_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_STATE", str(tmp_path / "x"))
    assert state_dir() == tmp_path / "x"
    monkeypatch.delenv("BCWEB_STATE")
    assert state_dir() == ROOT / "var"


def test_run_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    folder = paths.run_folder(tmp_path)
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(StartupError, match="belongs to somebody else or is a link"):
            paths.make_run_folder(tmp_path)
    finally:
        folder.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_run_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = paths.run_folder(tmp_path)
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    try:
        with pytest.raises(StartupError, match="belongs to somebody else"):
            paths.make_run_folder(tmp_path)
    finally:
        folder.rmdir()


def test_run_folder_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = paths.run_folder(tmp_path)
    folder.mkdir(mode=0o755)
    try:
        paths.make_run_folder(tmp_path)
        assert folder.stat().st_mode & 0o777 == 0o700
    finally:
        folder.rmdir()


def test_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartupError, match=r"cannot be written .* STATE=/path"):
        paths.make_state_dir(tmp_path / "file" / "state")


def test_disk_without_room_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", str(10**12))
    with pytest.raises(StartupError, match="free some space"):
        paths.check_free_space(tmp_path)
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", "plenty")
    with pytest.raises(StartupError, match="whole number of megabytes"):
        paths.check_free_space(tmp_path)


def test_postgres_folder_without_postgres_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCWEB_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(StartupError, match="no postgres and initdb are there"):
        paths.postgres_bin()


def test_platform_without_any_postgres_or_valkey_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BCWEB_POSTGRES_BIN", raising=False)
    monkeypatch.delenv("BCWEB_VALKEY_SERVER", raising=False)
    monkeypatch.setattr(paths, "_package_folder", lambda name: None)
    monkeypatch.setattr(paths, "_system_postgres", list)
    monkeypatch.setattr(paths.shutil, "which", lambda name: None)
    with pytest.raises(StartupError, match="install Postgres 15 or later"):
        paths.postgres_bin()
    with pytest.raises(StartupError, match="install valkey-server or redis-server"):
        paths.valkey_server()


def test_package_is_importable_without_site_packages() -> None:
    program = "import types, sys; p = types.ModuleType('bcweb'); p.__path__ = ['bcweb']; "
    program += "sys.modules['bcweb'] = p; import bcweb.embedded.__main__"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
