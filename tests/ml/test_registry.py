import json
import subprocess
import sys

import pytest
import torch

from ml import registry
from ml.errors import ModelFileError
from ml.model import read_tensors
from ml.registry import card_path, load_model, read_card, verify_file


def change_card(path, **changes):
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps({**card, **changes}))


def test_a_model_file_loads_with_what_its_card_says(model_file):
    model = load_model(model_file)
    assert model.version == "tests-only"
    assert model.layout == "v1-layer3"
    assert model.classes == ("benign", "malignant", "normal")
    assert model.temperature == 1.5
    assert model.operating_point.to_json() == {"threshold": 0.35, "sensitivity": 0.95}
    assert model.preprocessing.size == 64
    assert model.sha256 == registry.file_sha256(model_file)
    assert not model.network.training
    assert {p.dtype for p in model.network.parameters()} == {torch.float32}


def test_weights_are_stored_in_half_precision_but_batchnorm_whole(model_file):
    from safetensors.torch import load_file

    tensors = load_file(model_file)
    assert tensors["layer1.0.conv1.weight"].dtype == torch.float16
    assert tensors["layer1.0.bn1.running_var"].dtype == torch.float32
    assert model_file.stat().st_size < 50_000_000


def test_a_truncated_file_is_refused(model_copy):
    model_copy.write_bytes(model_copy.read_bytes()[:-1000])
    with pytest.raises(ModelFileError, match="is truncated"):
        load_model(model_copy)


def test_one_changed_byte_is_refused(model_copy):
    data = bytearray(model_copy.read_bytes())
    data[-5] ^= 1
    model_copy.write_bytes(data)
    with pytest.raises(ModelFileError, match="was changed"):
        load_model(model_copy)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 9.0},
        {"operating_point": {"threshold": 0.0, "sensitivity": 1.0}},
        {"layout": "v1.5"},
        {"version": "better"},
    ],
)
def test_a_card_that_disagrees_with_its_weights_is_refused(model_copy, change):
    change_card(model_copy, **change)
    with pytest.raises(ModelFileError, match=f"{next(iter(change))} differs"):
        load_model(model_copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architecture": "vgg16"}, "vgg16"),
        ({"format": "other/9"}, "other/9"),
        ({"classes": ["cat", "dog"]}, "cat"),
    ],
)
def test_a_card_of_another_architecture_or_format_is_refused(model_copy, change, reason):
    change_card(model_copy, **change)
    with pytest.raises(ModelFileError, match=reason):
        read_card(model_copy)


def test_a_card_without_an_entry_is_refused(model_copy):
    card = json.loads(card_path(model_copy).read_text())
    del card["temperature"]
    card_path(model_copy).write_text(json.dumps(card))
    with pytest.raises(ModelFileError, match="no 'temperature'"):
        read_card(model_copy)


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_card_that_is_no_json_object_is_refused(model_copy, text):
    card_path(model_copy).write_text(text)
    with pytest.raises(ModelFileError, match=r"copy\.json"):
        read_card(model_copy)


def test_a_missing_card_or_file_is_named(model_copy, tmp_path):
    with pytest.raises(ModelFileError, match=r"no model card none\.json"):
        load_model(tmp_path / "none.safetensors")
    model_copy.unlink()
    with pytest.raises(ModelFileError, match=r"copy\.safetensors cannot be read"):
        load_model(model_copy)


def test_safetensors_from_elsewhere_are_refused_even_with_a_matching_hash(model_copy):
    from safetensors.torch import save_file

    save_file({"fc.bias": torch.zeros(3)}, model_copy)
    weights = {"file": model_copy.name, "sha256": registry.file_sha256(model_copy)}
    change_card(model_copy, weights=weights)
    with pytest.raises(ModelFileError, match="not written by bcweb"):
        verify_file(model_copy)


def test_the_environment_names_another_model(model_file, monkeypatch):
    assert registry.shipped_path() == registry.SHIPPED
    monkeypatch.setenv("BCWEB_MODEL", str(model_file))
    assert registry.shipped_path() == model_file
    assert registry.shipped_card()["version"] == "tests-only"


def test_reading_a_card_and_verifying_a_file_import_no_torch(model_file):
    code = (
        "import sys; from pathlib import Path; from ml import registry;"
        f"registry.verify_file(Path({str(model_file)!r}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    registry.write_atomic(path, b"old")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(registry.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        registry.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_killed_between_weights_and_card_is_completed_when_read(model_copy, monkeypatch):
    card = registry.read_card(model_copy)
    state = read_tensors(model_copy)
    old = model_copy.read_bytes()

    class Killed(BaseException):
        pass

    def killed(path, target):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(registry, "write_atomic", lambda path, data: path.write_bytes(data))
        patch.setattr("pathlib.Path.replace", killed)
        with pytest.raises(Killed):
            registry.save_model(model_copy, state, {**card, "version": "next"})
    assert model_copy.read_bytes() != old
    assert registry.load_model(model_copy).version == "next"
    assert not list(model_copy.parent.glob("*.next"))
    # a card that waits for other weights changes nothing
    waiting = model_copy.with_suffix(".json.next")
    waiting.write_text(json.dumps({**card, "version": "another"}))
    model_copy.write_bytes(old[:-1])
    with pytest.raises(ModelFileError, match="sha256"):
        registry.load_model(model_copy)


def test_a_card_is_never_written_with_what_json_does_not_have(model_copy):
    before = registry.card_path(model_copy).read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        registry.write_card(model_copy, {**registry.read_card(model_copy), "x": float("nan")})
    assert registry.card_path(model_copy).read_bytes() == before
