"""The options that `run`, `compare`, `tune` and `table` share, declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from typer import Option

DEFAULT_STORE = Path("zslbench-runs")

DataRoot = Annotated[
    Path | None,
    Option(envvar="ZSLBENCH_DATA", help="Folder of the data sets.", show_default="the user's data folder"),
]
StoreFolder = Annotated[Path, Option(envvar="ZSLBENCH_STORE", help="Folder of the run records.")]
Features = Annotated[
    str | None, Option(help="Visual features, NAME.mat.", show_default="res101, or the data set's own")
]
Splits = Annotated[str, Option(help="Split file, NAME.mat.")]
Json = Annotated[bool, Option("--json", help="Print JSON on standard output, and nothing else there.")]
Plain = Annotated[bool, Option("--plain", help="No colours, no moving bars.")]


TUNING = "Tuning"
IMAGES = "Images"


@dataclass(frozen=True)
class Options:
    """What decides which runs are meant, how hyper-parameters are tuned, and how runs are executed and shown."""

    dataset: Annotated[
        list[str] | None,
        Option(
            "--dataset",
            "-d",
            help="Name or folder, NAME:OPTION=VALUE,..., or NAME@FEATURES; again for more. "
            "Default: every benchmark present, else digits.",
        ),
    ] = None
    features: Features = None
    data_root: DataRoot = None
    splits: Splits = "att_splits"
    semantics: Annotated[
        str,
        Option(help="Class embeddings: att, original (before normalisation), or a .npy or text file, L2-normalised."),
    ] = "att"
    preset: Annotated[str | None, Option(help="Named parameters; `describe METHOD` shows them.")] = None
    param: Annotated[
        list[str] | None, Option("--param", "-p", metavar="KEY=VALUE", help="A hyper-parameter; again for more.")
    ] = None
    scale: Annotated[
        str | None,
        Option(help="none, l2, zscore or minmax; fitted on training images.", show_default="the method's own"),
    ] = None
    input: Annotated[
        Literal["features", "images"] | None,
        Option(help="What methods are given.", show_default="what the method is made for", rich_help_panel=IMAGES),
    ] = None
    weights: Annotated[
        list[str] | None,
        Option(
            metavar="PART=FILE",
            help="Weights of a part of the network, backbone for one: safetensors or a state dict; again for more.",
            rich_help_panel=IMAGES,
        ),
    ] = None
    pretrained: Annotated[
        bool,
        Option(
            "--pretrained/--no-pretrained",
            help="Pretrained weights where a part has some, or random ones.",
            rich_help_panel=IMAGES,
        ),
    ] = True
    trials: Annotated[int, Option(help="Settings to try.", min=1, rich_help_panel=TUNING)] = 16
    grid: Annotated[
        bool,
        Option("--grid", help="Try every combination; closed forms do anyway.", rich_help_panel=TUNING),
    ] = False
    metric: Annotated[
        str,
        Option(help="What to choose by, a name or a title: ausuc, h or acc_uu.", rich_help_panel=TUNING),
    ] = "ausuc"
    folds: Annotated[
        int, Option(help="Cuts of the seen classes to validate on; the mean counts.", min=1, rich_help_panel=TUNING)
    ] = 3
    search: Annotated[
        list[str] | None,
        Option(
            metavar="KEY=SPACE",
            help="What to search: KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C; again for more.",
            show_default="the method's own",
            rich_help_panel=TUNING,
        ),
    ] = None
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    jobs: Annotated[int, Option("--jobs", "-j", help="Runs at a time, in processes of their own.", min=1)] = 1
    engine: Annotated[str | None, Option(help="`list engines`.", show_default="processes if --jobs, else inline")] = (
        None
    )
    precision: Annotated[Literal["32", "bf16"], Option(help="Precision of training.")] = "32"
    store: StoreFolder = DEFAULT_STORE
    existing: Annotated[
        Literal["reuse", "rerun", "only-cached"], Option(help="What to do about runs that are stored already.")
    ] = "reuse"
    json: Json = False
    plain: Plain = False
    debug: Annotated[bool, Option("--debug", help="Show a traceback where something fails.")] = False


@dataclass(frozen=True)
class RunOptions(Options):
    """Those of commands that score methods, too."""

    seed: Annotated[int | None, Option(help="The one seed to run.", min=0)] = None
    seeds: Annotated[int | None, Option(help="Run seeds 0 to N-1.", min=1, metavar="N")] = None
    on: Annotated[
        Literal["test", "validation"],
        Option(help="`validation` scores classes cut from trainval and never touches a test image."),
    ] = "test"
    fold: Annotated[int, Option(help="Which cut into training and validation classes.", min=0)] = 0
    metrics: Annotated[
        list[str] | None,
        Option(
            metavar="NAME,...",
            help="Columns of tables, by name or title; again for more.",
            show_default="those that evaluators show",
        ),
    ] = None
    calibrated: Annotated[
        bool,
        Option(
            "--calibrated/--uncalibrated",
            help="Also fit on validation classes, to choose gamma; without, only what needs no such fit is measured.",
        ),
    ] = True
    tuned: Annotated[
        bool, Option("--tuned", help="Use tuned presets; tunes first where there is none.", rich_help_panel=TUNING)
    ] = False
    oracle: Annotated[
        bool,
        Option(
            "--oracle",
            help="Add what picking on the test images would have gained; never used for anything else.",
            rich_help_panel=TUNING,
        ),
    ] = False


def with_options(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command that takes `options`, a dataclass of this kind, a command-line option for each field."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def wrapper(**values: Any) -> None:
            own = {name: values.pop(name) for name in list(values) if name not in shared}
            command(**own, options=kind(**values))

        hints = get_type_hints(command, include_extras=True)
        hints.pop("options")
        shared = get_type_hints(kind, include_extras=True)
        parameters = [
            p.replace(annotation=hints[n]) for n, p in inspect.signature(command).parameters.items() if n in hints
        ]
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=shared[f.name])
            for f in fields(kind)
        ]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {**hints, **shared}
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        return wrapper

    return decorate


def words_of(options: RunOptions) -> list[str]:
    """Returns the options that give the same figures again, as words of a command; defaults are left out."""
    words = []
    plain = RunOptions()
    for name in options.dataset or []:
        words += ["--dataset", name]
    for name in ("features", "splits", "semantics", "preset", "scale", "seed", "seeds", "fold", "precision", "input"):
        if getattr(options, name) != getattr(plain, name):
            words += [f"--{name}", str(getattr(options, name))]
    for text in options.param or []:
        words += ["--param", text]
    for text in options.weights or []:
        words += ["--weights", text]
    for text in options.metrics or []:
        words += ["--metrics", text]
    words += [] if options.pretrained else ["--no-pretrained"]
    words += [] if options.calibrated else ["--uncalibrated"]
    if options.tuned:
        words.append("--tuned")
        for name in ("trials", "metric", "folds"):
            if getattr(options, name) != getattr(plain, name):
                words += [f"--{name}", str(getattr(options, name))]
        words += ["--grid"] if options.grid else []
        words += ["--oracle"] if options.oracle else []
        for text in options.search or []:
            words += ["--search", text]
    return words
