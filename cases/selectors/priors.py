"""Earlier cases of the same patient: the same record, which is issuer and id at one site.

Never by name, and never another site's: each site keeps its own record of a patient.
"""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet

from cases.access import Actor
from cases.errors import NotFound
from cases.models import Case
from cases.selectors.cases import case_list, with_answers
from cases.selectors.reader_first import shown_beside

# So many priors are listed, the newest ones.
MAX_PRIORS = 20


def case_priors(*, actor: Actor, case: Case) -> list[Case]:
    """The newest cases of the patient received before ``case``, with their answers.

    At most ``MAX_PRIORS`` + 1: one more than are listed tells that there are more. Of an erased
    patient there are none.
    """
    found = list(with_answers(_priors(actor, case), actor=actor)[: MAX_PRIORS + 1])
    return list(shown_beside(actor=actor, case_id=case.pk, others=found))


def prior_get(*, actor: Actor, case: Case, image_id: UUID) -> Case:
    """The earlier case of the same patient that holds this image, with its answers.

    ``NotFound`` for an image of another patient, of a later case, of this one or of another site.
    """
    cases = _priors(actor, case).filter(images=image_id)
    prior = with_answers(cases, actor=actor).first()
    if prior is None:
        raise NotFound()
    return shown_beside(actor=actor, case_id=case.pk, others=[prior])[0]


def _priors(actor: Actor, case: Case) -> QuerySet[Case]:
    # The first condition is the one an index can start from.
    earlier = Q(created_at__lte=case.created_at) & (
        Q(created_at__lt=case.created_at) | Q(id__lt=case.pk)
    )
    same = case_list(actor=actor).filter(patient_id=case.patient_id, patient__erased_at=None)
    return same.filter(earlier)
