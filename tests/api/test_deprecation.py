"""What is on its way out says so in its answers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime

import pytest

from cases.api.deprecation import Deprecated
from cases.api.views.cases import CaseListApi
from tests.api.contract import Api

pytestmark = pytest.mark.django_db


def test_a_deprecated_address_tells_since_when_and_until_when(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Deprecation" not in api.get("/cases/").headers
    going = Deprecated(date(2027, 1, 1), date(2028, 1, 1), "https://bcweb.example.org/changes")
    monkeypatch.setattr(CaseListApi, "deprecated", going)
    for response in (api.get("/cases/"), api.get("/cases/?page_size=x")):
        told = response.headers
        since = datetime.fromtimestamp(int(told["Deprecation"].removeprefix("@")), UTC)
        assert since == datetime(2027, 1, 1, tzinfo=UTC)
        assert parsedate_to_datetime(told["Sunset"]) == datetime(2028, 1, 1, tzinfo=UTC)
        assert told["Link"].count(going.link) == 2
    assert "Sunset" not in api.get("/jobs/").headers
