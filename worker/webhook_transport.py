"""One POST to an address that somebody else named: bounded, and to the very IP address that was
checked.

The host is resolved once; every address it stands for must be allowed; the connection goes to one
of these, with the host's own name in TLS. A DNS answer that changes between check and call has no
second look-up to come in by. Redirects are not followed, proxies of the environment not used, and
of the answer only status and headers are read.
"""

from __future__ import annotations

import functools
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

import httpcore
import structlog

from cases.outbound import AddressRefused, OutboundRules, Target, address_check, target_of
from cases.services.deliveries import Ending
from cases.vocabulary import AttemptOutcome

Resolver = Callable[[str, int], list[str]]
# A name with more addresses than this is not tried at all of them.
MOST_ADDRESSES = 4
INSIDE = "The host's name stands for an address inside this or another network: it is not called."

log = structlog.get_logger(__name__)


class NotResolved(Exception):
    """The host's name has no address, or nobody answers for it in time."""


class TlsFailed(Exception):
    """The other side has no certificate for its name that is trusted, or no TLS. In words."""


def system_resolver(host: str, port: int) -> list[str]:
    """The IP addresses of ``host``, as the system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Clock:
    """The end of all that one attempt may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, error: type[Exception]) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise error("the time is up")
        return left


class _BoundedStream(httpcore.NetworkStream):
    """A stream whose every step ends with the attempt: a receiver that sends a byte now and then
    keeps nobody."""

    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._clock.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._clock.left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._clock.left(httpcore.ConnectTimeout)
        try:
            inner = self._stream.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectError as error:
            # The pool takes the cause away on its way up.
            if isinstance(error.__cause__, ssl.SSLError):
                raise TlsFailed(_tls_words(error.__cause__)) from error
            raise
        return _BoundedStream(inner, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class PinnedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were resolved once and checked, all of them, and to no other."""

    def __init__(self, rules: OutboundRules, resolve: Resolver, clock: _Clock) -> None:
        self._rules, self._resolve, self._clock = rules, resolve, clock
        self._dial = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        last: Exception = NotResolved()
        addresses = self._checked(host, port)[:MOST_ADDRESSES]
        for number, address in enumerate(addresses):
            try:
                # Its share of the time: a first one that says nothing leaves some for the next.
                left = self._clock.left(httpcore.ConnectTimeout) / (len(addresses) - number)
                stream = self._dial.connect_tcp(address, port, left)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
            else:
                return _BoundedStream(stream, self._clock)
        raise last

    def _checked(self, host: str, port: int) -> list[str]:
        """The addresses of ``host``. One that is not allowed speaks against all."""
        left = self._clock.left(NotResolved)
        addresses = _within(left, functools.partial(self._resolve, host, port))
        for address in addresses:
            try:
                address_check(ip_address(address), self._rules)
            except AddressRefused as error:
                # What names of this network stand for is the operator's to know, not a site's.
                log.warning("webhook_address_refused", host=host, address=address)
                raise AddressRefused(INSIDE) from error
        return addresses

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Any = None
    ) -> httpcore.NetworkStream:
        raise AddressRefused("Sockets of this machine are not called.")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("nothing is tried twice here")


def _within(seconds: float, look_up: Callable[[], list[str]]) -> list[str]:
    """``look_up`` in a thread: the system's resolver cannot be told how long it may take."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(look_up())
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=run, name="webhook-dns", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise NotResolved from None
    if isinstance(answer, Exception) or not answer:
        raise NotResolved
    return answer


@functools.cache
def system_trust() -> ssl.SSLContext:
    """The system's certificate authorities (or those of SSL_CERT_FILE), TLS 1.2 and later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def post(
    url: str,
    *,
    headers: dict[str, str],
    body: bytes,
    rules: OutboundRules,
    seconds: float,
    resolve: Resolver = system_resolver,
    trust: ssl.SSLContext | None = None,
) -> Ending:
    """Send ``body`` and say how it went, in at most ``seconds``. Raises nothing for what the other
    side does."""
    began = time.monotonic()

    def ending(outcome: AttemptOutcome, detail: str, **more: Any) -> Ending:
        return Ending(outcome, detail, round((time.monotonic() - began) * 1000, 1), **more)

    try:
        target = target_of(url, rules)
        backend = PinnedBackend(rules, resolve, _Clock(seconds))
        status, answered = _exchange(target, backend, headers, body, trust or system_trust())
    except AddressRefused as error:
        return ending(AttemptOutcome.ADDRESS_REFUSED, str(error))
    except NotResolved:
        return ending(AttemptOutcome.NOT_RESOLVED, "The host's name has no address.")
    except httpcore.TimeoutException:
        return ending(AttemptOutcome.TIMED_OUT, f"No answer within {seconds:g} s.")
    except TlsFailed as error:
        return ending(AttemptOutcome.TLS_FAILED, str(error))
    except httpcore.ConnectError:
        return ending(AttemptOutcome.NOT_CONNECTED, "The receiver takes no connection.")
    except (httpcore.NetworkError, httpcore.ProtocolError):
        return ending(AttemptOutcome.BAD_ANSWER, "The connection broke, or what came is no HTTP.")
    outcome, words = _judge(status)
    return ending(outcome, words, status_code=status, retry_after_s=_retry_after(answered))


def _exchange(
    target: Target,
    backend: PinnedBackend,
    headers: dict[str, str],
    body: bytes,
    trust: ssl.SSLContext,
) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of the answer. Its body is not read: it may be anything of any length."""
    url = httpcore.URL(
        scheme=target.scheme.encode(),
        host=target.host.encode(),
        port=target.port,
        target=target.path.encode(),
    )
    told = {"host": _host_header(target), "content-length": str(len(body)), **headers}
    told |= {"connection": "close", "accept": "*/*"}
    pool = httpcore.ConnectionPool(
        ssl_context=trust, network_backend=backend, http1=True, http2=False, retries=0
    )
    with (
        pool,
        pool.stream("POST", url, headers=list(told.items()), content=body) as response,
    ):
        return response.status, {name.lower(): value for name, value in response.headers}


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = {"https": 443, "http": 80}[target.scheme]
    return host if target.port == usual else f"{host}:{target.port}"


def _judge(status: int) -> tuple[AttemptOutcome, str]:
    if 200 <= status < 300:
        return AttemptOutcome.DELIVERED, "Delivered."
    if 300 <= status < 400:
        return AttemptOutcome.REDIRECTED, "The receiver redirects; redirects are not followed."
    if status == 410:
        return AttemptOutcome.GONE, "The receiver says that the address is gone for good."
    return AttemptOutcome.BAD_STATUS, f"The receiver answered with status {status}."


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The certificate is not accepted: {error.verify_message}."
    return "No TLS connection could be agreed on."


def _retry_after(headers: dict[bytes, bytes]) -> float:
    text = headers.get(b"retry-after", b"").strip()
    return float(text) if text.isdigit() and len(text) < 8 else 0.0
