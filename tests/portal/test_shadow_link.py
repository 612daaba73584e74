"""Who is led to what a model said in shadow, and from which models."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cases.models import ModelVersion
from cases.states import ModelState
from tests.cases.governing import candidate, promoted
from tests.factories import live_model, make_user
from tests.portal.conftest import SignIn, World
from tests.portal.markup import text_of

pytestmark = pytest.mark.django_db


def page_of(model: ModelVersion) -> str:
    return reverse("model-detail", args=[model.pk])


def test_who_reads_cases_sees_nothing_of_the_shadow_whatever_else_they_do(
    world: World, sign_in: SignIn
) -> None:
    model = promoted(candidate(), ModelState.SHADOW)
    url = reverse("model-shadow", args=[model.pk])
    link = "where it and the live model disagree"
    for roles, status in (
        (["admin"], 200),
        (["admin", "sonographer"], 200),
        (["admin", "radiologist"], 403),
        (["approver", "radiologist"], 403),
    ):
        client = sign_in(make_user(roles=roles, site=world.site))
        assert (roles, client.get(url).status_code) == (roles, status)
        assert (link in text_of(client.get(page_of(model)))) is (status == 200)


def test_a_live_model_leads_there_where_it_has_been_in_shadow(sign_in: SignIn) -> None:
    client, words = sign_in(role="admin"), "Shadow: what it said before it went live"
    assert words not in text_of(client.get(page_of(live_model())))
    model = promoted(promoted(candidate(), ModelState.SHADOW))
    assert words in text_of(client.get(page_of(model)))
