"""What services, the decoder and workers say to people, for translators and for `cases.told`.

A copy of sentences in `cases.errors`, `cases.services`, `cases.intake`, `ml` and `worker`, with
``{name}`` where those put a value; a test holds each of those sentences against this list.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from cases.told_admin import SENTENCES as ADMIN_SENTENCES

_TITLES = (
    _("The file is empty"),
    _("The file is too large"),
    _("The format is not supported"),
    _("The image is damaged"),
    _("The image has too many pixels"),
    _("The image is too small"),
    _("The image is animated"),
    _("The DICOM file is not valid"),
    _("The DICOM file holds no image"),
    _("Not an ultrasound image"),
    _("The DICOM compression is not supported"),
    _("The DICOM file holds a document"),
    _("The number of frames does not match"),
    _("Some fields are not valid"),
    _("The form and the DICOM header name different patients or studies"),
    _("The accession number belongs to another patient"),
    _("The same image was sent before under another patient"),
    _("The Idempotency-Key was used for another request"),
    _("Not possible in the present state"),
    _("Not found"),
    _("Erased"),
    _("Not signed in"),
    _("Not allowed"),
    _("Withheld until the case is read"),
    _("Too many requests"),
    _("The service is busy"),
    _("The request was refused"),
    _("This link cannot be used"),
)
_DEFAULTS = (
    _("The file holds no data. Export the image again and send it once more."),
    _("The file is larger than this service accepts."),
    _("The file is not an image this service reads. Send JPEG, PNG, BMP, TIFF, WebP or DICOM."),
    _("The image is damaged or cut off and cannot be read whole. Export it again from the device."),
    _("The image has more pixels than this service accepts."),
    _("The image is too small to be read. Send it at its original size."),
    _("The file is an animation. Send a single still image, or the cine loop as DICOM."),
    _(
        "The DICOM file is damaged or does not follow the standard and cannot be read. Export it "
        "again from the device or the archive."
    ),
    _("The DICOM file holds no image, only text or measurements."),
    _("The DICOM file is not an ultrasound image. This service reads breast ultrasound only."),
    _(
        "The DICOM file is compressed in a way this service does not read. Export it uncompressed, "
        "or as JPEG, JPEG 2000 or RLE."
    ),
    _("The DICOM file holds a document such as a PDF report, not an image."),
    _("The DICOM file announces another number of frames than it holds."),
    _("Some fields are missing or not valid."),
    _(
        "The DICOM header and the form disagree about the patient or the study. Check that the "
        "file belongs to this patient."
    ),
    _("This accession number is already in use for another patient."),
    _(
        "Exactly this image was sent before under another patient. Check that the file belongs to "
        "this patient."
    ),
    _("This Idempotency-Key was used before with other fields or files."),
    _("This is not possible in the present state. Load the page again."),
    _("There is nothing here, or you have no access to it."),
    _("The data of this patient was erased. What is left is that it was."),
    _("Sign in, or send a valid access token."),
    _("Your role or token does not allow this."),
    _(
        "Your site reads first: what the model answered is shown once the reading of the case as a "
        "whole is signed."
    ),
    _("Too many requests in a short time. Wait a moment and try again."),
    _("The service is busy and took nothing in. Try again in a moment."),
    _("The request was refused."),
    _("The storage of images does not answer. Try again in a moment."),
    _(
        "The link was used before, was replaced by a newer one, or is too old. Ask an "
        "administrator of your site for a new one."
    ),
    _(
        "More images are waiting than this service takes on at once. Nothing was taken in; what "
        "was submitted before is safe and goes on. Try again in a moment."
    ),
)
_FIELDS = (
    _("A number of millimetres, for example 25."),
    _("A number of millimetres, for example 12 or 8.5."),
    _("A place in the breast needs one side, not both."),
    _("A whole number from 1 to 12."),
    _("An issuer is given, but no accession number."),
    _("At most 500 characters of plain text."),
    _("At most {limit} characters."),
    _("At most {limit} characters of plain text."),
    _("Use at most {limit} characters."),
    _("Backslashes and control characters are not allowed."),
    _("Choose one of: {names}"),
    _("Choose among: {names}"),
    _("Send plain text."),
    _("The date of birth lies in the future."),
    _("The date of birth lies too far in the past."),
    _("Write the date as YYYY-MM-DD, for example 1968-04-30."),
    _("Write the date as YYYY-MM-DD, for example 2024-04-30."),
    _("Write the date as YYYY-MM-DD, for example 2026-03-01."),
    _("Write the name as Family^Given, at most 64 characters."),
    _("{clock} o'clock does not lie in this quadrant of this breast."),
    _("Say why."),
    _("Say why, in a sentence."),
    _("Enter a date and a time, for example 2026-03-01 08:30."),
    _("The last day lies before the first."),
    _("Type at least {least} characters, and at most {most}."),
    _("Give a patient id, an accession number or the beginning of a name."),
    _("At least {number} characters."),
    _("Enter a frame from 1 to {frames}."),
)
_SUBMISSION = (
    _("Send one file."),
    _("Choose at least one file."),
    _("Too many files in one submission."),
    _("Enter the patient id; a file does not carry one."),
    _("Enter the patient id; this file does not carry one."),
    _("Only a person at the portal can keep the form over the header."),
    _("The files belong to several studies: enter the accession number of the case."),
    _("The images of this submission are too large together. Send fewer at once."),
    _("The DICOM header names the other breast."),
    _("The DICOM header names the other breast. Check the side."),
    _("Differs from the DICOM header."),
    _("Differs from the patient on record."),
    _(
        "The DICOM header disagrees with what was entered: {names}. Check that the file belongs to "
        "this patient."
    ),
    _(
        "The DICOM headers of two files disagree: {names}. Submit the files of each examination "
        "separately."
    ),
    _("The patient with this id is on record with another date of birth. Check the patient id."),
    _("The patient's record has just been erased. Send it again."),
    _("These studies are already filed under several cases."),
    _("This study is already filed under another accession number. Check the accession number."),
    _("This study is already filed under another patient."),
    _("A request with this Idempotency-Key is still in progress. Try again in a moment."),
    _("The upload was cut off."),
    _("There is no room to take in files at the moment. Nothing was taken in. Try again later."),
    _("No model is live at the moment. Nothing was taken in."),
    # Names of fields, where a sentence lists them.
    _("accession number"),
    _("date of birth"),
    _("issuer of the accession number"),
    _("issuer of the patient id"),
    _("patient id"),
)
_FILES = (
    _("The file is larger than {size}, the most this service accepts."),
    _(
        "The file is an animation ({name}). Send a single still image as JPEG or PNG, or the cine "
        "loop as DICOM."
    ),
    _(
        "The image has only {width} x {height} pixels. Its shorter side must have at least "
        "{least}. Send the image at its original size."
    ),
    _(
        "The image has {width} x {height} pixels. This service accepts up to {most} million pixels "
        "in one image."
    ),
    _("The {name} image is cut off: its end is missing. Export it again."),
    _("The image needs too much memory to decode and may be damaged. Export it again."),
    _("The image takes too long to decode and may be damaged. Export it again."),
    _("The DICOM file is cut off in its pixel data. Export it again."),
    _("The DICOM file is cut off or damaged in its header. Export it again."),
    _("The DICOM image is cut off: its pixel data is not complete. Export it again."),
    _("The DICOM loop has {frames} frames. This service accepts up to {most}."),
    _(
        "The DICOM file is not an ultrasound image (its modality: {name}). This service reads "
        "breast ultrasound only."
    ),
    _(
        "The DICOM file is not a plain ultrasound image but {name}. Send the two-dimensional image "
        "or loop."
    ),
    _(
        "The DICOM file is compressed {how}. Export it uncompressed, or as JPEG, JPEG-LS, JPEG "
        "2000 or RLE."
    ),
    _(
        "The TIFF file holds {many} pages. Send each picture as a file of its own, or the cine "
        "loop as DICOM."
    ),
)
_MODEL = (
    _("This does not look like a B-mode breast ultrasound. Check that the right picture was sent."),
    _("The picture is empty or nearly so. Send a frame that shows the breast."),
    _(
        "Colour lies over the picture, as in colour Doppler or elastography. Send the plain B-mode "
        "picture."
    ),
    _("The picture shows two views side by side. Send each view as a picture of its own."),
    _("The model is too uncertain: its largest score is below {score}, from which on it answers."),
)
_JOBS = (
    _("The job has already ended ({state}) and cannot be cancelled."),
    _("The job has not ended yet; wait for it or cancel it first."),
    _("This image is already waiting for an answer."),
    _("{number} answers are being computed again already. Ask again once some are done."),
    _("This answer was withdrawn already."),
    _("Withdrawing an answer takes a person at the portal."),
    _("The worker stopped answering while it had the job."),
    _("The engine took too long and was ended."),
    _("Choose a case."),
    _("Choose at least one case."),
    _("At most {number} cases at once."),
    _("Its images wait or are being read already."),
    _("None of its images waits or is being read."),
    _(
        "The cases have changed since the page was drawn, so nothing was done. Look at the numbers "
        "again."
    ),
    _("There is no such frame."),
    _("There are no such frames."),
    _("There is no heatmap for this answer."),
)
_READINGS = (
    _("A margin is circumscribed, or it is one or more of the others."),
    _("Between 0.1 and {most} mm."),
    _("Give this axis too, or leave the next one out."),
    _("The longest axis comes first: this one is longer."),
    _("The composition of the breast belongs in the reading of the case as a whole."),
    _("This describes a finding. Name the finding and read it."),
    _("A reading is a person's."),
    _("An addendum is to a signed reading."),
    _("Choose a category before you sign."),
    _("Say what is to be added."),
    _(
        "This draft was saved elsewhere since you opened it, perhaps in another tab. Nothing was "
        "overwritten."
    ),
    _("You have signed a reading for this already. Add an addendum to it instead."),
    _("Choose the images that show the finding."),
    _("One of these images shows another finding already."),
    _("Say which breast: left or right."),
    _("The case has a finding at this place already."),
    _("A follow-up needs its first and its last examination."),
    _("A follow-up without change speaks for benign, and for nothing else."),
    _("At least {months} months after the first examination."),
    _("Only a follow-up has dates between which nothing changed."),
    _("The date lies in the future."),
    _("This finding has an outcome already. To supersede it, say why it no longer holds."),
    _("Your site does not read first."),
    _("Your site reads first already."),
    _(
        "Your site reads first. What the model answered in many cases is shown to people who read "
        "no cases."
    ),
)
_CASES = (
    _("A correction is a person's."),
    _("Another case of another patient has the same accession number. Nothing was moved."),
    _("Another case of another patient holds exactly the same image. Nothing was moved."),
    _("Another case of another patient holds images of the same study. Nothing was moved."),
    _("Enter the id of the right patient."),
    _("The case has changed meanwhile. Look at it again."),
    _("The case is filed under this patient already."),
    _("Erasing takes a person at the portal."),
    _("What would be erased has changed since the page was drawn. Look at the numbers again."),
    _("Sign in at the portal to open a patient's identity."),
    _("You see who the patient is without opening anything."),
    _("At most {number} views. Delete one that you no longer need."),
    _("Give the view a name."),
    _("You have a view of this name already."),
    _("This takes a person at the portal. No token may do it."),
    _("Your account belongs to no site."),
    _("This session has ended already."),
    _("The two passwords differ."),
)

SENTENCES: tuple[str, ...] = (
    *ADMIN_SENTENCES,
    *_TITLES,
    *_DEFAULTS,
    *_FIELDS,
    *_SUBMISSION,
    *_FILES,
    *_MODEL,
    *_JOBS,
    *_READINGS,
    *_CASES,
)
