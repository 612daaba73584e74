"""Answer picture files from the command line, without any service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml import registry
from ml.cli import run_cli
from ml.engine import ENGINE_KINDS
from ml.errors import ImageUnreadableError
from ml.inference import Prediction, Predictor
from ml.layouts import printable
from ml.threads import default_threads

_BATCH = 8


def result_json(file: Path, answer: Prediction) -> dict[str, Any]:
    """The contract's ``result`` for a file: what only the service knows is null."""
    facts = answer.to_json()
    model = {"id": None, **facts["model"]}
    # Names that are not UTF-8 could not be written as JSON.
    name = str(file).encode("utf-8", "backslashreplace").decode()
    return {"file": name, "id": None, "heatmap_url": None, **facts, "model": model}


def predict_files(
    predictor: Predictor, files: Sequence[Path]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Answers of the readable files, in order, and one sentence for each of the others."""
    results: list[dict[str, Any]] = []
    faults: list[str] = []
    for start in range(0, len(files), _BATCH):
        readable: list[tuple[Path, bytes]] = []
        for file in files[start : start + _BATCH]:
            try:
                readable.append((file, file.read_bytes()))
            except OSError as error:
                faults.append(f"{printable(str(file))}: {error.strerror or 'cannot be read'}")
        answers = predictor.predict_each([data for _, data in readable])
        for (file, _), answer in zip(readable, answers, strict=True):
            if isinstance(answer, ImageUnreadableError):
                faults.append(f"{printable(str(file))}: {answer.reason}")
            else:
                results.append(result_json(file, answer))
    return results, faults


def in_words(result: dict[str, Any]) -> str:
    """A result as one line: file, answer or why there is none, and the malignant score."""
    said = result["label"] if result["outcome"] == "answered" else result["outcome"]
    line = f"{printable(result['file'])}: {said}"
    if result["reason"]:
        line += f" ({result['reason']})"
    if result["probabilities"] is not None:
        line += f", malignant score {result['probabilities']['malignant']:.3f}"
    return line


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.predict FILE… [--json OUT]``: one JSON object a line, or a list in OUT.

    Files that cannot be read get a line on stderr and make the exit code 2; the rest is answered.
    """
    parser = argparse.ArgumentParser(prog="python -m ml.predict", description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write a JSON list instead")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", choices=ENGINE_KINDS, default="auto")
    arguments = parser.parse_args(argv)
    predictor = Predictor(
        arguments.model,
        device=arguments.device,
        threads=default_threads(),
        engine=arguments.engine,
    )
    results, faults = predict_files(predictor, arguments.files)
    if arguments.json:
        text = json.dumps(results, indent=2, ensure_ascii=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    for result in results:
        print(in_words(result) if arguments.json else json.dumps(result, ensure_ascii=False))
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 2 if faults else 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
