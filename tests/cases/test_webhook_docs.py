"""The code that docs/webhooks.md gives to receivers works, and its words are those of the code."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from cases.signing import new_secret, signed_headers
from cases.vocabulary import WebhookEvent
from tests.api.contract import template_of

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()
BODY = b'{"type":"ping"}'


@pytest.fixture(scope="module")
def verify() -> Any:
    """The documented function, as a reader would copy it."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["verify"]


def signed(*secrets: str, timestamp: int | None = None) -> dict[str, str]:
    moment = int(time.time()) if timestamp is None else timestamp
    return signed_headers(secrets, message_id="an-id", timestamp=moment, body=BODY)


def test_the_documented_code_takes_what_is_signed_and_nothing_else(verify: Any) -> None:
    secret, other = new_secret(), new_secret()
    assert verify(secret, signed(secret), BODY)
    # After a rotation either secret is enough.
    assert verify(secret, signed(other, secret), BODY)
    assert verify(other, signed(other, secret), BODY)
    assert not verify(other, signed(secret), BODY)
    assert not verify(secret, signed(secret), BODY + b" ")
    assert not verify(secret, {**signed(secret), "webhook-id": "another"}, BODY)
    assert not verify(secret, signed(secret, timestamp=int(time.time()) - 400), BODY)
    shifted = {**signed(secret), "webhook-timestamp": str(int(time.time()) + 10)}
    assert not verify(secret, shifted, BODY)
    assert not verify(secret, {}, BODY)
    assert not verify(secret, {**signed(secret), "webhook-timestamp": "soon"}, BODY)


def test_a_known_message_of_the_specification_has_its_signature() -> None:
    """The example of the Standard Webhooks specification and its libraries."""
    headers = signed_headers(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_every_event_and_address_is_described() -> None:
    for event in WebhookEvent:
        assert f"| `{event.value}` |" in TEXT
    ids = "00000000-0000-4000-8000-000000000000"
    named = re.findall(r"`(?:GET|POST) (/[^\s?`]*)", TEXT)
    assert len(named) > 8
    for path in named:
        assert template_of("/api/v1" + path.replace("{id}", ids)), path
