"""The units of deploy/systemd: what can be proved of them without a systemd that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bcweb import secret_files

ROOT = Path(__file__).resolve().parents[1]
UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
LONG_RUNNING = [name for name in SERVICES if name != "bcweb-setup.service"]


def lines(name: str) -> Iterator[tuple[str, str]]:
    """(key, value) of each line; continued lines are one."""
    text = (UNITS / name).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line and line[0] not in "#[;":
            key, _, value = line.partition("=")
            yield key, " ".join(value.split())


def values(name: str, key: str) -> list[str]:
    return [value for found, value in lines(name) if found == key]


def test_there_is_a_unit_for_each_part_and_the_target_wants_them() -> None:
    parts = ("beat", "inference", "maintenance", "setup", "training", "web", "webhooks")
    assert [f"bcweb-{part}.service" for part in parts] == SERVICES
    wanted = " ".join(values("bcweb.target", "Wants")).split()
    assert sorted(wanted) == LONG_RUNNING
    for name in SERVICES:
        assert values(name, "PartOf") == ["bcweb.target"], name


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_kept_in(name: str) -> None:
    told = dict(lines(name))
    assert told["User"] == told["Group"] == "bcweb"
    for switch in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
        assert told[switch] == "yes", switch
    assert told["ProtectSystem"] == "strict"
    assert told["CapabilityBoundingSet"] == ""
    assert told["StateDirectory"] == "bcweb"
    assert re.fullmatch(r"\d+[MG]", told["MemoryMax"])
    # Who calls nobody outside may not.
    ways_out = name in ("bcweb-web.service", "bcweb-webhooks.service")
    assert ("IPAddressDeny" not in told) == ways_out


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_credentials_that_settings_read(name: str) -> None:
    environment = " ".join(values(name, "Environment")).split()
    told = dict(word.split("=", 1) for word in environment)
    given = {value.split(":")[0] for value in values(name, "LoadCredential")}
    named = {
        variable.removesuffix("_FILE"): path.removeprefix("%d/")
        for variable, path in told.items()
        if path.startswith("%d/")
    }
    assert set(named.values()) == given
    assert set(named) <= set(secret_files.NAMES)
    assert not set(told) & (set(secret_files.NAMES) - {"DATABASE_URL"})
    role = "bcweb_owner" if name == "bcweb-setup.service" else "bcweb_app"
    assert f"//{role}@" in told["DATABASE_URL"]
    assert ("owner_password" in given) == (role == "bcweb_owner")
    made = (ROOT / "deploy" / "make-secrets.sh").read_text()
    assert all(secret in made for secret in given)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_comes_after_set_up_and_starts_again(name: str) -> None:
    assert values(name, "Restart") == ["always"]
    assert "bcweb-setup.service" in " ".join(values(name, "After"))
    # Not required: set-up is done anew for another version while the others go on.
    assert values(name, "Wants") == ["bcweb-setup.service"]


def test_every_queue_has_its_worker() -> None:
    commands = [command for name in SERVICES for command in values(name, "ExecStart")]
    queues = {
        queue
        for command in commands
        for found in re.findall(r"--queues (\S+)", command)
        for queue in found.split(",")
    }
    assert queues == {"inference", "training", "maintenance", "webhooks"}
    # systemd reads a single % itself.
    for command in commands:
        assert "@%h" not in command.replace("%%h", "")


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze")
    for path in UNITS.glob("bcweb*.*"):
        text = re.sub(r"/opt/bcweb/\.venv/bin/\w+", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    (tmp_path / "bcweb.env.example").unlink()
    names = sorted(str(path) for path in tmp_path.iterdir())
    done = subprocess.run(
        [program, "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
