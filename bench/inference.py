"""Inference speed and memory: each engine beside plain eager PyTorch, interleaved in one run.

Plain means: NCHW, float32, one call of the network in inference mode, no tricks. All cells are
measured in rounds, in a new order each round, so that whatever else the machine does meets all
of them; the figures are medians over rounds. Pictures are phantoms of 500 x 470 as PNG bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models import ResNet

from ml import registry
from ml.calibrate import softmax
from ml.cli import UsageError, run_cli
from ml.engine import Floats
from ml.errors import MlError
from ml.inference import Predictor
from ml.model import build_network
from ml.preprocessing import decode_raster
from ml.refusal import Detector
from ml.registry import LoadedModel
from ml.threads import default_threads
from tests.ml.helpers import png
from tests.phantoms import bmode_phantom

SIZE = (470, 500)
EAGER = "eager"
ENGINES = ("pytorch", "onnx")
# What a cell does for each picture; the first is the bare forward pass to scores.
MODES = {
    "pass": "prepared input to scores",
    "heatmap": "and the class activation maps",
    "refusal": "and the maps and the refusal check",
    "decode": "PNG bytes to scores",
    "all": "PNG bytes to answer: scores, maps, refusal check",
}


@dataclass(frozen=True)
class Cell:
    """One thing that is timed."""

    engine: str
    batch: int
    mode: str


Work = Callable[[], Any]


def network_of(model: LoadedModel) -> ResNet:
    """The model's network anew, in torch's ordinary memory format."""
    network = build_network(model.layout)
    network.load_state_dict(model.network.state_dict())
    network.eval()
    return network


def scores_only(predictor: Predictor, model: LoadedModel, threads: int) -> Callable[[Floats], Any]:
    """The engine of ``predictor`` without maps and features, to tell what those add."""
    if predictor.engine.startswith("pytorch"):
        network = predictor.model.network

        def forward(batch: Floats) -> Any:
            with torch.inference_mode():
                images = torch.from_numpy(batch).to(memory_format=torch.channels_last)
                return network(images).numpy()

        return forward
    import onnxruntime

    from ml.onnx_engine import build_graph

    graph = build_graph(model.network, model.preprocessing.size)
    wanted = [output for output in graph.graph.output if output.name == "logits"]
    del graph.graph.output[:]
    graph.graph.output.extend(wanted)
    # Nodes whose outputs nobody reads now are dropped, last to first.
    used = {"logits"}
    for node in reversed(list(graph.graph.node)):
        if used.isdisjoint(node.output):
            graph.graph.node.remove(node)
        else:
            used.update(node.input)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # it would tell of the weights that went with those nodes
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda batch: session.run(["logits"], {"images": batch})[0]


def cells_of(
    model_file: Path | None, batches: Sequence[int], threads: int
) -> tuple[dict[Cell, Work], dict[str, Any]]:
    """What is timed, by cell, and facts about it."""
    model = registry.load_model(model_file)
    pictures = [png(bmode_phantom(seed, SIZE)) for seed in range(max(batches))]
    pixels = [decode_raster(picture) for picture in pictures]
    prepared = np.stack([model.preprocessing.apply(image)[0] for image in pixels])
    plain = network_of(model)
    temperature = model.temperature

    def eager(batch: Floats) -> Any:
        with torch.inference_mode():
            return softmax(plain(torch.from_numpy(batch)).numpy(), temperature)

    def decoded(count: int) -> Floats:
        images = (decode_raster(picture) for picture in pictures[:count])
        return np.stack([model.preprocessing.apply(image)[0] for image in images])

    work: dict[Cell, Work] = {}
    reference = eager(prepared[:2])
    facts: dict[str, Any] = {"engines": {EAGER: f"pytorch-{torch.__version__}, CPU, NCHW"}}
    for count in batches:
        work[Cell(EAGER, count, "pass")] = partial(eager, prepared[:count])
        work[Cell(EAGER, count, "decode")] = partial(_chain, partial(decoded, count), eager)
    detector = model.detector
    for kind in ENGINES:
        own = registry.load_model(model_file)
        predictor = Predictor(own, device="cpu", threads=threads, engine=kind)
        if predictor.warning:
            raise MlError(predictor.warning)
        bare = scores_only(predictor, own, threads)
        found = softmax(predictor.run(list(prepared[:2])).logits, temperature)
        facts["engines"][kind] = predictor.engine
        facts.setdefault("largest_score_difference", {})[kind] = float(
            np.abs(found - reference).max()
        )
        for count in batches:
            cells = _engine_cells(predictor, bare, detector, prepared, pixels, pictures, count)
            scores = partial(_scores, bare, temperature)
            cells["decode"] = partial(_chain, partial(decoded, count), scores)
            work.update({Cell(kind, count, mode): cells[mode] for mode in MODES if mode in cells})
    facts["refusal_check"] = detector is not None
    facts["model"] = {"version": model.version, "sha256": model.sha256}
    return work, facts


def _chain(first: Callable[[], Floats], then: Callable[[Floats], Any]) -> Any:
    return then(first())


def _scores(bare: Callable[[Floats], Any], temperature: float, batch: Floats) -> Any:
    return softmax(bare(batch), temperature)


def _engine_cells(
    predictor: Predictor,
    bare: Callable[[Floats], Any],
    detector: Detector | None,
    prepared: Floats,
    pixels: Sequence[Any],
    pictures: Sequence[bytes],
    count: int,
) -> dict[str, Work]:
    temperature = predictor.model.temperature

    def heatmap() -> Any:
        outputs = predictor.run(list(prepared[:count]))
        softmax(outputs.logits, temperature)
        outputs.maps.astype(np.float16)
        return outputs

    def refusal() -> Any:
        outputs = heatmap()
        if detector is not None:
            for row in range(count):
                detector.check(pixels[row], outputs.texture[row])

    cells: dict[str, Work] = {
        "pass": partial(_scores, bare, temperature, prepared[:count]),
        "heatmap": heatmap,
        "all": lambda: predictor.predict(pictures[:count]),
    }
    return cells | ({"refusal": refusal} if detector is not None else {})


def measure(work: dict[Cell, Work], rounds: int) -> dict[Cell, list[float]]:
    """Seconds per cell and round; every cell once before, uncounted."""
    seconds: dict[Cell, list[float]] = {cell: [] for cell in work}
    order, shuffle = list(work), random.Random(0)
    for number in range(rounds + 1):
        shuffle.shuffle(order)
        for cell in order:
            started = time.perf_counter()
            work[cell]()
            if number:
                seconds[cell].append(time.perf_counter() - started)
        if sys.stderr.isatty():
            print(f"round {number} of {rounds}", file=sys.stderr)
    return seconds


def rows_of(seconds: dict[Cell, list[float]]) -> list[dict[str, Any]]:
    """A row per cell: medians per picture, and against eager PyTorch at the same batch."""
    medians = {cell: statistics.median(times) for cell, times in seconds.items()}
    rows = []
    for cell, median in medians.items():
        against = Cell(EAGER, cell.batch, "decode" if cell.mode in ("decode", "all") else "pass")
        bare = Cell(cell.engine, cell.batch, "pass")
        rows.append(
            {
                "engine": cell.engine,
                "batch": cell.batch,
                "mode": cell.mode,
                "ms_per_image": 1000 * median / cell.batch,
                "images_per_s": cell.batch / median,
                "fastest_ms_per_image": 1000 * min(seconds[cell]) / cell.batch,
                "times_eager": medians[against] / median,
                "over_pass": median / medians[bare] - 1,
            }
        )
    order = {name: place for place, name in enumerate((EAGER, *ENGINES))}
    modes = list(MODES)
    return sorted(rows, key=lambda r: (r["batch"], order[r["engine"]], modes.index(r["mode"])))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [
        f"{'batch':>5} {'engine':8} {'what':8} {'ms/image':>9} {'images/s':>9} "
        f"{'x eager':>8} {'over pass':>10}"
    ]
    lines += [
        f"{r['batch']:5d} {r['engine']:8} {r['mode']:8} {r['ms_per_image']:9.1f} "
        f"{r['images_per_s']:9.1f} {r['times_eager']:8.2f} {100 * r['over_pass']:+9.1f}%"
        for r in rows
    ]
    return "\n".join(lines)


def peak_memory(kind: str, model_file: Path | None, batches: Sequence[int]) -> dict[str, Any]:
    """Resident MiB of one engine in a process of its own: after loading, and at its peak."""
    command = [sys.executable, "-m", "bench.inference", "--memory-of", kind]
    command += ["--batches", *map(str, batches)]
    command += ["--model", str(model_file)] if model_file else []
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def own_memory(kind: str, model_file: Path | None, batches: Sequence[int]) -> dict[str, Any]:
    """What :func:`peak_memory` asks its child for."""
    imported = _status("VmRSS")
    model = registry.load_model(model_file)
    size = model.preprocessing.size
    run: Callable[[Floats], Any]
    if kind == EAGER:
        network = model.network

        def run(batch: Floats) -> Any:
            with torch.inference_mode():
                return network(torch.from_numpy(batch))
    else:
        run = Predictor(model, device="cpu", threads=default_threads(), engine=kind)._engine.run
    after: dict[str, Any] = {"imported": imported, "loaded": _status("VmRSS")}
    after["peak_while_loading"] = _status("VmHWM")
    for count in (*batches, *batches):  # twice: what grows would show
        run(np.zeros((count, 3, size, size), dtype=np.float32))
        after.setdefault("after_batches", []).append(_status("VmRSS"))
    return after | {"peak": _status("VmHWM")}


def _status(name: str) -> int:
    """A memory figure of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) // 1024


def machine(threads: int) -> dict[str, Any]:
    """On what it was measured, and how busy that was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {"cpu": cpu, "cpus": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0]}


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m bench.inference [--rounds 7] [--batches 1 8 32] [--json OUT] …``."""
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description=__doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--threads", type=int, default=default_threads(), metavar="N")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    parser.add_argument("--memory-of", choices=(EAGER, *ENGINES), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if min(*arguments.batches, arguments.rounds, arguments.threads, 99) < 1:
        raise UsageError("--batches, --rounds and --threads must be at least 1")
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        print(json.dumps(own_memory(arguments.memory_of, arguments.model, arguments.batches)))
        return 0
    work, facts = cells_of(arguments.model, arguments.batches, arguments.threads)
    rows = rows_of(measure(work, arguments.rounds))
    memory = {
        kind: peak_memory(kind, arguments.model, arguments.batches) for kind in (EAGER, *ENGINES)
    }
    print(table(rows))
    for mode, words in MODES.items():
        print(f"{mode:8} {words}")
    if not facts["refusal_check"]:
        print("this model has no refusal check")
    for kind, used in memory.items():
        print(f"{kind:8} memory in MiB: {used}")
    result = {
        "machine": machine(arguments.threads),
        "rounds": arguments.rounds,
        **facts,
        "rows": rows,
        "memory_mib": memory,
    }
    if arguments.json:
        text = json.dumps(result, indent=2) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
