"""The options that `run`, `compare`, `tune`, `table` and `paper` share, and what they come to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from typer import Option

from zslbench.cli.output import starting
from zslbench.errors import UsageError

if TYPE_CHECKING:
    from zslbench.bench import Bench
    from zslbench.report.progress import Display

DEFAULT_STORE, DEFAULT_SPLITS = Path("zslbench-runs"), "att_splits"

DataRoot = Annotated[
    Path | None,
    Option(envvar="ZSLBENCH_DATA", help="Folder of the data sets.", show_default="the user's data folder"),
]
StoreFolder = Annotated[Path, Option(envvar="ZSLBENCH_STORE", help="Folder of the run records.")]
Features = Annotated[
    str | None, Option(help="Visual features, NAME.mat.", show_default="res101, or the data set's own")
]
Splits = Annotated[str, Option(help="Split file, NAME.mat.")]
Metrics = Annotated[
    list[str] | None,
    Option(
        metavar="NAME,...",
        help="Columns of tables, by name or title; repeat it for more.",
        show_default="those that evaluators show",
    ),
]
Json = Annotated[bool, Option("--json", help="Print JSON on standard output, and nothing else there.")]
Filter = Annotated[
    list[str] | None,
    Option("--filter", "-f", metavar="'WORD ...'", help="Only runs that fit every word, such as 'method=sae h>30'."),
]
Plain = Annotated[bool, Option("--plain", help="No colours, no moving bars.")]

TuningOption = partial(Option, rich_help_panel="Tuning")
ImagesOption = partial(Option, rich_help_panel="Images")

OF_TUNING = ("trials", "grid", "metric", "folds", "search")
RUNNING = ("data_root", "device", "jobs", "engine", "stack", "store", "existing", "keep_model", "memory")
IN_NO_FIGURE = (*RUNNING, "note", "json", "plain", "debug")
FORMATS = ("text", "markdown", "latex", "csv", "html", "columns", "out")


@dataclass(frozen=True)
class Options:
    """What decides which runs are meant, how hyper-parameters are tuned, and how runs are executed and shown."""

    dataset: Annotated[
        list[str] | None,
        Option(
            "--dataset",
            "-d",
            help="Name or folder, NAME:OPTION=VALUE,..., or NAME@FEATURES; repeat it for more. "
            "Default: every benchmark present, else digits.",
        ),
    ] = None
    features: Annotated[
        str | None,
        Option(
            metavar="NAME|FILE",
            help="Visual features: NAME.mat, or a file of arrays with a row for each image, FILE or FILE:ARRAY.",
            show_default="res101, or the data set's own",
        ),
    ] = None
    data_root: DataRoot = None
    splits: Splits = DEFAULT_SPLITS
    semantics: Annotated[
        list[str] | None,
        Option(
            help="Class embeddings: att, original (before normalisation), or a file of arrays (FILE or FILE:ARRAY) or "
            "text, L2-normalised; repeat it for a row each.",
            show_default="att",
        ),
    ] = None
    preset: Annotated[str | None, Option(help="Named parameters; `describe METHOD` shows them.")] = None
    param: Annotated[
        list[str] | None, Option("--param", "-p", metavar="KEY=VALUE", help="A hyper-parameter; repeat it for more.")
    ] = None
    scale: Annotated[
        str | None,
        Option(help="none, l2, zscore or minmax; fitted on training images.", show_default="the method's own"),
    ] = None
    semantics_scale: Annotated[
        str | None,
        Option(
            help="none, l2 or whiten: of class embeddings; fitted on seen classes.", show_default="the method's own"
        ),
    ] = None
    shots: Annotated[
        str | None,
        Option(
            metavar="N|SHARE,...",
            help="Training images of each seen class, 4, or a share of them, 0.1, drawn by the seed; several, "
            "1,2,4,all, give a row each.",
            show_default="all",
        ),
    ] = None
    input: Annotated[
        Literal["features", "images"] | None,
        ImagesOption(help="What the methods see: features or images.", show_default="what the method is made for"),
    ] = None
    weights: Annotated[
        list[str] | None,
        ImagesOption(
            metavar="PART=FILE",
            help="Weights of a part of the network, backbone for one: safetensors or a state dict; repeat it for more.",
        ),
    ] = None
    no_pretrained: Annotated[
        bool, ImagesOption("--no-pretrained", help="Random weights, also where a part has pretrained ones.")
    ] = False
    trials: Annotated[int, TuningOption(help="Settings to try.", min=1)] = 16
    grid: Annotated[bool, TuningOption("--grid", help="Try every combination; closed forms do anyway.")] = False
    metric: Annotated[str, TuningOption(help="What to choose by, a name or a title: ausuc, h or acc_uu.")] = "ausuc"
    folds: Annotated[int, TuningOption(help="Cuts of the seen classes to validate on; the mean counts.", min=1)] = 3
    search: Annotated[
        list[str] | None,
        TuningOption(
            metavar="KEY=SPACE",
            help="What to search: KEY=LOW:HIGH, KEY=LOW:HIGH:log or KEY=A,B,C, scale=l2,none too; repeat it for more.",
            show_default="the method's own",
        ),
    ] = None
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    jobs: Annotated[
        int | None,
        Option(
            "--jobs",
            "-j",
            help="Runs at a time, in processes of their own.",
            min=1,
            show_default="1, or what the engine has room for",
        ),
    ] = None
    engine: Annotated[
        str | None,
        Option(metavar="NAME[:KEY=VALUE,...]", help="`list engines`.", show_default="processes if --jobs, else inline"),
    ] = None
    stack: Annotated[
        str,
        Option(
            metavar="auto|N",
            help="Fits of one method to train as one: auto does so in searches where it is faster, N wherever it can, "
            "1 never.",
        ),
    ] = "auto"
    precision: Annotated[Literal["32", "bf16"], Option(help="Precision of training.")] = "32"
    store: StoreFolder = DEFAULT_STORE
    existing: Annotated[
        Literal["reuse", "rerun", "only-cached"], Option(help="What to do about runs that are stored already.")
    ] = "reuse"
    keep_model: Annotated[
        Literal["auto", "always", "never"],
        Option(envvar="ZSLBENCH_KEEP_MODEL", help="Keep final models, for `predict`: auto keeps those up to 64 MB."),
    ] = "auto"
    memory: Annotated[
        str | None,
        Option(
            envvar="ZSLBENCH_MEMORY",
            metavar="SIZE",
            help="What training features may take, 8GB; larger ones are read from disk, with the same results.",
            show_default="half of the memory of the machine or GPU",
        ),
    ] = None
    json: Json = False
    plain: Plain = False
    debug: Annotated[bool, Option("--debug", help="Show a traceback where something fails.")] = False

    @contextmanager
    def bench(self) -> Iterator[tuple[Bench, Display]]:
        """Gives the bench that the options describe, and what shows its progress."""
        with starting():
            from zslbench.bench import Bench
            from zslbench.report.progress import Display

        display = Display(plain=self.plain or self.json)
        settings = {name: getattr(self, name) for name in RUNNING if name != "existing"}
        with Bench(on_event=display, **settings) as bench:
            yield bench, display

    @property
    def pretrained(self) -> bool:
        """Whether parts have their pretrained weights."""
        return not self.no_pretrained

    def request(self) -> dict[str, Any]:
        """Returns the options that say what is asked of a bench, by the names that it has for them.

        Raises:
            UsageError: options contradict each other, or one is no pair.
        """
        from zslbench.api.params import read_pairs
        from zslbench.runs.request import Request

        weights = {}
        for pair in self.weights or []:
            part, separator, file = pair.partition("=")
            if not separator or not part:
                raise UsageError(f"--weights {pair}: give PART=FILE, backbone={pair} for instance")
            weights[part.strip()] = Path(file)
        values = {name: getattr(self, name) for name in Request.model_fields if hasattr(self, name)}
        values |= {"dataset": self.dataset, "params": read_pairs(self.param or [])}
        return values | {"weights": weights, "search": tuple(self.search or ())}


@dataclass(frozen=True)
class RunOptions(Options):
    """Those of commands that score methods, too."""

    seed: Annotated[int | None, Option(help="The one seed to run.", min=0)] = None
    seeds: Annotated[int | None, Option(help="Run seeds 0 to N-1.", min=1, metavar="N")] = None
    on: Annotated[
        Literal["test", "validation"],
        Option(help="`validation` scores classes cut from trainval and never touches a test image."),
    ] = "test"
    fold: Annotated[int, Option(help="Which cut into training and validation classes to use.", min=0)] = 0
    metrics: Metrics = None
    uncalibrated: Annotated[
        bool,
        Option("--uncalibrated", help="Skip the fit on validation classes that chooses gamma, and what needs it."),
    ] = False
    note: Annotated[str, Option(help="A note on the runs; runs that have one keep it.")] = ""
    tuned: Annotated[bool, TuningOption("--tuned", help="Use tuned values; tune first if there are none.")] = False
    oracle: Annotated[
        bool,
        TuningOption("--oracle", help="Show what choosing on test images would have gained; used for nothing else."),
    ] = False

    @property
    def calibrated(self) -> bool:
        """Whether gamma is chosen on validation classes."""
        return not self.uncalibrated

    def request(self, seeds: int = 3) -> dict[str, Any]:
        """Returns those of how to score methods too; `seeds` counts where no option does."""
        if self.seed is not None and self.seeds is not None:
            raise UsageError("--seed and --seeds: give one of them")
        chosen = (self.seed,) if self.seed is not None else self.seeds or seeds
        return {**super().request(), "seeds": chosen, "metrics": self.metrics, "note": self.note}

    def words(self) -> list[str]:
        """Returns the options that give the same figures again, as words of a command; defaults are left out."""
        words: list[str] = []
        for name, default in {field.name: field.default for field in fields(self)}.items():
            value = getattr(self, name)
            if value == default or name in (*IN_NO_FIGURE, *FORMATS) or (name in OF_TUNING and not self.tuned):
                continue
            if isinstance(value, bool):
                words.append(f"--{name.replace('_', '-')}")
            else:
                words += [
                    word
                    for one in (value if isinstance(value, list) else [value])
                    for word in (f"--{name.replace('_', '-')}", str(one))
                ]
        return words


def with_options(kind: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command that takes `options`, a dataclass of this kind, a command-line option for each field."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(kind).parameters
        every = {**inspect.signature(command).parameters, **shared}
        hints = get_type_hints(command, include_extras=True) | get_type_hints(kind, include_extras=True)
        del every["options"], hints["options"]

        def wrapper(**values: Any) -> None:
            options = kind(**{name: values.pop(name) for name in shared})
            command(**values, options=options)

        only = inspect.Parameter.KEYWORD_ONLY
        parameters = [parameter.replace(annotation=hints[name], kind=only) for name, parameter in every.items()]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = hints
        wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
        return wrapper

    return decorate
