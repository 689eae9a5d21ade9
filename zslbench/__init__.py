"""zslbench: an honest, plugin-based benchmark for zero-shot learning.

    import zslbench
    results = zslbench.compare(["spaen", "devise", "sae"], dataset="digits", seeds=3)

This module also has every name that a plugin needs, imported on first use:

    from zslbench import Embedder, GradientParams, param
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zslbench.api.backbone import Backbone as Backbone
    from zslbench.api.backbone import load_weights as load_weights
    from zslbench.api.backbone import weights_fingerprint as weights_fingerprint
    from zslbench.api.cards import BackboneCard as BackboneCard
    from zslbench.api.cards import DatasetCard as DatasetCard
    from zslbench.api.cards import DatasetSizes as DatasetSizes
    from zslbench.api.cards import EngineCard as EngineCard
    from zslbench.api.cards import EvaluatorCard as EvaluatorCard
    from zslbench.api.cards import Exhibit as Exhibit
    from zslbench.api.cards import LayoutCard as LayoutCard
    from zslbench.api.cards import MethodCard as MethodCard
    from zslbench.api.cards import Preset as Preset
    from zslbench.api.cards import TextEncoderCard as TextEncoderCard
    from zslbench.api.cards import Variant as Variant
    from zslbench.api.dataset import Dataset as Dataset
    from zslbench.api.dataset import Split as Split
    from zslbench.api.dataset import ZSLData as ZSLData
    from zslbench.api.embedder import Batch as Batch
    from zslbench.api.embedder import Embedder as Embedder
    from zslbench.api.embedder import GradientParams as GradientParams
    from zslbench.api.embedder import ImageParams as ImageParams
    from zslbench.api.embedder import Objective as Objective
    from zslbench.api.embedder import Stage as Stage
    from zslbench.api.engine import Engine as Engine
    from zslbench.api.engine import Listener as Listener
    from zslbench.api.evaluator import Decisions as Decisions
    from zslbench.api.evaluator import Evaluator as Evaluator
    from zslbench.api.evaluator import Scorer as Scorer
    from zslbench.api.events import Event as Event
    from zslbench.api.family import Family as Family
    from zslbench.api.images import Images as Images
    from zslbench.api.images import Pixels as Pixels
    from zslbench.api.images import UnreadableImage as UnreadableImage
    from zslbench.api.layout import ArrayFile as ArrayFile
    from zslbench.api.layout import Choices as Choices
    from zslbench.api.layout import Found as Found
    from zslbench.api.layout import Layout as Layout
    from zslbench.api.losses import gradient_penalty as gradient_penalty
    from zslbench.api.metric import Metric as Metric
    from zslbench.api.params import Params as Params
    from zslbench.api.params import param as param
    from zslbench.api.progress import Progress as Progress
    from zslbench.api.text_encoder import TextEncoder as TextEncoder
    from zslbench.api.views import ClassSet as ClassSet
    from zslbench.api.views import Cut as Cut
    from zslbench.api.views import ProblemShape as ProblemShape
    from zslbench.api.views import TestView as TestView
    from zslbench.api.views import TrainView as TrainView
    from zslbench.bench import Bench as Bench
    from zslbench.data.imagefiles import FileImages as FileImages
    from zslbench.data.xlsa17 import XLSA17Dataset as XLSA17Dataset
    from zslbench.discovery.registry import Registry as Registry
    from zslbench.errors import DataError as DataError
    from zslbench.errors import Hint as Hint
    from zslbench.errors import NotApplicable as NotApplicable
    from zslbench.errors import near_misses as near_misses
    from zslbench.functions import compare as compare
    from zslbench.functions import evaluate as evaluate
    from zslbench.functions import load as load
    from zslbench.functions import load_model as load_model
    from zslbench.functions import run as run
    from zslbench.functions import tune as tune
    from zslbench.preparation.hub import check_kept as check_kept
    from zslbench.preparation.hub import reaching_hub as reaching_hub
    from zslbench.records.record import RunRecord as RunRecord
    from zslbench.records.search import Search as Search
    from zslbench.records.spec import RunSpec as RunSpec
    from zslbench.report.results import Result as Result
    from zslbench.report.results import Results as Results
    from zslbench.report.stored import stored as stored
    from zslbench.runs.member import Member as Member
    from zslbench.runs.model import TrainedModel as TrainedModel

_HOME = {
    "api.backbone": ["Backbone", "load_weights", "weights_fingerprint"],
    "api.dataset": ["Dataset", "Split", "ZSLData"],
    "api.embedder": ["Batch", "Embedder", "GradientParams", "ImageParams", "Objective", "Stage"],
    "api.evaluator": ["Decisions", "Evaluator", "Scorer"],
    "api.metric": ["Metric"],
    "api.engine": ["Engine", "Listener"],
    "api.events": ["Event"],
    "api.family": ["Family"],
    "api.images": ["Images", "Pixels", "UnreadableImage"],
    "api.layout": ["ArrayFile", "Choices", "Found", "Layout"],
    "api.losses": ["gradient_penalty"],
    "api.text_encoder": ["TextEncoder"],
    "api.views": ["ClassSet", "Cut", "ProblemShape", "TestView", "TrainView"],
    "api.cards": [
        "BackboneCard",
        "DatasetCard",
        "DatasetSizes",
        "EngineCard",
        "EvaluatorCard",
        "Exhibit",
        "LayoutCard",
        "MethodCard",
        "Preset",
        "TextEncoderCard",
        "Variant",
    ],
    "bench": ["Bench"],
    "functions": ["compare", "evaluate", "load", "load_model", "run", "tune"],
    "data.imagefiles": ["FileImages"],
    "data.xlsa17": ["XLSA17Dataset"],
    "errors": ["DataError", "Hint", "NotApplicable", "near_misses"],
    "api.params": ["Params", "param"],
    "api.progress": ["Progress"],
    "preparation.hub": ["check_kept", "reaching_hub"],
    "records.record": ["RunRecord"],
    "records.search": ["Search"],
    "discovery.registry": ["Registry"],
    "report.results": ["Result", "Results"],
    "report.stored": ["stored"],
    "records.spec": ["RunSpec"],
    "runs.member": ["Member"],
    "runs.model": ["TrainedModel"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = ["__version__", *_MODULE]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'zslbench' has no attribute {name!r}")
    return getattr(import_module(f"zslbench.{_MODULE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
