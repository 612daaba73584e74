"""What services and workers say on the pages of administrators, as translators find it.

They write English, for rows, logs and the API, which must be the same for everybody; a page gives
it in the language of its reader. Values stand as ``{name}``.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

SENTENCES: tuple[str, ...] = (
    # States of jobs and models, as values of other sentences.
    _("pending"),
    _("running"),
    _("succeeded"),
    _("failed"),
    _("cancelled"),
    _("candidate"),
    _("shadow"),
    _("active"),
    _("retired"),
    _("rejected"),
    # Services: models.
    _("Choose shadow or live."),
    _("A request for {version} is open already."),
    _("A model that is {state} cannot become {target} in this way."),
    _("No gate was run on this model, so it cannot go live. It may go into shadow."),
    _("The gate of this model failed, so it cannot be promoted."),
    _("The gate of this model saw too little evidence, so it cannot be promoted."),
    _("Only the person who asked may withdraw the request."),
    _(
        "You ordered the training of this model, or added or changed the schedule that did: "
        "another person approves what came of it."
    ),
    _(
        "The live model has changed since you opened this page: {live}. Read the page again "
        "before you decide."
    ),
    _("no model is live now"),
    _("{version} is in shadow. One model at a time can be."),
    _("The request was {decision} by {who} already."),
    _("You asked for this yourself: a second person decides."),
    _("{version} is {state}: only a retired model comes back."),
    _("A request for this model is open. Decline it first."),
    _("A model cannot go from {source} to {to}."),
    _("The gate plan of this model names who may approve it: {names}."),
    _("nobody"),
    _("approved"),
    _("declined"),
    _("withdrawn"),
    _("Answers are suspended already."),
    _("Answers are not suspended."),
    _("At most {limit} characters of plain text."),
    _("Say why, in a sentence."),
    # Gate plans.
    _("There is a plan of this name."),
    _("{name} is no approver of your site."),
    _("There is no snapshot with this id."),
    _(
        "Nobody has told where the pictures of this snapshot lie. Import their folder again "
        "(manage.py import_dataset)."
    ),
    _(
        "{n} of its pictures may not be used any more: their patient opted out or was erased, or "
        "they are not accepted any more. Freeze a new locked set."
    ),
    _("It was made of accepted images to train from; its patients stay on that side."),
    _("A locked set needs malignant pictures and others; one of the two is missing."),
    _(
        "Alike pictures of it have different classes ({n} group). Settle which is right, and "
        "import the folder again."
    ),
    _(
        "Alike pictures of it have different classes ({n} groups). Settle which is right, and "
        "import the folder again."
    ),
    _("Limit {number}: the locked set has no source {source}; it has {sources}."),
    _(
        "It shares {words} with {whose}, from which a model was, is being or is meant to be "
        "trained. A locked set holds pictures that nobody trains on."
    ),
    _("It shares {words} with the patients in training."),
    _(
        "1 patient of it is in training by accepted images, for ever. A locked set holds "
        "pictures that nobody trains on."
    ),
    _(
        "{n} patients of it are in training by accepted images, for ever. A locked set holds "
        "pictures that nobody trains on."
    ),
    _(
        "It shares {words} with {whose}, on which models are judged. Nobody trains on those. "
        "Choose another snapshot."
    ),
    _("a snapshot of another site"),
    _("the locked set of a plan of another site"),
    _("a locked set of another site"),
    _("the locked set of plan {name}"),
    _("the locked set {name}"),
    _("1 picture"),
    _("{n} pictures"),
    _("1 patient"),
    _("{n} patients"),
    _("1 picture that looks the same"),
    _("{n} pictures that look the same"),
    _("There is no gate plan with this id."),
    _("The stored document of this snapshot cannot be read. Import its folder again."),
    _("Give a name of up to {limit} characters."),
    _("Choose a snapshot."),
    _("Give a whole number from {low} to {high}."),
    _("Give at least one limit."),
    _("At most {limit} limits."),
    _("Limit {number}: give an object with metric and bound."),
    _("Limit {number}: {name} is not known of a limit."),
    _("Limit {number}: a source has at most {limit} characters."),
    _("Limit {number}: the bound is a number from {low} to 1."),
    _("Give a list of at most {limit} user names."),
    _("The report of this gate is damaged in storage."),
    _(
        "The picture is not in the folder of the locked set any more, may not be shown any more, "
        "or this machine cannot read it."
    ),
    _("The picture in the folder of the locked set is another one than was judged on."),
    _("It could not be measured"),
    _("there was no active model to compare with"),
    _("no picture of the locked set is from {source}"),
    _("{metric} is not defined on these pictures"),
    _("{metric} is not defined for the active model"),
    # Schedules.
    _("Give a name of up to 80 characters."),
    _("Choose any, frozen, or imported: and the name of a folder."),
    _("Choose one of: {choices}."),
    _(
        "Give five parts: minute, hour, day of the month, month, day of the week. For example 30 "
        "2 * * 1: at 02:30 each Monday."
    ),
    _("This is no cron line: {why}."),
    _("Give both times, for example 22:00 and 06:00; or neither."),
    _("There is a schedule of this name."),
    _("No folder of this name was imported."),
    _("{case} The schedule fires again."),
    _("It was {now}; this schedule trains from {start} to {end} ({zone})."),
    _("There is no snapshot to train from: nobody has imported any pictures."),
    _(
        "There is no snapshot of accepted images to train from: none was made yet, or each is "
        "locked or holds pictures that were taken back."
    ),
    _(
        "There is no snapshot of the imported folder {name} to train from: none was made yet, or "
        "each is locked or holds pictures that were taken back."
    ),
    _("no number of new images is asked for"),
    _(
        "{n} new labelled images in the newest snapshot of accepted images since the last "
        "finished training; {least} are needed."
    ),
    _(
        "{n} new labelled images in the newest snapshot of accepted images and no training has "
        "finished yet; {least} are needed."
    ),
    _(
        "{n} new labelled images in the newest snapshot of accepted images since the last "
        "finished training"
    ),
    _(
        "{n} new labelled images in the newest snapshot of accepted images and no training has "
        "finished yet"
    ),
    _(
        "{n} new labelled images in the newest snapshot since the last finished training; "
        "{least} are needed."
    ),
    _(
        "{n} new labelled images in the newest snapshot and no training has finished yet; "
        "{least} are needed."
    ),
    _("{n} new labelled images in the newest snapshot since the last finished training"),
    _("{n} new labelled images in the newest snapshot and no training has finished yet"),
    _(
        "{n} new labelled images in the newest snapshot of the imported folder {name} since the "
        "last finished training; {least} are needed."
    ),
    _(
        "{n} new labelled images in the newest snapshot of the imported folder {name} and no "
        "training has finished yet; {least} are needed."
    ),
    _(
        "{n} new labelled images in the newest snapshot of the imported folder {name} since the "
        "last finished training"
    ),
    _(
        "{n} new labelled images in the newest snapshot of the imported folder {name} and no "
        "training has finished yet"
    ),
    _("A stored snapshot is damaged ({digits}): its new images cannot be counted."),
    # Trainings.
    _(
        "Training run {run}, asked for by {user}, runs already. Queue this one behind it, or "
        "wait for its end."
    ),
    _(
        "Training run {run}, asked for by {user}, waits already. Queue this one behind it, or "
        "wait for its end."
    ),
    _("A training of another site runs already. Queue this one behind it, or wait for its end."),
    _("A training of another site waits already. Queue this one behind it, or wait for its end."),
    _("Training run {run}, asked for by {user}, runs already."),
    _("Training run {run}, asked for by {user}, waits already."),
    _("A training of another site runs already."),
    _("A training of another site waits already."),
    _("{n} trainings are waiting already."),
    _("The training has already ended ({state}) and cannot be cancelled."),
    _("Give a multiple of 32, for example 224."),
    _("Choose active, imagenet, none, or file:NAME for a file in the folder of initial weights."),
    _("At most {limit} characters."),
    _(
        "{n} of its pictures may not be trained on any more: their patient opted out or was "
        "erased, or they are not accepted any more. Make a new snapshot of accepted images."
    ),
    _("The disk of the training worker is full. Free some space and start the training again."),
    _("The stored snapshot is missing or damaged."),
    _("The storage did not answer."),
    _("The training left no usable model file."),
    _("The pictures cannot be trained from. The log has the particulars."),
    _("The file of initial weights is not in the worker's folder of them (initial/)."),
    _("The gate plan is not the one that was frozen when the training was asked for."),
    _("The stored document of the locked set is missing or damaged."),
    _("The live model's stored file is missing or damaged."),
    _("The model to start from cannot be read from storage."),
    _("The data is not that of the snapshot: {why}."),
    _("The training process was told to stop."),
    _("A file could not be read or written. The log has the particulars."),
    _("The training process was killed, most likely because the machine ran out of memory."),
    _("The training process crashed (signal {n})."),
    _("The training failed unexpectedly. The log has the reason."),
    _("The locked set is not what was declared: {why}."),
    _("The locked set cannot be used. The log has the particulars."),
    _("The gate could not read or write a file. The log has the particulars."),
    _(
        "The process that judges the model was killed or crashed (signal {n}), perhaps because "
        "the machine ran out of memory."
    ),
    _("Judging the model failed unexpectedly. The log has the reason."),
    _("the worker is stopping"),
    _("the storage does not answer"),
    _("the worker's disk is full"),
    # Curation and snapshots of accepted images.
    _("Say what the snapshot is for: training, or a locked test set."),
    _("Give it a name of one line, without any patient's."),
    _("A whole number from 0 to 100."),
    _("Freezing accepted images takes a person at the portal."),
    _("A snapshot is being made already: {name}. Wait for its end."),
    _(
        "BCWEB_PATIENT_KEY is not the one that earlier snapshots were made with, so nobody could "
        "tell which patients are locked. Set it back."
    ),
    _(
        "Nobody knows the patients of snapshot {digits}, so they cannot be compared. Import its "
        "folder again."
    ),
    _("A stored snapshot is damaged, so the pictures cannot be compared with it."),
    _("What was accepted, or who takes part, changed while the pictures were being made."),
    _("A snapshot of the same pictures is there."),
    _("No picture is left: see what was left out."),
    _("The splits need about seven patients whose pictures look different."),
    _("Making the snapshot failed unexpectedly. The log has the reason."),
    _("No space is left on the training worker's disk."),
    _("A stored image or a file could not be read or written."),
    _("The process that compares the pictures died."),
    _("The decoder was busy; it is tried again."),
    _("The image or what is known of it has changed since the page was drawn. Look again."),
    _("Look at the whole picture, edges too. Where anything names the patient, reject it."),
    _("Only what was rejected is opened again."),
    _("Deciding about an image takes a person at the portal."),
    _("Say which finding the picture shows, or reject it."),
    _("A candidate cannot go from {source} to {to}."),
    _("Somebody was faster. Look at the image again."),
    _("The patient's data was erased."),
    _("The patient wants no part in research."),
    _(
        "The model has not read the image yet, so its ultrasound region and what looks like it "
        "are not known."
    ),
    _("The image's answer was withdrawn. It counts again once the image was run again."),
    _(
        "An image of another patient looks the same and is {state} as {label}. Reject one of the "
        "two first."
    ),
    _(
        "An image of the same patient looks the same and is {state} as {label}. Reject one of "
        "the two first."
    ),
    # Failed images.
    _("This image is already waiting for an answer."),
    _("The job has not failed ({state})."),
    _(
        "The job was tried again before, and that is {state} too: it is the newest one that can "
        "be tried again."
    ),
    _("The job has already ended ({state}) and cannot be cancelled."),
    _("No model is live at the moment. Nothing was taken in."),
    _("The model's process ended while it read this image."),
    _("The model took too long over this image and was ended."),
    _("The model used too much memory on this image and was ended."),
    _("The model gave no usable answer for this image."),
    _("The stored image could not be decoded."),
    _("The model this job was made for cannot be loaded. Run it again."),
    _("The stored image is missing or damaged."),
    # Webhooks.
    _("A site has at most {limit} webhooks."),
    _("There is a webhook of this name."),
    _("Choose at least one of {events}."),
    _("The message is being sent at this moment."),
    _("More than {limit} messages: choose a later moment."),
    _("Give a moment within the last {days} days."),
    _("The webhook is switched off. Switch it on first."),
    # xgettext:no-python-format
    _("Give an address of plain characters; write others as %XX."),
    _("Give an address of up to {limit} characters."),
    _("This is not an address."),
    _("Give an address that starts with https://."),
    _("Only https:// is called: what is sent must not be read on its way."),
    _("No user name or password in the address: each message is signed."),
    _("Leave out what stands after #: it is never sent."),
    _("Port {number} is not called; the ports allowed are {ports}."),
    _("This is not the name of a host."),
    _("Write an IP address with its four numbers in full."),
    _("{address} is an address of a local network."),
    _("{address} is an address inside this or another network, and is not called."),
    _("The host's name stands for an address inside this or another network: it is not called."),
    _("The host's name has no address."),
    _("No answer within {seconds} s."),
    _("The receiver takes no connection."),
    _("The connection broke, or what came is no HTTP."),
    _("The receiver redirects; redirects are not followed."),
    _("The receiver says that the address is gone for good."),
    _("The receiver answered with status {status}."),
    _("The certificate is not accepted: {why}."),
    _("No TLS connection could be agreed on."),
    # People, sites, tokens.
    _("Give a user name."),
    _("Choose at least one role."),
    _("Choose another site."),
    _("The account is closed. Open it first."),
    _("The account is open."),
    _("Name who manages the site's users."),
    _("Letters, digits and signs, without a backslash."),
    _("Nobody changes their own account here; ask another administrator."),
    _("{user} is the only administrator of the site. Make somebody else one first."),
    _("A site with the code {code} exists already."),
    _("A user named {username} exists already."),
    _("Nobody grants themselves a role; ask another administrator."),
    _("Nobody closes their own account; ask another administrator."),
    _("Nobody lifts their own lock-out; ask another administrator."),
    _("Nobody resets their own second factor; ask another administrator."),
    _("The account is closed: a token of it would be of no use."),
    _("No token makes tokens; sign in at the portal."),
    _("People make their own tokens; you make those of systems."),
    _("Choose at least one scope."),
    _("The roles of the token's owner allow nothing of one of these."),
    _("Name the system that will carry the token."),
    _(
        "A training is called off with a reason: on its page, or by POST "
        "/training-runs/{run}/cancel/."
    ),
)
