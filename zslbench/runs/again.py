"""The command that makes a stored run again, from its record alone."""

from __future__ import annotations

import shlex

from zslbench.data.semantics import OWN
from zslbench.data.xlsa17 import SPLITS
from zslbench.records.record import RunRecord
from zslbench.runs.external import PREFIX


def command_of(record: RunRecord) -> str:
    """Returns the command whose run has the id of this record; empty for a method that is a file or an object.

    Of a trial that ended by its curve, it is the command that trains the same model.
    """
    spec, kept = record.spec, record.provenance
    dataset = str(kept.get("dataset") or spec.dataset)
    if record.external:
        words = ["evaluate", kept.get("file", "SCORES"), "-d", dataset, "--name", spec.method.removeprefix(PREFIX)]
        words += ["--setting", spec.setting, "--save"]
        words += ["--validation", kept["validation"]] if "validation" in kept else []
        return shlex.join(["zslbench", *words])
    if spec.code:
        return ""
    words = ["run", spec.method, "-d", dataset, "--seed", str(spec.seed)]
    ended = {"epochs": record.training.epochs} if spec.stop_on and record.training else {}
    words += [word for name, value in (spec.params | ended).items() for word in ("-p", f"{name}={value}")]
    words += ["--scale", spec.scale, "--semantics-scale", spec.semantics_scale]
    if spec.input == "features" and "@" not in dataset:
        words += ["--features", kept.get("features", spec.features)]
    for option, value, default in (
        ("splits", kept.get("splits", SPLITS), SPLITS),
        ("semantics", kept.get("semantics", OWN), OWN),
        ("precision", spec.precision, "32"),
        ("shots", spec.shots, None),
        ("on", spec.on, "test"),
        ("fold", spec.fold, 0),
    ):
        words += [f"--{option}", str(value)] if value != default else []
    words += [] if spec.pretrained else ["--no-pretrained"]
    words += [word for part, path in kept.get("weights", {}).items() for word in ("--weights", f"{part}={path}")]
    words += [] if record.validated or spec.on == "validation" else ["--uncalibrated"]
    return shlex.join(["zslbench", *words])
