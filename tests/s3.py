"""A local S3-compatible server as a process of its own, behind a gate that can break at will."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3

from bcweb import byte_store
from tests.live import free_port, wait_for

BUCKET = "bcweb-tests"
_HOP = ("connection", "transfer-encoding", "keep-alive")


@contextmanager
def s3_server() -> Iterator[int]:
    """Run the server; yield its port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, "the S3 server has ended"
        try:
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            link.request("GET", "/")
            return link.getresponse().status == 200
        except OSError:
            return False

    try:
        wait_for("the S3 server answers", answers, seconds=120, every=0.2)
        yield port
    finally:
        process.kill()
        process.wait()


class Gate:
    """Passes requests on to the server; ``fails`` says which ones die without an answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.puts_until_down: int | None = None
        self.is_down = False
        self.only_puts = False
        # Set: requests wait for it before they are passed on.
        self.hanging: threading.Event | None = None
        self.seen: list[str] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def _pass_on(self) -> None:
                gate.pass_on(self)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def fails(self, method: str) -> bool:
        if method == "PUT" and self.puts_until_down is not None:
            self.is_down = self.puts_until_down == 0
            self.puts_until_down = max(self.puts_until_down - 1, 0)
        return self.is_down and (method == "PUT" or not self.only_puts)

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append(f"{handler.command} {handler.path}")
        if self.hanging is not None:
            self.hanging.wait(300)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if self.fails(handler.command):
            handler.close_connection = True
            return
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {k: v for k, v in handler.headers.items() if k.lower() != "expect"}
            link.request(handler.command, handler.path, body=body, headers=headers)
            answer = link.getresponse()
            content = answer.read()
        finally:
            link.close()
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in (*_HOP, "content-length", "date", "server"):
                handler.send_header(name, value)
        length = answer.getheader("Content-Length") if handler.command == "HEAD" else None
        handler.send_header("Content-Length", length or str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def up(self) -> None:
        self.is_down, self.only_puts, self.puts_until_down = False, False, None

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def client(port: int) -> Any:
    """Somebody with the keys, past the service."""
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )


def storage_of(url: str, *, prefix: str, seconds: int = 60, attempts: int = 1) -> dict[str, Any]:
    """The entry of STORAGES that the environment would make; patient, unless told otherwise."""
    told = {
        "BCWEB_STORAGE": "s3",
        "BCWEB_S3_BUCKET": BUCKET,
        "BCWEB_S3_PREFIX": prefix,
        "BCWEB_S3_ENDPOINT": url,
        "BCWEB_S3_REGION": "us-east-1",
        "BCWEB_S3_ACCESS_KEY": "key",
        "BCWEB_S3_SECRET_KEY": "secret",
        "BCWEB_S3_ADDRESSING": "path",
        "BCWEB_S3_SECONDS": seconds,
        "BCWEB_S3_ATTEMPTS": attempts,
    }
    return byte_store.uploads_storage(told, max_upload_bytes=1024**2, lease_seconds=240)


def stopwatch() -> Any:
    """Seconds since it was made."""
    began = time.monotonic()
    return lambda: time.monotonic() - began
