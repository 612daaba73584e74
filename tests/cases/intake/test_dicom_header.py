"""What leaves the DICOM header: identity for the patient record, technical facts, nothing else."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cases.errors import DicomInvalid
from cases.intake import DicomFacts, DicomIdentity
from cases.intake.privacy import IDENTITY, READ, TECHNICAL, WORKING
from tests import phantoms
from tests.cases.intake.conftest import Check
from tests.phantoms import coded, dicom_bytes, region

# pydicom warns while the phantoms are written wrong on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")


def facts(check: Check, **options: Any) -> DicomFacts:
    dicom = check(dicom_bytes(**options)).dicom
    assert dicom is not None
    return dicom


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def test_identity_is_read_whole(check: Check) -> None:
    found = facts(
        check,
        patient_id=" 0042 ",
        issuer="HOSP-A",
        name="Müller^Änne^^Dr.",
        birth_date="19701231",
        sex="F",
        accession="A-1",
        accession_issuer="RIS",
    ).identity
    assert found == DicomIdentity(
        patient_id="0042",
        patient_issuer="HOSP-A",
        patient_name="Müller^Änne^^Dr.",
        birth_date=dt.date(1970, 12, 31),
        sex="F",
        accession_number="A-1",
        accession_issuer="RIS",
    )


def test_identity_that_is_absent_is_empty(check: Check) -> None:
    found = facts(check, patient_id="", name="", birth_date="", sex="", accession="").identity
    assert found == DicomIdentity()


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Groß^Åse"),
        ("ISO_IR 144", "Люксембург"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
    ],
)
def test_name_is_decoded_by_the_character_set(charset: Any, name: str, check: Check) -> None:
    dataset_options = {"name": name, "extra": {"SpecificCharacterSet": charset}}
    assert facts(check, **dataset_options).identity.patient_name == name


@pytest.mark.parametrize("birth_date", ["00000000", "1970", "19701301", "X"])
def test_impossible_birth_date_is_no_date(birth_date: str, check: Check) -> None:
    assert facts(check, birth_date=birth_date).identity.birth_date is None


def test_control_characters_do_not_reach_the_identity(check: Check) -> None:
    data = dicom_bytes(name="Anna^Phantom", patient_id="PHANTOM1")
    data = data.replace(b"Anna^Phantom", b"Anna^\x00han\x1b\x02m")
    image = check(data)
    assert image.dicom is not None
    assert all(c.isprintable() for c in image.dicom.identity.patient_name)


def test_issuer_may_stand_in_the_qualifiers(check: Check) -> None:
    qualifiers = Sequence([item(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")])
    extra = {"IssuerOfPatientIDQualifiersSequence": qualifiers}
    assert facts(check, extra=extra).identity.patient_issuer == "1.2.3"
    assert facts(check, issuer="HOSP", extra=extra).identity.patient_issuer == "HOSP"


def test_technical_facts_are_those_of_the_header(check: Check) -> None:
    found = facts(
        check, frames=3, transfer_syntax=phantoms.JPEG_BASELINE, extra={"BurnedInAnnotation": "NO"}
    )
    assert found.modality == "US"
    assert found.sop_class_uid == phantoms.US_MULTIFRAME
    assert found.transfer_syntax_uid == phantoms.JPEG_BASELINE
    assert (found.photometric_interpretation, found.bits_stored) == ("MONOCHROME2", 8)
    assert (found.manufacturer, found.manufacturer_model) == ("Phantom Works", "Echo 1")
    assert (found.frame_time_ms, found.burned_in_annotation, found.lossy) == (40.0, "NO", True)
    uids = (found.study_instance_uid, found.series_instance_uid, found.sop_instance_uid)
    assert all(uid.startswith("2.25.") for uid in uids)
    assert len(set(uids)) == 3


def test_malformed_uid_refuses_the_file(check: Check) -> None:
    with pytest.raises(DicomInvalid, match="StudyInstanceUID"):
        facts(check, extra={"StudyInstanceUID": "1.2.three"})


@pytest.mark.parametrize(
    ("extra", "expected"),
    [({"FrameTimeVector": [0, 30, 50, 70]}, 50.0), ({"CineRate": 25}, 40.0), ({}, None)],
)
def test_frame_time_comes_from_the_next_best_attribute(
    extra: dict[str, Any], expected: float | None, check: Check
) -> None:
    assert facts(check, frames=4, extra={"FrameTime": None, **extra}).frame_time_ms == expected


LEFT = {"value": "7771000", "scheme": "SCT", "meaning": "Left"}
BREAST = {"value": "76752008", "scheme": "SCT", "meaning": "Breast"}


def anatomy(*modifiers: Dataset, **breast: str) -> dict[str, Any]:
    region_item = coded(**(breast or BREAST))
    if modifiers:
        region_item.AnatomicRegionModifierSequence = Sequence(list(modifiers))
    return {"AnatomicRegionSequence": Sequence([region_item])}


@pytest.mark.parametrize(
    ("options", "side"),
    [
        ({}, ""),
        ({"laterality": "L"}, "L"),
        ({"laterality": "R"}, "R"),
        ({"image_laterality": "B"}, "B"),
        ({"image_laterality": "U"}, ""),
        ({"laterality": "L", "image_laterality": "L"}, "L"),
        ({"laterality": "L", "image_laterality": "R"}, ""),
        ({"extra": anatomy(coded(**LEFT))}, "L"),
        ({"extra": anatomy(coded("G-A100", "SRT", "Right"))}, "R"),
        ({"extra": anatomy(coded("51440002", "SCT", "Right and left"))}, "B"),
        ({"extra": anatomy(value="73056007", scheme="SCT", meaning="Right breast")}, "R"),
        ({"laterality": "R", "extra": anatomy(coded(**LEFT))}, ""),
    ],
)
def test_side_is_what_all_attributes_agree_on(
    options: dict[str, Any], side: str, check: Check
) -> None:
    assert facts(check, **options).laterality == side


def test_side_may_stand_in_the_shared_functional_groups(check: Check) -> None:
    groups = item(FrameAnatomySequence=Sequence([item(FrameLaterality="R")]))
    extra = {"SharedFunctionalGroupsSequence": Sequence([groups])}
    assert facts(check, extra=extra).laterality == "R"


def test_calibrated_region_gives_the_spacing(check: Check) -> None:
    found = facts(check, regions=[region((4, 4, 120, 90), 0.08)])
    assert found.spacing_mm == pytest.approx((0.08, 0.08))
    assert found.regions[0]["units_x"] == "cm"
    assert found.regions[0]["delta_y_mm"] == pytest.approx(0.08)
    assert (found.regions[0]["x0"], found.regions[0]["y1"]) == (4, 90)


def test_largest_tissue_region_decides_the_spacing(check: Check) -> None:
    small, large = region((0, 0, 20, 20), 0.3), region((30, 0, 127, 90), 0.1)
    doppler = region((0, 0, 127, 95), 5.0, units=4, RegionDataType=3, RegionSpatialFormat=3)
    found = facts(check, regions=[small, large, doppler])
    assert found.spacing_mm == pytest.approx((0.1, 0.1))
    assert found.regions[2]["delta_x_mm"] is None
    assert found.regions[2]["units_x"] == "s"


@pytest.mark.parametrize(
    "regions",
    [
        None,
        [],
        [region((0, 0, 100, 90), units=0)],
        [region((0, 0, 100, 90), 0.0)],
        [region((0, 0, 600, 400))],
    ],
)
def test_no_spacing_without_a_calibration_of_these_pixels(
    regions: list[dict[str, Any]] | None, check: Check
) -> None:
    assert facts(check, regions=regions).spacing_mm is None


def test_pixel_spacing_counts_where_no_region_is_calibrated(check: Check) -> None:
    assert facts(check, extra={"PixelSpacing": ["0.2", "0.1"]}).spacing_mm == (0.2, 0.1)


def test_uneven_pixels_are_noted_and_not_stretched(check: Check) -> None:
    image = check(dicom_bytes(extra={"PixelAspectRatio": [4, 3]}))
    assert image.dicom is not None
    assert image.dicom.pixel_aspect_ratio == (4, 3)
    assert (image.width, image.height) == (128, 96)
    assert facts(check, extra={"PixelAspectRatio": [1, 1]}).pixel_aspect_ratio is None


SECRETS = {
    "PatientAddress": "Secretstreet 12",
    "OtherPatientIDs": "SECRET-OTHER",
    "PatientComments": "secretcomment",
    "ReferringPhysicianName": "Secretdoctor^A",
    "OperatorsName": "Secretoperator",
    "InstitutionName": "Secretclinic",
    "StationName": "SECRETSTATION",
    "StudyDescription": "secretdescription",
    "SeriesDescription": "secretseries",
    "ImageComments": "secretimage",
    "PatientMotherBirthName": "Secretmother",
    "DeviceSerialNumber": "SECRETSERIAL",
    "RequestingPhysician": "Secretrequester",
    "StudyID": "SECRETSTUDY",
    "StudyDate": "20251231",
}


def test_no_identity_reaches_the_technical_facts_and_nothing_else_gets_out(check: Check) -> None:
    image = check(
        dicom_bytes(
            patient_id="SECRET-ID",
            issuer="SECRET-ISSUER",
            name="Secret^Name",
            birth_date="19660606",
            accession="SECRET-ACC",
            accession_issuer="SECRET-RIS",
            regions=[region((0, 0, 100, 90))],
            extra=SECRETS,
        )
    )
    assert image.dicom is not None
    identity = dataclasses.asdict(image.dicom.identity)
    assert identity["patient_id"] == "SECRET-ID"
    everything = dataclasses.asdict(image)
    del everything["dicom"]["identity"]
    del everything["frame_png"]
    assert image.frame_png is not None
    for text in (repr(everything), repr(image.frame_png)):
        assert "secret" not in text.lower()
        assert "1966" not in text
        assert "20251231" not in text
    assert not [v for v in identity.values() if v in SECRETS.values()]


def test_refusals_hold_no_identity(check: Check, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {
        "name": "Secret^Name",
        "accession": "SECRET-ACC",
        "patient_id": "SECRET\\ID",
    }
    with pytest.raises(DicomInvalid) as refusal:
        check(dicom_bytes(**options), name="secret.dcm")
    assert "secret" not in refusal.value.detail.lower()
    assert "secret" not in caplog.text.lower()


def test_allowlist_names_real_attributes_and_real_fields() -> None:
    from pydicom.datadict import tag_for_keyword

    assert all(tag_for_keyword(keyword) is not None for keyword in READ)
    assert len(set(READ)) == len(READ) == len(IDENTITY) + len(TECHNICAL) + len(WORKING)
    assert set(IDENTITY.values()) == {f.name for f in dataclasses.fields(DicomIdentity)}
    assert set(TECHNICAL.values()) <= {f.name for f in dataclasses.fields(DicomFacts)}


@pytest.mark.parametrize(
    "syntax", [phantoms.IMPLICIT_LITTLE, phantoms.EXPLICIT_LITTLE, phantoms.EXPLICIT_BIG]
)
def test_file_without_preamble_is_read_where_it_is_certain(syntax: str, check: Check) -> None:
    image = check(dicom_bytes(preamble=False, transfer_syntax=syntax))
    assert image.dicom is not None
    assert image.dicom.transfer_syntax_uid == syntax
    assert image.dicom.identity.patient_id == "PHANTOM-1"


def test_file_that_begins_with_its_meta_information_is_read(check: Check) -> None:
    image = check(dicom_bytes(transfer_syntax=phantoms.RLE)[132:])
    assert image.dicom is not None
    assert image.dicom.transfer_syntax_uid == phantoms.RLE


def test_retired_and_secondary_classes_of_ultrasound_are_accepted(check: Check) -> None:
    storage = "1.2.840.10008.5.1.4.1.1."
    for tail in ("3", "3.1", "6", "6.1", "7", "7.2", "7.3", "7.4"):
        assert facts(check, sop_class=storage + tail).sop_class_uid == storage + tail


def test_ultrasound_class_needs_no_modality(check: Check) -> None:
    assert facts(check, modality="").modality == ""
