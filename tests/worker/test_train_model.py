"""`manage.py train_model`: asks by the same door as portal and API."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from cases.models import TrainingRun
from tests.factories import live_model, make_site
from tests.gates import make_plan
from tests.training import make_snapshot

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("train_model", *words, "--reason", "new data", stdout=out)
    return out.getvalue()


def test_it_asks_for_a_training_of_the_first_site_or_the_one_named() -> None:
    live_model()
    first, other = make_site(), make_site("other")
    old, new = make_snapshot(), make_snapshot()
    told = run("newest", "--epochs", "2", "--init", "none", "--seed", "3")
    made = TrainingRun.objects.get()
    assert told == f"training run {made.pk}\n"
    assert (made.snapshot, made.job.site, made.epochs, made.seed) == (new, first, 2, 3)
    assert (made.requested_by, made.reason) == ("manage.py train_model", "new data")
    run(old.pk[:20], "--if-running", "queue", "--site", other.code)
    assert TrainingRun.objects.get(snapshot=old).job.site == other


def test_a_gate_plan_is_named_by_its_name_or_its_id() -> None:
    live_model()
    site = make_site()
    plan = make_plan(site=site, name="spring")
    make_snapshot()
    for words in (["--plan", "spring"], ["--plan", str(plan.pk), "--if-running", "queue"]):
        run("newest", *words)
    assert {made.plan for made in TrainingRun.objects.all()} == {plan}
    with pytest.raises(CommandError, match="no gate plan") as error:
        run("newest", "--plan", "autumn")
    assert error.value.returncode == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nothing"], "no snapshot"),
        (["newest", "--epochs", "0"], "epochs: Give a whole number"),
        (["newest", "--init", "/x"], "init: Choose"),
        (["newest", "--site", "nowhere"], "no site"),
        (["newest"], "already"),
    ],
)
def test_what_is_refused_is_one_line_and_exit_2(words: list[str], reason: str) -> None:
    live_model()
    make_site()
    make_snapshot()
    run("newest")
    with pytest.raises(CommandError, match=reason) as error:
        run(*words)
    assert error.value.returncode == 2
    assert "\n" not in str(error.value)
    assert TrainingRun.objects.count() == 1
