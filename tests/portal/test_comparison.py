"""Two models side by side: the gate's report with curves and pictures, and cards alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as Pillow

from cases.access import SYSTEM
from cases.models import AuditEvent, GatePlan, ModelVersion, Site, TrainingRun, TrainingSnapshot
from cases.reports.comparison import CLASSES, COLUMNS, confusion
from cases.services.learning import model_candidate_register
from cases.services.snapshots import snapshot_register
from cases.services.training import training_run_request
from cases.services.training_fields import TrainingPlan
from cases.services.training_work import TrainingNews, training_claim, training_succeed
from cases.storage import uploads
from cases.vocabulary import IfRunning
from ml.comparison import COLUMNS as ML_COLUMNS
from ml.config import CLASSES as ML_CLASSES
from tests.cases.test_training import card_of
from tests.factories import WORKER, live_model, make_actor, make_site, unique
from tests.gates import make_plan
from tests.phantoms import bmode_phantom
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import document_of, make_snapshot

pytestmark = pytest.mark.django_db

SEES = {"admin", "approver"}
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><style>line {stroke: red}</style></svg>'
# Number of the picture: truth, the live model's answer, the candidate's.
ANSWERS = [
    ("benign", "benign", "malignant"),
    ("malignant", "benign", "malignant"),
    ("normal", "normal", "abstained"),
    ("benign", "benign", "benign"),
    ("malignant", "malignant", "malignant"),
    ("normal", "normal", "refused"),
]


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


def locked_set(root: Path) -> TrainingSnapshot:
    """Six phantoms in a folder, and the snapshot of them."""
    document = document_of(first=100)
    for number, entry in enumerate(document["files"]):
        path = root / entry["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(bmode_phantom(number, (300, 400), entry["class"])).save(path)
        entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    document["id"] = hashlib.sha256(json.dumps([document, unique()]).encode()).hexdigest()
    made, _ = snapshot_register(
        actor=SYSTEM,
        document=document,
        content=json.dumps(document).encode(),
        name="locked",
        data_root=str(root),
    )
    return made


def hashes(root: Path) -> list[str]:
    """Of the locked pictures, in their order."""
    names = [entry["file"] for entry in document_of(first=100)["files"]]
    return [hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names]


def stated(value: float) -> dict[str, Any]:
    return {"value": value, "interval": [value - 0.1, value + 0.05]}


def comparison() -> dict[str, Any]:
    """As `ml.comparison.compare` makes it, for two models and two sources."""
    figures = [
        {
            "metric": metric,
            "candidate": stated(0.8),
            "active": stated(0.7),
            "difference": {"value": 0.1, "interval": [-0.02, 0.2]},
        }
        for metric in ("sensitivity", "brier")
    ]
    counts = [[1, 1, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, 1, 1]]
    at = {"wanted": 0.95, "sensitivity": 1.0, "specificity": 0.66, "precision": 0.5}
    threshold = {"threshold": 0.41, "own": True, "sensitivity": 1.0, "specificity": 0.75}
    bins = {"from": 0.8, "to": 0.8667, "n": 3, "score": 0.82, "malignant": 0.667}

    def of_both(row: dict[str, Any]) -> dict[str, Any]:
        return {"candidate": [row], "active": [row]}

    return {
        "columns": list(COLUMNS),
        "parts": [
            {"source": source, "n": n, "patients": n, "malignant_patients": 1, "figures": figures}
            for source, n in ((None, 6), ("far", 2), ("near", 4))
        ],
        "confusions": {"candidate": counts, "active": [[2, 0, 0, 0, 0], *counts[1:]]},
        "curves": {
            "share_malignant": 1 / 3,
            "at_sensitivity": of_both({**at, "threshold": 0.3}),
            "at_threshold": of_both(threshold),
            "reliability": of_both(bins),
        },
        "figures": dict.fromkeys(("roc", "precision-recall", "thresholds", "reliability"), SVG),
    }


def said(answer: str) -> dict[str, Any]:
    is_label = answer in CLASSES
    return {
        "outcome": "answered" if is_label else answer,
        "label": answer if is_label else None,
        "scores": {"malignant": 0.75 if answer == "malignant" else 0.25},
    }


def judged(plan: GatePlan, digests: list[str], *, whole: bool = True) -> TrainingRun:
    """A run whose model was judged; not ``whole``: with a report of an earlier version."""
    run = training_run_request(
        actor=make_actor(roles=["admin"], site=plan.site),
        snapshot_id=make_snapshot().pk,
        plan=TrainingPlan(),
        reason="because",
        if_running=IfRunning.QUEUE,
        gate_plan_id=plan.pk,
    )
    claim = training_claim(actor=WORKER)
    assert claim is not None
    weights = f"trained {run.pk}".encode()
    report: dict[str, Any] = {
        "state": "passed",
        "n": 6,
        "patients": 6,
        "malignant_patients": 2,
        "minimum_malignant_patients": 1,
        "plan_sha256": plan.sha256,
        "models": {
            "candidate": {
                "version": f"v-{run.pk.hex[:8]}",
                "sha256": hashlib.sha256(weights).hexdigest(),
                "seen": 0,
            },
            "active": {"version": "live-then", "sha256": live_model().sha256, "seen": 0},
        },
        "limits": [],
        "pictures": [
            {
                "file": f"SMITH^JANE-{number}.png",
                "sha256": digest,
                "truth": truth,
                "candidate": said(now),
                "active": said(before),
            }
            for number, (digest, (truth, before, now)) in enumerate(
                zip(digests, ANSWERS, strict=True)
            )
        ],
    }
    if whole:
        report["comparison"] = comparison()
        for picture in report["pictures"]:
            picture["source"] = "near"
    training_succeed(
        actor=WORKER,
        claim=claim,
        weights=weights,
        card=card_of(weights, f"v-{run.pk.hex[:8]}"),
        news=TrainingNews(),
        report=json.dumps(report).encode(),
    )
    run.refresh_from_db()
    return run


@pytest.fixture
def judgement(site: Site, tmp_path: Path) -> tuple[ModelVersion, list[str]]:
    locked = locked_set(tmp_path)
    run = judged(make_plan(locked, site=site), hashes(tmp_path))
    assert run.model_version is not None
    return run.model_version, hashes(tmp_path)


def picture_url(model: ModelVersion, sha256: str) -> str:
    return reverse("model-compare-picture", args=[model.pk, sha256])


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
        "Source far: 2 pictures of 2 patients, 1 of them malignant",
        "Source near: 4 pictures",
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
    import io

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
    assert "The pictures cannot be shown" in page.text
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
    run = judged(make_plan(locked, site=site), digests)
    assert run.model_version is not None
    client = sign_in(role="admin", site=site)
    assert client.get(picture_url(run.model_version, digest)).status_code == 404


def test_a_report_of_an_earlier_version_shows_what_it_holds(
    site: Site, sign_in: SignIn, tmp_path: Path
) -> None:
    locked = locked_set(tmp_path)
    run = judged(make_plan(locked, site=site), hashes(tmp_path), whole=False)
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


# By their cards


def carded(title: str, sensitivity: float) -> ModelVersion:
    weights = f"weights {unique()}".encode()
    card = card_of(weights, f"model-{unique()}") | {
        "evaluation": {
            "held_out": {
                "title": title,
                "n": 40,
                "classes": list(CLASSES),
                "sensitivity": sensitivity,
                "ci95": {"sensitivity": [sensitivity - 0.1, sensitivity + 0.02]},
                "confusion": [[9, 1, 0], [2, 18, 0], [0, 1, 9]],
                "per_source": {
                    name: {"n": 20, "sensitivity": sensitivity} for name in ("near", "far")
                },
            }
        }
    }
    model, _ = model_candidate_register(actor=SYSTEM, weights=weights, card=card)
    return model


def test_two_models_without_a_common_gate_are_compared_by_their_cards(
    site: Site, sign_in: SignIn
) -> None:
    first, second = carded("Held-out part of one set", 0.9), carded("Another set", 0.95)
    client = sign_in(role="radiologist", site=site)
    listed = read(client.get(reverse("model-list")).content)
    url = reverse("model-cards-compare")
    assert listed.one("a", href=url)
    assert "Choose two models" in read(client.get(url).content).text
    page = read(client.get(url, {"first": first.pk, "second": second.pk}).content)
    for words in (
        "0.90 (0.80–0.92)",
        "0.95 (0.85–0.97)",
        "measured on: Held-out part of one set. 40 images",
        "measured on: Another set",
        "may differ",
        "No gate here has judged these two",
        "By source",
        f"{first.version}, answering the largest score",
    ):
        assert (words, words in page.text) == (words, True)
    assert (page.values()["first"], page.values()["second"]) == (str(first.pk), str(second.pk))
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_card_without_figures_says_so_and_nonsense_is_not_found(
    site: Site, sign_in: SignIn
) -> None:
    first, bare = carded("One set", 0.9), live_model()
    client = sign_in(role="radiologist", site=site)
    url = reverse("model-cards-compare")
    page = read(client.get(url, {"first": first.pk, "second": bare.pk}).content)
    assert "states no figures" in page.text
    same = client.get(url, {"first": first.pk, "second": first.pk})
    assert "Choose two different models" in read(same.content).text
    assert client.get(url, {"first": "x"}).status_code == 404


@pytest.mark.parametrize("role", ["admin", "radiologist"])
def test_models_that_were_judged_together_lead_to_that_comparison(
    role: str, judgement: tuple[ModelVersion, list[str]], site: Site, sign_in: SignIn
) -> None:
    model, _ = judgement
    url = reverse("model-cards-compare")
    asked = {"first": str(live_model().pk), "second": str(model.pk)}
    page = read(sign_in(role=role, site=site).get(url, asked).content)
    links = page.all("a", href=reverse("model-compare", args=[model.pk]))
    assert len(links) == (1 if role == "admin" else 0)


@pytest.mark.parametrize("role", ROLES)
def test_who_may_compare_cards(role: str, site: Site, sign_in: SignIn) -> None:
    expected = 403 if role == "auditor" else 200
    url = reverse("model-cards-compare")
    assert sign_in(role=role, site=site).get(url).status_code == expected
