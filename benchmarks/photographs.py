"""Trains the paper's network on photographs for a number of minutes, and writes what came of it.

python benchmarks/photographs.py DATASET [--minutes 8] [--backbone resnet101] [--no-pretrained] [--weights F=FILE ...]
python benchmarks/photographs.py shapes --toy                   # the same at toy size, to see that it works

At full size: images of 224 x 224, F on AlexNet, phi on AlexNet's conv5, the generator of Dosovitskiy and Brox. One
epoch is timed first; the run then has as many epochs as fit into the minutes. OUT gets `losses.csv` with the mean of
every loss in every epoch, `figures.json` with errors of the reconstructions, accuracies, seconds and device, and
`reconstructions.png`. With `--lpips FILE`, which `benchmarks/lpips.py convert` makes, LPIPS is one of the figures.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lpips import judge

from zslbench import Bench

FULL: dict[str, Any] = {"crops": 2, "batch_size": 64}
TOY: dict[str, Any] = {"preset": "small", "width": 0.05, "image_size": 32, "batch_size": 64}
SHOWN = ("mse_unseen", "perceptual_unseen", "acc_uu", "h", "ausuc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--backbone")
    parser.add_argument("--weights", action="append", default=[], help="PART=FILE")
    parser.add_argument("--no-pretrained", action="store_true")
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--precision", default="32")
    parser.add_argument("--lpips", type=Path, help="weights of LPIPS")
    parser.add_argument("--out", type=Path, default=Path("photographs-run"))
    given = parser.parse_args()
    options: dict[str, Any] = {"calibrated": False, "precision": given.precision, **(TOY if given.toy else FULL)}
    options |= {"pretrained": not given.no_pretrained, "weights": dict(part.split("=", 1) for part in given.weights)}
    options |= {"backbone": given.backbone} if given.backbone else {}
    given.out.mkdir(parents=True, exist_ok=True)
    with Bench(store=given.out / "runs") as bench:
        [probe] = bench.run("spaen-image", dataset=given.dataset, epochs=1, **options)
        assert probe.record.training is not None
        epochs = max(1, int(60 * given.minutes / probe.record.training.seconds))
        started = time.monotonic()
        results = bench.run("spaen-image", dataset=given.dataset, epochs=epochs, **options)
        minutes = (time.monotonic() - started) / 60
        pictures = results.draw()
    record = results[0].record
    assert record.training is not None
    pd.DataFrame(record.training.losses).to_csv(given.out / "losses.csv", index_label="epoch")
    figures = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU", "epochs": epochs}
    figures |= {"minutes": minutes, "seconds per epoch": record.training.seconds / epochs}
    figures |= {name: record.metrics[name] for name in SHOWN if name in record.metrics}
    if given.lpips:
        judged = judge(given.lpips, given.out / "runs").set_index("id").loc[record.id]
        figures |= {name: float(judged[name]) for name in ("lpips", "lpips_mean_image")}
    (given.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    for _, path in pictures:
        shutil.copy(path, given.out / "reconstructions.png")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
