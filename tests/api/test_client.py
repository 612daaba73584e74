"""The client and the walk of docs/client, as written, against the web server `make run` starts.

The answers come from the services a worker calls, in a thread of the test.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.db import connection

from tests.api.conftest import answer_waiting
from tests.factories import live_model, make_site, make_token, phantom_jpeg
from tests.processes import Running, await_hearing, web_server

pytestmark = pytest.mark.django_db(transaction=True)
CLIENT = Path(__file__).resolve().parents[2] / "docs" / "client"


@pytest.fixture(scope="module")
def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bcweb_client", CLIENT / "bcweb_client.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with web_server(tmp_path_factory.mktemp("web")) as found:
        yield found


@pytest.fixture
def secret() -> str:
    live_model()
    return make_token(site=make_site("main"))[1]


@pytest.fixture
def worker(secret: str) -> Iterator[None]:
    """Whatever waits is answered, a moment later."""
    done = threading.Event()

    def work() -> None:
        try:
            while not done.wait(0.2):
                answer_waiting()
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "phantom.jpg"
    path.write_bytes(phantom_jpeg())
    return path


def test_the_client_hands_in_waits_and_reads(
    server: Running, secret: str, worker: None, module: Any, picture: Path
) -> None:
    client = module.Bcweb(server.url, secret)
    key = f"order-{uuid.uuid4()}"
    sent = client.submit([picture, picture], key=key, patient_id="C-1")
    assert client.submit([picture, picture], key=key, patient_id="C-1").id == sent.id
    jobs = client.wait(sent.id, timeout=300)
    assert [job.state for job in jobs] == ["SUCCEEDED", "SUCCEEDED"]
    result = jobs[0].result
    assert (result.outcome, result.label) == ("answered", "malignant")
    assert sum(result.probabilities.values()) == pytest.approx(1)
    assert client.case(sent.case)["summary"]["final"] is True
    (found,) = client.find_patients(patient_id="C-1")
    assert [case["id"] for case in found["cases"]] == [sent.case]
    listed = list(client.pages("/jobs/", submission=sent.id, page_size="1"))
    assert {job["id"] for job in listed} == set(sent.job_ids)


def test_the_client_waits_for_events_and_polls_where_there_are_none(
    server: Running, secret: str, module: Any, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as first:
        await_hearing(first)
    client = module.Bcweb(server.url, secret)
    asked: list[str] = []
    ask = client._ask

    def counted(method: str, path: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(path)
        return ask(method, path, *args, **kwargs)

    monkeypatch.setattr(client, "_ask", counted)
    sent = client.submit([picture], patient_id="C-2")
    with pytest.raises(module.BcwebTimeoutError):
        # So long that polling would ask a dozen times.
        client.wait(sent.id, timeout=12)
    looks = [path for path in asked if path.startswith("/submissions/") and path != "/submissions/"]
    # When it begins, when the stream stands, when the time is over.
    assert len(looks) <= 4
    # As behind a proxy that cuts every stream off at once.
    monkeypatch.setattr(client, "_until_moved", lambda path, deadline: answer_waiting())
    (job,) = client.wait(sent.id, timeout=300)
    assert job.is_final


def test_the_client_says_why_it_was_refused(
    server: Running, secret: str, module: Any, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear colleague,")
    with pytest.raises(module.BcwebError) as refused:
        module.Bcweb(server.url, secret).submit([letter], patient_id="C-3")
    assert (refused.value.status, refused.value.code) == (415, "image_unsupported")
    assert refused.value.file == "letter.txt"
    assert refused.value.request_id
    with pytest.raises(module.BcwebError) as unknown:
        module.Bcweb(server.url, "bcw_wrong").submission(str(uuid.uuid4()))
    assert unknown.value.code == "not_authenticated"
    with pytest.raises(module.BcwebUnreachableError):
        module.Bcweb("http://127.0.0.1:1", "x", attempts=1).job(str(uuid.uuid4()))


def test_client_and_walk_run_as_commands(
    server: Running, secret: str, worker: None, picture: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "BCWEB_URL": server.url, "BCWEB_TOKEN": secret}

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told = run(sys.executable, str(CLIENT / "bcweb_client.py"), str(picture), "--patient-id", "C-4")
    assert "  malignant  " in told
    # Another picture: the same one is not taken for two patients.
    other = tmp_path / "other.jpg"
    other.write_bytes(phantom_jpeg())
    told = run("sh", str(CLIENT / "walk.sh"), str(other))
    assert "   SUCCEEDED\n" in told
    assert told.rstrip().endswith("image_unsupported")
    assert secret not in told
    assert (tmp_path / "heatmap.png").read_bytes().startswith(b"\x89PNG")
