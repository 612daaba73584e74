"""One attempt against real servers: answers, bounds, and where the connection goes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from cases.outbound import OutboundRules, networks_of
from cases.services.deliveries import Ending
from cases.vocabulary import AttemptOutcome
from tests.certificates import self_signed
from tests.receiver import receiver
from worker.webhook_transport import post, system_resolver

HERE = networks_of(["127.0.0.0/8"])
A = AttemptOutcome


def rules(*ports: int, **more: Any) -> OutboundRules:
    return replace(OutboundRules(allowed=HERE, http=True, ports=frozenset(ports)), **more)


def send(url: str, ports: int, **more: Any) -> Ending:
    more.setdefault("rules", rules(ports))
    more.setdefault("seconds", 60)
    return post(url, headers={"webhook-id": "1"}, body=b'{"a":1}', **more)


def test_a_good_answer_is_a_delivery() -> None:
    with receiver() as it:
        ending = send(it.url, it.port)
    assert (ending.outcome, ending.status_code) == (A.DELIVERED, 204)
    (item,) = it.received
    assert item.body == b'{"a":1}'
    assert item.headers["webhook-id"] == "1"
    assert item.headers["host"] == f"127.0.0.1:{it.port}"
    assert ending.duration_ms > 0


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, A.DELIVERED), (299, A.DELIVERED), (304, A.REDIRECTED), (400, A.BAD_STATUS),
     (404, A.BAD_STATUS), (410, A.GONE), (500, A.BAD_STATUS)],
)  # fmt: skip
def test_the_status_says_how_it_went(status: int, outcome: AttemptOutcome) -> None:
    with receiver() as it:
        it.answer = lambda _: (status, {"retry-after": "17"})
        ending = send(it.url, it.port)
    assert (ending.outcome, ending.status_code, ending.retry_after_s) == (outcome, status, 17.0)


def test_a_redirect_is_not_followed_wherever_it_leads() -> None:
    with receiver() as inside, receiver() as it:
        for status in (301, 302, 303, 307, 308):
            it.answer = lambda _, code=status: (code, {"location": inside.url})
            ending = send(it.url, it.port, rules=rules(it.port, inside.port))
            assert (ending.outcome, ending.status_code) == (A.REDIRECTED, status)
        assert len(it.received) == 5
        assert inside.received == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as proxy, receiver() as it:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send(it.url, it.port).outcome is A.DELIVERED
        assert proxy.received == []


def test_an_address_that_is_not_allowed_is_never_connected_to() -> None:
    """Nor is told what a name stands for, but in the operator's log."""
    with receiver() as it:
        strict = rules(it.port, allowed=())
        assert send(it.url, it.port, rules=strict).outcome is A.ADDRESS_REFUSED
        for answer in (["127.0.0.1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"]):
            url = f"http://hooks.example.org:{it.port}/"
            with capture_logs() as log:
                ending = send(url, it.port, rules=strict, resolve=lambda *_, a=answer: a)
            assert ending.outcome is A.ADDRESS_REFUSED
            assert "127.0.0.1" not in ending.detail
            assert [entry["address"] for entry in log] == [answer[-1]]
        assert it.received == []


def test_a_name_of_this_machine_is_resolved_and_refused() -> None:
    assert system_resolver("localhost", 80)
    with receiver() as it:
        url = f"http://localhost:{it.port}/"
        ending = send(url, it.port, rules=rules(it.port, allowed=()))
    assert ending.outcome is A.ADDRESS_REFUSED


def test_a_dns_answer_that_changes_after_the_check_has_no_second_look_up() -> None:
    """First an address that is allowed, then one inside: only the first is ever asked for."""
    with receiver() as it:
        answers = iter([["127.0.0.1"], ["169.254.169.254"]])
        asked = []

        def resolve(host: str, port: int) -> list[str]:
            asked.append(host)
            return next(answers)

        url = f"http://hooks.example.org:{it.port}/"
        assert send(url, it.port, resolve=resolve).outcome is A.DELIVERED
        assert asked == ["hooks.example.org"]
        assert it.received[0].headers["host"] == f"hooks.example.org:{it.port}"
        # The next attempt looks, and checks, anew.
        assert send(url, it.port, resolve=resolve).outcome is A.ADDRESS_REFUSED
    assert len(it.received) == 1


def test_a_name_without_an_address_and_a_slow_resolver_end_the_attempt() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror("unknown")

    over = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        over.wait(30)
        return ["127.0.0.1"]

    url = "http://hooks.example.org:8080/"
    assert send(url, 8080, resolve=unknown).outcome is A.NOT_RESOLVED
    assert send(url, 8080, resolve=slow, seconds=0.2).outcome is A.NOT_RESOLVED
    over.set()


def test_the_next_address_is_tried_where_one_takes_no_connection() -> None:
    with receiver() as it:
        url = f"http://hooks.example.org:{it.port}/"
        both = ["127.0.0.2", "127.0.0.1"]
        assert send(url, it.port, resolve=lambda *_: both).outcome is A.DELIVERED
    with socket.socket() as silent:
        # Held and never listened at: nobody else can begin to.
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        assert send(f"http://127.0.0.1:{port}/", port).outcome is A.NOT_CONNECTED


def test_the_next_address_is_tried_where_one_says_nothing_at_all() -> None:
    with receiver() as it, socket.socket() as deaf, ExitStack() as stack:
        # Linux drops what comes once nobody takes connections and the queue of them is full.
        deaf.bind(("127.0.0.2", it.port))
        deaf.listen(0)
        for _ in range(4):
            knock = stack.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(("127.0.0.2", it.port))
        url = f"http://hooks.example.org:{it.port}/"
        both = ["127.0.0.2", "127.0.0.1"]
        ending = send(url, it.port, resolve=lambda *_: both, seconds=10)
    assert ending.outcome is A.DELIVERED
    # Half of the time was the first one's.
    assert ending.duration_ms >= 4900


@contextmanager
def raw_server(*pieces: bytes, pause: float = 0.0, forever: bool = False) -> Iterator[int]:
    """Sends ``pieces`` to whoever connects; with ``forever`` the last one again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            try:
                for piece in pieces:
                    client.sendall(piece)
                while forever and not ended.wait(pause):
                    client.sendall(pieces[-1])
                ended.wait(pause)
            except OSError:
                return  # the sender has gone

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        thread.join(10)
        listener.close()


def test_a_receiver_that_says_nothing_or_drips_bytes_is_left_when_the_time_is_up() -> None:
    began = time.monotonic()
    with raw_server(pause=30) as port:
        silent = send(f"http://127.0.0.1:{port}/", port, seconds=2)
    with raw_server(b"HTTP/1.1 200 OK\r\nx: ", b"a", pause=0.1, forever=True) as port:
        dripping = send(f"http://127.0.0.1:{port}/", port, seconds=2)
    assert {silent.outcome, dripping.outcome} == {A.TIMED_OUT}
    assert time.monotonic() - began < 15


def test_an_endless_answer_is_not_read_and_endless_headers_are_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"
    with raw_server(head, b"x" * 65536, forever=True) as port:
        assert send(f"http://127.0.0.1:{port}/", port).outcome is A.DELIVERED
    with raw_server(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 65536, forever=True) as port:
        assert send(f"http://127.0.0.1:{port}/", port).outcome is A.BAD_ANSWER
    for noise in (b"not http at all\r\n\r\n", b""):
        with raw_server(noise) as port:
            assert send(f"http://127.0.0.1:{port}/", port).outcome is A.BAD_ANSWER


def test_tls_names_the_host_and_checks_it_though_the_address_is_pinned(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "hooks.example.org")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    trust = ssl.create_default_context(cafile=str(certificate))
    with receiver(server) as it:
        here: dict[str, Any] = {"resolve": lambda *_: ["127.0.0.1"], "trust": trust}
        good = send(f"https://hooks.example.org:{it.port}/in", it.port, **here)
        assert (good.outcome, asked) == (A.DELIVERED, ["hooks.example.org"])
        other = send(f"https://other.example.org:{it.port}/in", it.port, **here)
        assert other.outcome is A.TLS_FAILED
        assert "certificate is not accepted" in other.detail
        unknown = send(f"https://hooks.example.org:{it.port}/in", it.port, resolve=here["resolve"])
        assert unknown.outcome is A.TLS_FAILED
        assert len(it.received) == 1
    with receiver() as plain:
        ending = send(f"https://127.0.0.1:{plain.port}/", plain.port, seconds=5)
    assert ending.outcome in (A.TLS_FAILED, A.BAD_ANSWER, A.NOT_CONNECTED, A.TIMED_OUT)
