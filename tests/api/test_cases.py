"""Cases, images, results and pictures over HTTP."""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image as Raster

from cases.api.serializers.cases import ANSWER_STATES
from cases.models import AuditEvent, Case, Finding, Image, ResultRead, Site
from cases.reports import answers
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_token, phantom_jpeg, submit
from tests.phantoms import dicom_bytes, region

pytestmark = pytest.mark.django_db


def audited(action: str) -> int:
    return AuditEvent.objects.filter(action=action).count()


@pytest.fixture
def case(site: Site) -> Case:
    """Three images, not yet answered."""
    return submit(
        actor=make_actor(site=site),
        files=[phantom_jpeg() for _ in range(3)],
        patient_id="P1",
        patient_name="Phantom^Anna",
        birth_date="1968-04-30",
        sex="F",
        accession_number="A1",
        laterality="L",
        clock_position="2",
        nipple_distance_mm="25",
        indication="recall",
    ).case


def test_the_states_of_an_answer_are_those_of_the_reports() -> None:
    assert set(ANSWER_STATES) == set(answers.ANSWER_WORDS)


def test_a_case_tells_patient_study_and_findings(api: Api, case: Case, site: Site) -> None:
    body = api.get(f"/cases/{case.pk}/").json()
    assert body["id"] == str(case.pk)
    assert body["site"] == site.code
    assert body["patient"] == {
        "patient_id": "P1",
        "issuer": site.patient_issuer,
        "name": "Phantom^Anna",
        "birth_date": "1968-04-30",
        "sex": "F",
        "research_opt_out": False,
    }
    assert (body["accession_number"], body["study_instance_uid"]) == ("A1", None)
    assert body["indication"] == "recall"
    assert body["research_note"] == answers.RESEARCH_NOTE
    assert body["findings"] == [
        {
            "id": str(Finding.objects.get().pk),
            "number": 1,
            "laterality": "L",
            "clock_position": 2,
            "quadrant": None,
            "nipple_distance_mm": 25.0,
        }
    ]
    assert [image["finding"] for image in body["images"]] == [body["findings"][0]["id"]] * 3


def test_a_case_shows_its_highest_score_and_how_many_images_it_stands_for(
    api: Api, case: Case
) -> None:
    waiting = api.get(f"/cases/{case.pk}/").json()["summary"]
    assert (waiting["state"], waiting["final"], waiting["highest"]) == ("waiting", False, None)
    images = list(case.images.order_by("position"))
    scores = {images[0].pk: 0.1, images[1].pk: 0.62, images[2].pk: 0.2}
    answer_waiting(scores)
    body = api.get(f"/cases/{case.pk}/").json()
    summary = body["summary"]
    assert summary["state"] == "above"
    assert summary["words"] == "Above the malignant threshold"
    assert summary["coverage"] == "in 3 of 3 images answered"
    assert (summary["images"], summary["answered"], summary["final"]) == (3, 3, True)
    top = images[1].results.get()
    assert summary["highest"] == {
        "malignant_score": 0.62,
        "threshold": 0.4,
        "at_or_above_threshold": True,
        "frame": 0,
        "image": {
            "id": str(images[1].pk),
            "url": f"http://testserver/api/v1/images/{images[1].pk}/",
        },
        "result": {
            "id": str(top.pk),
            "url": f"http://testserver/api/v1/results/{top.pk}/",
        },
    }
    answer = body["images"][1]["answer"]
    assert (answer["state"], answer["final"]) == ("above", True)
    assert answer["headline"].startswith("The model scores this image above")
    assert answer["results"][0]["id"] == str(top.pk)
    assert answer["job"]["state"] == "SUCCEEDED"


def test_refused_images_are_not_counted_as_answered(api: Api, case: Case) -> None:
    answer_waiting(outcome="refused", reason="not an ultrasound")
    body = api.get(f"/cases/{case.pk}/").json()
    assert body["summary"]["state"] == "refused"
    assert body["summary"]["coverage"] == "in 0 of 3 images answered"
    assert body["images"][0]["answer"]["headline"] == "No answer: not an ultrasound."


def test_who_sees_no_identity_sees_the_case_without_it(site: Site, case: Case) -> None:
    admin = Api(make_token(site=site, roles=["admin"], scopes=["read"])[1])
    body = admin.get(f"/cases/{case.pk}/").json()
    assert body["patient"] is None
    assert {image["file_name"] for image in body["images"]} == {None}
    assert admin.get("/cases/").json()["results"][0]["patient"] is None
    assert "Anna" not in admin.get(f"/cases/{case.pk}/").content.decode()
    image = case.images.all()[0]
    assert admin.get(f"/images/{image.pk}/").json()["file_name"] is None
    problem(admin.get(f"/images/{image.pk}/file/"), 403, "permission_denied")
    assert admin.get(f"/images/{image.pk}/preview/").status_code == 200


def test_viewing_a_case_is_audited_but_a_304_and_the_list_are_no_view(api: Api, case: Case) -> None:
    response = api.get(f"/cases/{case.pk}/")
    event = AuditEvent.objects.get(action="case.viewed")
    assert (event.case_id, event.object_id) == (case.pk, str(case.pk))
    assert event.request_id == response.headers["X-Request-ID"]
    again = api.get(f"/cases/{case.pk}/", If_None_Match=response.headers["ETag"])
    assert again.status_code == 304
    api.get("/cases/")
    assert audited("case.viewed") == 1
    assert AuditEvent.objects.get(action="case.listed").detail == {"cases": 1}


def test_a_new_answer_changes_the_etag_of_its_case_and_image(api: Api, case: Case) -> None:
    paths = [f"/cases/{case.pk}/", f"/images/{case.images.all()[0].pk}/"]
    before = [api.get(path).headers["ETag"] for path in paths]
    answer_waiting()
    for path, etag in zip(paths, before, strict=True):
        fresh = api.get(path, If_None_Match=etag)
        assert fresh.status_code == 200
        assert api.get(path, If_None_Match=fresh.headers["ETag"]).status_code == 304


def test_results_read_with_a_case_are_read_by_that_token(api: Api, case: Case) -> None:
    answer_waiting()
    for _ in range(2):
        api.get(f"/cases/{case.pk}/")
    api.get(f"/images/{case.images.all()[0].pk}/")
    assert audited("result.read") == ResultRead.objects.count() == 3


def test_results_read_with_a_list_are_read_by_that_token(api: Api, case: Case) -> None:
    answer_waiting()
    for _ in range(2):
        api.get("/cases/")
    assert audited("result.read") == ResultRead.objects.count() == 3


def test_the_headline_of_an_image_says_what_its_state_says(api: Api) -> None:
    job = api.submit([("cine.dcm", dicom_bytes(frames=3, patient_id="D1"))]).json()["jobs"][0]
    answer_waiting(outcome="refused", reason="no ultrasound")
    api.post(f"/jobs/{job['id']}/rerun/", {"frame": 2})
    answer_waiting({UUID(job["image"]): 0.1})
    answer = api.get(f"/images/{job['image']}/").json()["answer"]
    assert (answer["state"], answer["headline"]) == ("refused", "No answer: no ultrasound.")
    api.post(f"/jobs/{job['id']}/rerun/", {"frame": 0})
    answer_waiting({UUID(job["image"]): 0.9})
    answer = api.get(f"/images/{job['image']}/").json()["answer"]
    assert answer["state"] == "above"
    assert answer["headline"].startswith("The model scores this image above")


def test_the_list_shows_summaries_without_images(api: Api, case: Case) -> None:
    body = api.get("/cases/").json()
    assert [item["id"] for item in body["results"]] == [str(case.pk)]
    assert "images" not in body["results"][0]
    assert body["results"][0]["summary"]["images"] == 3


def test_cases_are_not_looked_up_by_identity_in_a_url(api: Api, case: Case) -> None:
    """It would stay in the logs of every proxy on the way."""
    for name in ("accession_number", "patient_id"):
        refused = problem(api.get("/cases/", {name: "nobody"}), 422, "field_invalid")
        assert list(refused["errors"]) == [name]


def test_lists_and_details_cost_the_same_queries_for_any_number_of_rows(
    api: Api, case: Case, site: Site
) -> None:
    paths = ["/cases/", f"/cases/{case.pk}/", "/jobs/", "/audit/", "/models/"]

    def cost_of(caller: Api, path: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            caller.get(path)
        return len(captured)

    def costs() -> list[int]:
        return [cost_of(reader, path) for path in paths]

    reader = Api(make_token(site=site, roles=["radiologist", "admin"], scopes=["read"])[1])
    other = Api(make_token(site=site)[1])
    answer_waiting()
    costs()
    before = costs()
    first_read = cost_of(other, "/cases/")
    for number in range(4):
        submit(
            actor=make_actor(site=site),
            files=[phantom_jpeg(), phantom_jpeg()],
            patient_id="P1",
            accession_number="A1" if number % 2 else "",
            laterality="L",
            clock_position=str(number + 3),
        )
    answer_waiting()
    costs()
    assert costs() == before
    # Also where every result is read for the first time.
    other = Api(make_token(site=site)[1])
    assert cost_of(other, "/cases/") == first_read


# Images


def test_an_image_tells_what_intake_found(api: Api) -> None:
    spacing = region((0, 0, 127, 95), mm_per_pixel=0.2)
    data = dicom_bytes(patient_id="D1", frames=3, image_laterality="R", regions=[spacing])
    posted = api.submit([("Anna Phantom.dcm", data)]).json()["images"][0]
    body = api.get(posted["url"]).json()
    image = Image.objects.get()
    assert (body["id"], body["sha256"], body["size"]) == (str(image.pk), image.sha256, len(data))
    assert (body["format"], body["media_type"]) == ("DICOM", "application/dicom")
    assert (body["width"], body["height"], body["frames"], body["frame"]) == (128, 96, 3, 1)
    assert (body["laterality"], body["manufacturer"]) == ("R", "Phantom Works")
    assert body["sop_instance_uid"] == image.sop_instance_uid
    assert body["file_name"] == "Anna Phantom.dcm"
    assert body["duplicate_of"] is None
    assert (body["case"], body["submission"]) == (str(image.case_id), str(image.submission_id))
    assert body["spacing_mm"] == {"row": pytest.approx(0.2), "column": pytest.approx(0.2)}
    for key in ("file_url", "preview_url"):
        assert api.get(body[key]).status_code == 200


@pytest.mark.parametrize(
    ("data", "media_type", "extension"),
    [
        (phantom_jpeg, "image/jpeg", "jpg"),
        (lambda: dicom_bytes(patient_id="P1"), "application/dicom", "dcm"),
    ],
)
def test_a_file_comes_back_as_sent_and_never_as_a_page(
    api: Api, data: Any, media_type: str, extension: str
) -> None:
    sent = data()
    hostile = '"><script>.html'
    image = api.submit([(hostile, sent)], patient_id="P1").json()["images"][0]
    response = api.get(f"/images/{image['id']}/file/")
    assert response.getvalue() == sent
    headers = response.headers
    assert headers["Content-Type"] == media_type
    assert headers["Content-Disposition"] == f'attachment; filename="{image["id"]}.{extension}"'
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "private, no-store"
    assert audited("image.downloaded") == 1


def test_a_preview_is_a_png_of_the_frame_asked_for(api: Api) -> None:
    image = api.submit([("c.dcm", dicom_bytes(frames=3))]).json()["images"][0]
    pictures = {}
    for query in ({}, {"frame": "0"}, {"frame": "1"}, {"frame": "2"}):
        response = api.get(f"/images/{image['id']}/preview/", query)
        assert Raster.open(io.BytesIO(response.content)).size == (128, 96)
        assert response.headers["Cache-Control"].startswith("private, max-age=")
        pictures[query.get("frame", "")] = response.content
    assert pictures[""] == pictures["1"]
    assert len(set(pictures.values())) == 3
    assert audited("image.viewed") == 4


def test_an_unchanged_preview_is_304_and_no_view(api: Api, case: Case) -> None:
    path = f"/images/{case.images.all()[0].pk}/preview/"
    etag = api.get(path).headers["ETag"]
    again = api.get(path, If_None_Match=etag)
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    # The next user of the same browser must not be shown it.
    assert again.headers["Vary"] == "Authorization, Cookie"
    assert audited("image.viewed") == 1


@pytest.mark.parametrize("frame", ["1", "-1", "x", "1.5", "99999999999999999999", "", "\x00"])
def test_a_frame_that_is_not_there_has_no_preview(api: Api, case: Case, frame: str) -> None:
    path = f"/images/{case.images.all()[0].pk}/preview/"
    response = api.get(path, {"frame": frame})
    if frame == "":
        assert response.status_code == 200
    else:
        assert list(problem(response, 422, "field_invalid")["errors"]) == ["frame"]


@pytest.mark.parametrize("accept", ["image/png", "text/html", "image/avif,image/webp,*/*;q=0.8"])
def test_pictures_come_whatever_is_accepted(api: Api, case: Case, accept: str) -> None:
    path = f"/images/{case.images.all()[0].pk}/preview/"
    assert api.get(path, Accept=accept).headers["Content-Type"] == "image/png"


# Results


def test_a_result_stands_alone_and_never_changes(api: Api, case: Case) -> None:
    result = answer_waiting()[0]
    response = api.get(f"/results/{result.pk}/")
    body = response.json()
    job = api.get(f"/jobs/{result.job_id}/").json()
    places = {"url", "replay_url", "job", "image", "case", "created_at"}
    computing = {"reason_code", "temperature", "minimum_score", "transform", "outside_evidence"}
    assert set(body) == set(job["result"]) | places | computing
    assert {key: body[key] for key in job["result"]} == job["result"]
    assert (body["job"], body["image"]) == (str(result.job_id), str(result.image_id))
    assert body["case"] == str(case.pk)
    again = api.get(f"/results/{result.pk}/", If_None_Match=response.headers["ETag"])
    assert again.status_code == 304


def test_a_heatmap_lies_over_the_whole_frame(api: Api, case: Case) -> None:
    result = answer_waiting()[0]
    path = f"/results/{result.pk}/heatmap/"
    response = api.get(path)
    picture = Raster.open(io.BytesIO(response.content))
    assert (picture.mode, picture.size) == ("RGBA", (result.image.width, result.image.height))
    for label in ("benign", "malignant", "normal"):
        assert api.get(path, {"label": label}).status_code == 200
    assert api.get(path, {"label": "malignant"}).content == response.content
    assert api.get(path, If_None_Match=response.headers["ETag"]).status_code == 304
    body = problem(api.get(path, {"label": "cyst"}), 422, "field_invalid")
    assert list(body["errors"]) == ["label"]


def test_a_refused_image_has_no_heatmap(api: Api, case: Case) -> None:
    result = answer_waiting(outcome="refused", reason="not an ultrasound")[0]
    problem(api.get(f"/results/{result.pk}/heatmap/"), 404, "not_found")
