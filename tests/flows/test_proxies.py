"""The examples of deploy/proxy, in front of a real web server with the settings of production.

Only names, ports and paths of the files are changed.
"""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from django.conf import global_settings
from pytest_django import Settings

from cases.access import SYSTEM
from cases.services.jobs import job_cancel
from tests.api.test_events_http import events
from tests.certificates import self_signed
from tests.factories import PASSWORD, live_model, make_site, make_token, make_user
from tests.live import ROOT, free_port, wait_for
from tests.phantoms import bmode_phantom, jpeg_bytes
from tests.processes import await_hearing, environment, web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.flow]

EXAMPLES = ROOT / "deploy" / "proxy"
# Debian's names of the programs, which are in no user's path.
PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Proxy:
    """A proxy that runs: its addresses, its certificate and its log of requests."""

    name: str
    url: str
    plain_url: str
    certificate: Path
    log: Path

    def client(self, **headers: str) -> httpx.Client:
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, headers=headers, verify=trust, timeout=60)


def changed(text: str, **pairs: str) -> str:
    """``text`` with each word of it replaced; a word that is not there is a fault of the test."""
    for old, new in pairs.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, upstream: str, port: int, plain: int) -> list[str]:
    site = changed(
        (EXAMPLES / "nginx.conf").read_text(),
        **{
            "server 127.0.0.1:8000": f"server {upstream}",
            "    listen [::]:80;\n": "",
            "    listen [::]:443 ssl http2;\n": "",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "bcweb.example.org": "localhost",
            "/etc/ssl/bcweb": str(folder),
            "/var/log/nginx": str(folder),
        },
    )
    (folder / "site.conf").write_text(site)
    temporary = "".join(
        f"{what}_temp_path {folder / what};\n"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"pid {folder / 'nginx.pid'};\nerror_log {folder / 'error.log'};\ndaemon off;\n"
        f"events {{}}\nhttp {{\n{temporary}include {folder / 'site.conf'};\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, upstream: str, port: int, plain: int) -> list[str]:
    certificate = f"{folder / 'fullchain.pem'} {folder / 'privkey.pem'}"
    site = changed(
        (EXAMPLES / "Caddyfile").read_text(),
        **{
            "bcweb.example.org {": f"localhost {{\n\ttls {certificate}",
            "127.0.0.1:8000": upstream,
            "/var/log/caddy": str(folder),
        },
    )
    general = f"{{\n\thttp_port {plain}\n\thttps_port {port}\n\tadmin off\n}}\n"
    (folder / "Caddyfile").write_text(general + site)
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@pytest.fixture(scope="module")
def state(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the static files that production serves."""
    folder = tmp_path_factory.mktemp("state")
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0"]
    told = environment(BCWEB_STATE=str(folder))
    subprocess.run(collect, cwd=ROOT, env=told, check=True)
    return folder


@pytest.fixture(params=[nginx, caddy], ids=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path, state: Path) -> Iterator[Proxy]:
    """The whole file in front of gunicorn, until the end of the test."""
    make: Callable[[Path, str, int, int], list[str]] = request.param
    program = shutil.which(make.__name__, path=PATH)
    if program is None:
        pytest.skip(f"no {make.__name__} on this machine")
    chain, _ = self_signed(tmp_path, "localhost")
    port, plain = free_port(), free_port()
    url = f"https://localhost:{port}"
    settings = {
        "BCWEB_TLS": "1",
        "BCWEB_BEHIND_PROXY": "1",
        "BCWEB_URL": url,
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "CSRF_TRUSTED_ORIGINS": url,
        "BCWEB_STATE": str(state),
    }
    with web_server(tmp_path, **settings) as server:
        command = make(tmp_path, server.url.removeprefix("http://"), port, plain)
        said = tmp_path / "proxy.log"
        home = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "PATH": PATH}
        with said.open("wb") as output:
            process = subprocess.Popen(
                [program, *command[1:]], stdout=output, stderr=output, env=home
            )
        try:

            def listens() -> bool:
                assert process.poll() is None, said.read_text()
                for asked in (port, plain):
                    with socket.socket() as probe:
                        if probe.connect_ex(("127.0.0.1", asked)) != 0:
                            return False
                return True

            wait_for(f"{make.__name__} to listen", listens)
            log = tmp_path / "bcweb.log"
            yield Proxy(make.__name__, url, f"http://localhost:{plain}", chain, log)
        finally:
            process.terminate()
            process.wait(timeout=120)


def test_what_a_hospital_does_goes_through_the_proxy(proxy: Proxy, settings: Settings) -> None:
    # The web server knows only what production hashes with.
    settings.PASSWORD_HASHERS = global_settings.PASSWORD_HASHERS
    live_model()
    a_system_submits_and_waits(proxy)
    a_person_signs_in_and_looks_for_somebody(proxy)
    if proxy.name == "nginx":  # Caddy counts what it reads
        what_no_case_can_be_is_refused_before_it_is_read(proxy)


def a_system_submits_and_waits(proxy: Proxy) -> None:
    site = make_site()
    secret = make_token(site=site)[1]
    plain = httpx.get(f"{proxy.plain_url}/sign-in/", timeout=60)
    assert plain.status_code in (301, 308)
    assert plain.headers["Location"].startswith("https://localhost")

    # Whatever a client says of itself, bcweb goes by what the proxy says.
    lies = {"X-Forwarded-Proto": "http", "X-Forwarded-For": "203.0.113.9"}
    with proxy.client(Authorization=f"Bearer {secret}", **lies) as api:
        submitted = api.post(
            "/api/v1/submissions/",
            data={"patient_id": "PROXY-1"},
            files={"file": ("a.jpg", jpeg_bytes(bmode_phantom(seed=7)))},
        )
        assert submitted.status_code == 202, submitted.text
        assert submitted.headers["Strict-Transport-Security"]
        told = submitted.json()
        (job,) = told["jobs"]

        await_hearing(api)
        # What happens is told when it happens, not when a buffer is full.
        with api.stream("GET", f"/api/v1/jobs/{job['id']}/events/") as stream:
            assert stream.headers["Content-Type"] == "text/event-stream"
            heard = events(stream.iter_lines())
            name, first = next(heard)
            assert (name, first["jobs"][0]["state"]) == ("snapshot", "PENDING")
            job_cancel(actor=SYSTEM, job_id=job["id"])
            assert next(heard)[1]["state"] == "CANCELLED"

        for inside in ("/metrics", "/readyz"):
            assert api.get(inside).status_code == 404
        assert api.get("/healthz").status_code == 200


def a_person_signs_in_and_looks_for_somebody(proxy: Proxy) -> None:
    person = make_user(roles=["radiologist"])
    with proxy.client() as browser:
        page = browser.get("/sign-in/")
        assert page.status_code == 200
        field = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert field
        form = {
            "csrfmiddlewaretoken": field[1],
            "username": person.username,
            "password": PASSWORD,
        }
        elsewhere = browser.post("/sign-in/", data=form, headers={"Origin": "https://example.org"})
        assert elsewhere.status_code == 403
        signed_in = browser.post("/sign-in/", data=form, headers={"Origin": proxy.url})
        assert signed_in.status_code == 302, signed_in.text
        cookies = {cookie.name: cookie.secure for cookie in browser.cookies.jar}
        assert cookies["sessionid"]
        found = browser.get("/cases/", params={"q": "Lookedfor"})
        assert found.status_code == 200

    def logged() -> str | None:
        text = proxy.log.read_text() if proxy.log.exists() else ""
        return text if "/cases/" in text else None

    log = wait_for("the request in the log", logged)
    assert "Lookedfor" not in log
    assert "sessionid" not in log


def what_no_case_can_be_is_refused_before_it_is_read(proxy: Proxy) -> None:
    port = int(proxy.url.rpartition(":")[2])
    trust = ssl.create_default_context(cafile=str(proxy.certificate))
    with (
        socket.create_connection(("localhost", port), timeout=60) as plain,
        trust.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        secure.sendall(
            b"POST /api/v1/submissions/ HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n" % (3 * 1024**3)
        )
        assert secure.recv(64).startswith(b"HTTP/1.1 413")
