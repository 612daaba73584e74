"""The bare engine: a process that loops over decoded images, to hold the service against.

Asked on standard input (`arrays N` or `bytes N`, batches as the service makes them), it answers
with the seconds that took. The model is loaded before the first question.
"""

from __future__ import annotations

import sys
import time

from bench.pictures import pictures
from ml.inference import Predictor
from ml.preprocessing import decode_raster
from ml.threads import default_threads


def main() -> None:
    batch = int(sys.argv[1])
    predictor = Predictor(device="cpu", threads=default_threads())
    predictor.warm_up()
    drawn = pictures()
    decoded = [decode_raster(data) for data in drawn]
    print(predictor.engine, flush=True)
    for line in sys.stdin:
        kind, count = line.split()
        source = decoded if kind == "arrays" else drawn
        began = time.perf_counter()
        for start in range(0, int(count), batch):
            rest = min(batch, int(count) - start)
            predictor.predict_each([source[(start + n) % len(source)] for n in range(rest)])
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
