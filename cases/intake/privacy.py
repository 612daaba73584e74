"""What may be read from a DICOM header, and where it may go. Everything else stays unread.

The reader asks the parser for these attributes only (`READ`), so that no other attribute, known
or private, is ever held as a value. `IDENTITY` goes to the patient record, `TECHNICAL` may be
stored with the image and shown, `WORKING` is used to decode and forgotten.
"""

from __future__ import annotations

import unicodedata

IDENTITY: dict[str, str] = {
    "PatientID": "patient_id",
    "IssuerOfPatientID": "patient_issuer",
    "IssuerOfPatientIDQualifiersSequence": "patient_issuer",
    "PatientName": "patient_name",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
    "AccessionNumber": "accession_number",
    "IssuerOfAccessionNumberSequence": "accession_issuer",
}
"""Attribute keyword -> field of `DicomIdentity`."""

TECHNICAL: dict[str, str] = {
    "Modality": "modality",
    "StudyInstanceUID": "study_instance_uid",
    "SeriesInstanceUID": "series_instance_uid",
    "SOPInstanceUID": "sop_instance_uid",
    "SOPClassUID": "sop_class_uid",
    "PhotometricInterpretation": "photometric_interpretation",
    "BitsStored": "bits_stored",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model",
    "Laterality": "laterality",
    "ImageLaterality": "laterality",
    "AnatomicRegionSequence": "laterality",
    "PrimaryAnatomicStructureSequence": "laterality",
    "SharedFunctionalGroupsSequence": "laterality",
    "SequenceOfUltrasoundRegions": "regions",
    "PixelSpacing": "spacing_mm",
    "PixelAspectRatio": "pixel_aspect_ratio",
    "FrameTime": "frame_time_ms",
    "FrameTimeVector": "frame_time_ms",
    "CineRate": "frame_time_ms",
    "RecommendedDisplayFrameRate": "frame_time_ms",
    "BurnedInAnnotation": "burned_in_annotation",
    "LossyImageCompression": "lossy",
}
"""Attribute keyword -> field of `DicomFacts`. Of sequences only codes and numbers are taken."""

WORKING: tuple[str, ...] = (
    "SpecificCharacterSet",
    "MIMETypeOfEncapsulatedDocument",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PlanarConfiguration",
    "NumberOfFrames",
    "RepresentativeFrameNumber",
    "BitsAllocated",
    "HighBit",
    "PixelRepresentation",
    "PixelPresentation",
    "ExtendedOffsetTable",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    *(
        f"{part}{colour}PaletteColorLookupTable{what}"
        for colour in ("Red", "Green", "Blue")
        for part, what in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
    ),
)

READ: tuple[str, ...] = (*IDENTITY, *TECHNICAL, *WORKING)

MAX_TEXT = 64
"""Longest Long String (LO) of PS3.5 section 6.2: technical text is cut there."""


def plain_text(value: object) -> str:
    """`value` as one line: no control, direction or surrogate characters, no padding."""
    text = "".join(
        c if unicodedata.category(c)[0] != "C" else " "
        for c in str(value if value is not None else "")
    )
    return " ".join(text.split())
