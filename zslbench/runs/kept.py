"""Kept models: the result of training with everything needed to use it, in one file beside the record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zslbench.api.embedder import Embedder
from zslbench.api.views import ClassSet, ProblemShape
from zslbench.data.scaling import Scaler, SemanticsScaler
from zslbench.errors import DataError
from zslbench.runs.fit import Model

KeepModel = Literal["auto", "always", "never"]
LIMIT = 64 * 2**20
"""Bytes that a model may have to be kept where nobody says otherwise."""
FORMAT = 1
"""Raised when the file means something else."""


@dataclass(frozen=True)
class Kept:
    """What the file holds.

    Attributes:
        state: parameters and buffers of the embedder, by name.
        shape: the sizes that the embedder was built for.
        classes: the classes of the data set, seen first, with their embeddings as the data set has them.
        attributes: what the dimensions of these are called; empty where nobody says.
        scale, semantics: of features and class embeddings, as fitted on the training part.
    """

    state: Mapping[str, Tensor]
    shape: ProblemShape
    classes: ClassSet
    attributes: tuple[str, ...]
    scale: Scaler
    semantics: SemanticsScaler

    @classmethod
    def of(cls, model: Model, attributes: tuple[str, ...] = ()) -> Kept:
        """Returns what is to be kept of a trained model, whose data has attributes of these names."""
        state, problem = state_of(model.embedder), model.problem
        return cls(state, problem.train.shape, problem.test.classes, attributes, problem.scale, problem.semantics)

    @property
    def size(self) -> int:
        """Bytes of its tensors."""
        return sum(t.numel() * t.element_size() for t in self._tensors().values())

    def packed(self) -> bytes:
        """Returns the file: safetensors, from which nothing is ever unpickled."""
        described = {
            "format": FORMAT,
            "shape": vars(self.shape),
            "classes": list(self.classes.names),
            "attributes": list(self.attributes),
            "scale": self.scale.kind,
            "semantics": self.semantics.kind,
        }
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self._tensors().items()}
        return bytes(safetensors.torch.save(tensors, {"zslbench": json.dumps(described)}))

    @classmethod
    def unpacked(cls, content: bytes, where: object) -> Kept:
        """Reads a file; `where` it is, for messages.

        Raises:
            DataError: it is of another format.
        """
        try:
            tensors, head = safetensors.torch.load(content), int.from_bytes(content[:8], "little")
            described = json.loads(json.loads(content[8 : 8 + head])["__metadata__"]["zslbench"])
        except (safetensors.SafetensorError, ValueError, KeyError) as error:
            raise DataError(f"{where}: it is no kept model; run it again with --existing rerun") from error
        if described["format"] != FORMAT:
            raise DataError(
                f"{where}: its format is {described['format']}, and this version reads {FORMAT}; "
                "run it again with --existing rerun"
            )
        of = {part: {n.partition("/")[2]: t for n, t in tensors.items() if n.startswith(f"{part}/")} for part in PARTS}
        classes = ClassSet(of["classes"]["semantics"], tuple(described["classes"]), of["classes"]["seen"])
        return cls(
            of["state"],
            ProblemShape(**described["shape"] | {"names": tuple(described["shape"]["names"])}),
            classes,
            tuple(described["attributes"]),
            Scaler(described["scale"], **of["scale"]),
            SemanticsScaler(described["semantics"], **of["semantics"]),
        )

    def _tensors(self) -> dict[str, Tensor]:
        parts: dict[str, Mapping[str, Tensor]] = {
            "state": self.state,
            "classes": {"semantics": self.classes.semantics, "seen": self.classes.seen},
            "scale": {"shift": self.scale.shift, "divisor": self.scale.divisor},
            "semantics": {"mean": self.semantics.mean, "axes": self.semantics.axes},
        }
        return {f"{part}/{n}": t for part, own in parts.items() for n, t in own.items()}


PARTS = ("state", "classes", "scale", "semantics")


def state_of(embedder: Embedder[Any]) -> dict[str, Tensor]:
    """Returns all that a model is made of: parameters, and buffers, persistent or not."""
    return {**dict(embedder.named_parameters()), **dict(embedder.named_buffers())}


def put_state(embedder: Embedder[Any], state: Mapping[str, Tensor]) -> None:
    """Gives a model that was built, and not trained, the state of one that was.

    Raises:
        ValueError: a name or a shape of a parameter does not fit; which it is.
    """
    if lost := sorted(state_of(embedder).keys() - state.keys()):
        raise ValueError(f"it has no {lost[0]!r}")
    for name, value in state.items():
        owner, _, leaf = name.rpartition(".")
        try:
            module = embedder.get_submodule(owner)
        except AttributeError:
            raise ValueError(f"the method has no {name!r}") from None
        if leaf in module._parameters:
            own = module._parameters[leaf]
            if own is not None and own.shape != value.shape:
                raise ValueError(f"{name!r} has shape {tuple(value.shape)}, and the method {tuple(own.shape)}")
            module._parameters[leaf] = nn.Parameter(value, requires_grad=False)
        elif leaf in module._buffers:
            module._buffers[leaf] = value
        else:
            raise ValueError(f"the method has no {name!r}")


def restored(make: Callable[[], Embedder[Any]], kept: Kept) -> Embedder[Any]:
    """Returns the model itself, ready to be asked; `make` makes it with its hyper-parameters.

    Raises:
        ValueError: the method as it is now is built otherwise.
    """
    with torch.random.fork_rng(devices=[]):
        embedder = make()
        embedder.pretrained = False  # what is pretrained is in the file
        embedder.build(kept.shape)
    put_state(embedder, kept.state)
    return embedder.eval()
