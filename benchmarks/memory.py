"""Measures the peak memory of a process that works on a number of images, to compare with that of another number.

python benchmarks/memory.py reconstruct 10000 64     # the evaluator `reconstruction`, so many test images of 64 x 64
python benchmarks/memory.py train 8000 64            # an epoch of SP-AEN

Images are noise in one file, as runs have them. The output is MB: after imports, and at the most.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from zslbench import ZSLData
from zslbench.api.images import Pixels, square_side
from zslbench.evaluation.reconstruction import Reconstruction
from zslbench.evaluation.scorers import ModelScorer
from zslbench.runs.provenance import peak_memory
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

CPU = torch.device("cpu")
SEEN, UNSEEN, ATTRIBUTES, FEATURES = 40, 10, 85, 64
AT_ONCE = 2**24
"""Bytes of noise that are written at a time."""


def noise(folder: Path, task: str, images: int, size: int) -> ZSLData:
    """Writes squares of noise; the images are trained on, or they are tested, half of them of unseen classes."""
    random = np.random.default_rng(0)
    trained, tested = (SEEN, images) if task == "reconstruct" else (images, UNSEEN)
    whole, each = trained + tested, 3 * square_side(size) ** 2
    with (folder / "squares").open("wb") as file:
        for start in range(0, whole, step := max(1, AT_ONCE // each)):
            file.write(random.bytes(each * min(step, whole - start)))
    labels = np.arange(whole) % SEEN
    unseen = np.arange(trained + tested // 2, whole)
    labels[unseen] = SEEN + unseen % UNSEEN
    return ZSLData(
        name="noise",
        features_name="noise",
        features=random.standard_normal((whole, 1, FEATURES), dtype=np.float32),
        labels=labels,
        semantics=random.random((SEEN + UNSEEN, ATTRIBUTES), dtype=np.float32),
        class_names=tuple(map(str, range(SEEN + UNSEEN))),
        train=np.arange(trained),
        test_seen=np.arange(trained, trained + tested // 2),
        test_unseen=unseen,
        pixels=Pixels(folder / "squares", np.arange(whole), size, 1),
    )


def network(size: int) -> SPAENImages:
    """The paper's network for images of 224; else one for a CPU, a twentieth as wide."""
    params = SPAENImageParams(epochs=1, batch_size=64, crops=1)
    if size < 224:
        values = {"image_size": size, "encoder": "conv", "phi": "none", "width": 0.05, "critic_steps": 1}
        params = params.model_copy(update=values)
    model = SPAENImages(params)
    model.pretrained = False
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["reconstruct", "train"])
    parser.add_argument("images", type=int)
    parser.add_argument("size", type=int)
    options = parser.parse_args()
    before = peak_memory(CPU)
    with TemporaryDirectory() as folder, seeded(0, CPU):
        data, model = noise(Path(folder), options.task, options.images, options.size), network(options.size)
        view = data.train_view("inductive")
        model.build(view.shape)
        if options.task == "train":
            fit(model, view, 0, Fit(CPU))
        else:
            evaluator = Reconstruction()
            scorer = ModelScorer(model.eval(), data.test_view(), lambda x: x, CPU)
            metrics = evaluator.evaluate(scorer)
            assert len(evaluator.arrays(scorer)["mse"]) == options.images and 0 < metrics["mse_unseen"] < 1
    print(f"{before:.0f} {peak_memory(CPU):.0f}")


if __name__ == "__main__":
    main()
