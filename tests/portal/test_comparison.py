"""A judged model beside the one that was live: the gate's report with curves and pictures."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as Pillow

from cases.access import SYSTEM
from cases.models import AuditEvent, ModelVersion, Site, TrainingRun
from cases.reports.comparison import CLASSES, COLUMNS, confusion
from cases.services.snapshots import snapshot_register
from cases.storage import uploads
from ml.comparison import COLUMNS as ML_COLUMNS
from ml.config import CLASSES as ML_CLASSES
from tests.compared import ANSWERS, SVG, compared, hashes, locked_set, picture_url, said
from tests.factories import live_model, make_site
from tests.gates import make_plan
from tests.phantoms import bmode_phantom
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import document_of

pytestmark = pytest.mark.django_db

SEES = {"admin", "approver"}


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


@pytest.fixture
def judgement(site: Site, tmp_path: Path) -> tuple[ModelVersion, list[str]]:
    locked = locked_set(tmp_path)
    run = compared(make_plan(locked, site=site), hashes(tmp_path))
    assert run.model_version is not None
    return run.model_version, hashes(tmp_path)


def test_the_words_for_answers_are_those_of_the_gate() -> None:
    assert CLASSES == ML_CLASSES
    assert COLUMNS == ML_COLUMNS


def test_figures_matrices_sources_and_curves_stand_side_by_side(
    judgement: tuple[ModelVersion, list[str]], site: Site, sign_in: SignIn
) -> None:
    model, _ = judgement
    client = sign_in(role="approver", site=site)
    page = read(client.get(reverse("model-compare", args=[model.pk])).content)
    for words in (
        "beside live-then",
        "Sensitivity",
        "0.80 (0.70–0.85)",
        "+0.10 (−0.02 to 0.20)",
        "Brier score (lower is better)",
        "Source far: 2 images of 2 patients, 1 of them malignant",
        "Source near: 4 images",
        "Refused",
        "1 (50.0 %)",
        "Look at the upper end",
        "is served at 0.410",
        "0.80–0.87",
    ):
        assert (words, words in page.text) == (words, True)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    plots = [tag.attrs["src"] for tag in page.all("img") if "/curves/" in tag.attrs["src"]]
    assert len(plots) == 4
    for url in plots:
        response = client.get(url)
        assert (response.status_code, response["Content-Type"].split(";")[0]) == (
            200,
            "image/svg+xml",
        )
        assert response.content.decode() == SVG
        assert "script" not in response["Content-Security-Policy"]
        assert "sandbox" in response["Content-Security-Policy"]
    other = reverse("model-compare-figure", args=[model.pk, "plan"])
    assert client.get(other).status_code == 404


def test_changed_answers_come_with_small_pictures_without_names(
    judgement: tuple[ModelVersion, list[str]], site: Site, sign_in: SignIn
) -> None:
    model, digests = judgement
    client = sign_in(role="admin", site=site)
    response = client.get(reverse("model-compare", args=[model.pk]))
    page = read(response.content)
    assert "4 of 6 answers changed" in page.text
    assert "SMITH" not in response.content.decode()
    shown = [tag.attrs["src"] for tag in page.all("img") if "/pictures/" in tag.attrs["src"]]
    assert shown == [picture_url(model, digests[n]) for n in (0, 1, 2, 5)]
    picture = client.get(shown[0])
    assert picture.status_code == 200
    assert picture["Content-Type"] == "image/png"
    assert "no-store" in picture["Cache-Control"]
    assert _size(picture.content) == (192, 144)
    seen = AuditEvent.objects.get(action="locked_picture.viewed")
    assert seen.detail == {"sha256": digests[0], "model": str(model.pk)}


def _size(png: bytes) -> tuple[int, int]:
    return Pillow.open(io.BytesIO(png)).size


def test_a_picture_that_vanished_or_changed_is_told_and_breaks_nothing(
    judgement: tuple[ModelVersion, list[str]], site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    model, digests = judgement
    client = sign_in(role="admin", site=site)
    url = reverse("model-compare", args=[model.pk])
    names = [entry["file"] for entry in document_of(first=100)["files"]]
    (tmp_path / names[0]).unlink()
    (tmp_path / names[1]).write_bytes((tmp_path / names[2]).read_bytes())
    page = read(client.get(url).content)
    assert "not in the folder any more" in page.text
    gone, other = (client.get(picture_url(model, digests[n])) for n in (0, 1))
    assert (gone.status_code, other.status_code) == (404, 404)
    assert "is not in the folder" in gone.content.decode()
    assert "another one than was judged on" in other.content.decode()
    # The folder as a whole, and the document that says what was in it.
    shutil.rmtree(tmp_path / "malignant")
    shutil.rmtree(tmp_path / "normal")
    shutil.rmtree(tmp_path / "benign")
    page = read(client.get(url).content)
    assert "The images cannot be shown" in page.text
    assert not [tag for tag in page.all("img") if "/pictures/" in tag.attrs["src"]]
    run = TrainingRun.objects.select_related("plan__locked_set").get(model_version=model)
    assert run.plan is not None
    uploads().delete(run.plan.locked_set.storage_name)
    assert client.get(url).status_code == 200
    assert client.get(picture_url(model, digests[2])).status_code == 404
    # And the report itself.
    uploads().delete(run.gate_report)
    assert client.get(url).status_code == 404


def test_a_document_cannot_point_outside_its_folder(
    site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    locked_set(inside)
    document = document_of(first=200)
    secret = tmp_path / "secret.png"
    Pillow.fromarray(bmode_phantom(9, (96, 110), "benign")).save(secret)
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    document["files"][0] |= {"file": "../secret.png", "sha256": digest}
    locked, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="made",
        data_root=str(inside),
    )
    digests = [entry["sha256"] for entry in document["files"]]
    run = compared(make_plan(locked, site=site), digests)
    assert run.model_version is not None
    client = sign_in(role="admin", site=site)
    assert client.get(picture_url(run.model_version, digest)).status_code == 404


def test_a_report_of_an_earlier_version_shows_what_it_holds(
    site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    locked = locked_set(tmp_path)
    run = compared(make_plan(locked, site=site), hashes(tmp_path), whole=False)
    url = reverse("model-compare", args=[run.model_version_id])
    page = read(sign_in(role="admin", site=site).get(url).content)
    assert "before figures by source and curves were kept" in page.text
    assert "4 of 6 answers changed" in page.text
    assert not [tag for tag in page.all("img") if "/curves/" in tag.attrs["src"]]
    assert [tag for tag in page.all("img") if "/pictures/" in tag.attrs["src"]]
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_matrices_are_counted_from_answers_where_none_are_kept() -> None:
    report = {
        "pictures": [
            {"truth": truth, "candidate": said(now), "active": said(before)}
            for truth, before, now in ANSWERS
        ]
    }
    assert confusion(report, "candidate") == [
        [1, 1, 0, 0, 0],
        [0, 2, 0, 0, 0],
        [0, 0, 0, 1, 1],
    ]
    assert confusion(report, "active")[1] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("role", ROLES)
def test_who_may_see_the_comparison_and_its_pictures(
    role: str, judgement: tuple[ModelVersion, list[str]], site: Site, sign_in: SignIn
) -> None:
    model, digests = judgement
    own, stranger = sign_in(role=role, site=site), sign_in(role=role)
    for url in (
        reverse("model-compare", args=[model.pk]),
        reverse("model-compare-figure", args=[model.pk, "roc"]),
        picture_url(model, digests[0]),
    ):
        assert (url, own.get(url).status_code) == (url, 200 if role in SEES else 403)
        assert (url, stranger.get(url).status_code) == (url, 404 if role in SEES else 403)
        assert Client().get(url).status_code == 302
