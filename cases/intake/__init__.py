"""Intake: untrusted bytes in, a checked and de-identified frame out. No ORM, no settings.

The public door:

    with receive(chunks, name, limits) as file:      # or cases.intake.upload for HTTP uploads
        image = inspect(file, limits)                # decoded once in full, in a child process
        png = render_frame(file.path, 3, limits)     # any frame, lossless
        png = render_preview(file.path, 3, limits, max_side=512)

`inspect` raises a `cases.errors.UserFacingError` that says what is wrong with the file and names
it. Every byte of a file is parsed in a child process with limits on time and memory
(`sandbox.py`); this process only counts and hashes bytes. What leaves: `CheckedImage`, with the
identity of a DICOM header in `dicom.identity` (for the patient record) and nothing identifying
anywhere else (`privacy.py` holds the allowlist).

Housekeeping for those who run processes: `sandbox.warm()` starts a decoder child before the first
file (about half a second), `remove_stale_files()` sweeps what a killed process left behind.

Codes worth knowing, beyond the obvious:
- a DICOM file cut off in its header is `dicom_invalid`; cut off in its pixel data it is
  `image_corrupt`, as for raster files;
- whole pixel data for another number of frames than announced is `dicom_frame_mismatch`;
- a file that crashes the decoder or exceeds its time or memory is `image_corrupt`;
- a TIFF of several pages is `image_animated`: which of them is meant is not ours to guess;
- more frames than `Limits.max_frames` is `image_too_many_pixels`;
- no free decoder in time is `overloaded`: that is never the file's fault.
"""

from cases.intake.checked import CheckedImage, DicomFacts, DicomIdentity, Limits
from cases.intake.door import inspect, render_frame, render_preview
from cases.intake.files import ReceivedFile, clean_name, receive, remove_stale_files

__all__ = [
    "CheckedImage",
    "DicomFacts",
    "DicomIdentity",
    "Limits",
    "ReceivedFile",
    "clean_name",
    "inspect",
    "receive",
    "remove_stale_files",
    "render_frame",
    "render_preview",
]
