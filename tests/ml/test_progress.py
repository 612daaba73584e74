import io
import json
import math
import os
import signal
import sys

import pytest

from ml.errors import (
    DatasetError,
    NonFiniteLossError,
    OutOfMemoryError,
    TrainingCancelledError,
    TrainingError,
)
from ml.progress import Bar, EventStream, Progress, StopSignal, error_code, open_events


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NonFiniteLossError("x"), "non_finite_loss"),
        (OutOfMemoryError("x"), "out_of_memory"),
        (TrainingCancelledError("x"), "training_cancelled"),
        (TrainingError("x"), "training"),
        (DatasetError("x"), "dataset"),
        (OSError(28, "No space left on device"), "input_output"),
        (KeyboardInterrupt(), "interrupted"),
        (ZeroDivisionError(), "unexpected"),
    ],
)
def test_every_error_has_a_code_for_programs(error, code):
    assert error_code(error) == code


def test_events_are_lines_of_strict_json_with_a_time():
    file = io.StringIO()
    events = EventStream(file)
    events.step(Progress(epoch=1, epochs=3, step=2, steps=4, loss=math.nan))
    events.send("epoch", val={"auc": math.inf, "loss": 0.5}, name="Brüste")
    step, epoch = lines(file.getvalue())
    assert step.pop("time") > 1.7e9
    assert step == {"event": "step", "epoch": 1, "epochs": 3, "step": 2, "steps": 4, "loss": None}
    assert (epoch["val"], epoch["name"]) == ({"auc": None, "loss": 0.5}, "Brüste")


def test_an_error_is_the_last_event_and_goes_on():
    file = io.StringIO()
    events = EventStream(file)
    with pytest.raises(OutOfMemoryError), events.ending():
        raise OutOfMemoryError("out of memory with batches of 64")
    (line,) = lines(file.getvalue())
    assert line["event"] == "error"
    assert (line["code"], line["message"]) == ("out_of_memory", "out of memory with batches of 64")


def test_events_are_appended_to_a_file_and_readable_at_once(tmp_path):
    path = tmp_path / "new" / "events.jsonl"
    for number in range(2):
        with open_events(str(path)) as events:
            events.send("start", number=number)
            assert lines(path.read_text())[-1]["number"] == number
    assert len(lines(path.read_text())) == 2


def test_on_stdout_there_are_only_events(capsys):
    with open_events("-") as events:
        print("for people")
        events.send("start")
    print("afterwards")
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert (json.loads(first)["event"], second) == ("start", "afterwards")
    assert err == "for people\n"


def test_without_a_target_nothing_is_written(capsys):
    with open_events(None) as events:
        events.send("start")
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_drawn_only_in_a_terminal(capsys, monkeypatch):
    progress = Progress(epoch=2, epochs=3, step=1, steps=4, loss=0.5)
    with Bar() as bar:
        bar.step(progress)
        bar.write("epoch=1")
    assert capsys.readouterr() == ("epoch=1\n", "")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with Bar() as bar:
        bar.step(progress)
    assert "5/12" in sys.stderr.getvalue()
    assert "loss=0.500" in sys.stderr.getvalue()


def test_sigterm_ends_at_once_where_there_is_nothing_to_finish():
    stop = StopSignal()
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TrainingCancelledError), stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_sigterm_is_only_noted_while_a_step_runs():
    stop, reached = StopSignal(), []
    with pytest.raises(TrainingCancelledError), stop.listening(), stop.gracefully():
        assert not stop.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        reached.append(stop.requested())
    assert reached == [True]
