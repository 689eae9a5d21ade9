"""From what is asked for to entrants: names, parameters and files are resolved, and what is wrong is found here."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from zslbench.api.cards import SCALINGS, Input
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.embedder import Embedder, ImageParams
from zslbench.data.catalogue import load_data
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.errors import PluginError, RunError, UsageError, near_misses
from zslbench.preparation.backbones import check_weights, find_backbone
from zslbench.records.spec import RunSpec
from zslbench.runs.code import check_code
from zslbench.runs.entrant import Entrant, Run
from zslbench.runs.member import settled, whole_code
from zslbench.runs.request import Asked, DatasetLike, MethodLike, Request, name_of
from zslbench.runs.requested import data_of
from zslbench.runs.scaling import misdeclared, own_scaling
from zslbench.runs.shots import Shots
from zslbench.runs.weights import BACKBONE, digests


def resolve(methods: Sequence[MethodLike | Asked], datasets: Sequence[DatasetLike], request: Request) -> list[Entrant]:
    """Returns each method on each data set with each kind of class embeddings and each number of shots, in this order.

    A wrong name, parameter or file is found here.
    """
    every = [method if isinstance(method, Asked) else Asked.of(method) for method in methods]
    asked = list({own.label: own for own in (method.for_input(request.input) for method in every)}.values())
    for method in asked:  # mistyped names are found before data is read
        _check_names(method, request)
    option = "--weights" if request.weights else "" if request.pretrained else "--no-pretrained"
    if option and all(method_class(method.method).input == "features" for method in asked):
        raise UsageError(f"{option}: no network here has weights of its own; it is for methods on images")
    sources = {source if isinstance(source, str) else id(source): source for source in datasets}.values()
    names = [source.name for source in sources if isinstance(source, ZSLData)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two data sets are called {twice[0]!r}; give each a name of its own")
    entrants = [
        _entrant(method, source, request, semantics, shots)
        for source, semantics, method, shots in itertools.product(sources, request.semantics, asked, request.shots)
    ]
    if len(request.semantics) == 1:
        return entrants
    stems = {one: Path(one).stem for one in request.semantics}
    called = stems if len(set(stems.values())) == len(stems) else {one: one for one in stems}
    return [replace(one, distinction=f"[semantics={called[one.semantics]}]") for one in entrants]


def method_class(name: str) -> type[Embedder[Any]]:
    """Returns the class of a registered method."""
    return cast(type[Embedder[Any]], registry().resolve("method", name, Embedder))


def check_options(names: Iterable[str], methods: list[MethodLike], input: Input | None, options: list[str]) -> None:
    """Checks that each name is a hyper-parameter of every method; it may be a misspelt option."""
    for name, method in itertools.product(names, methods):
        asked = Asked.of(method).for_input(input)
        params = method_class(asked.method).params_type.model_fields
        if name not in params:
            hint = near_misses(name, [*params, *options])
            raise UsageError(f"{name!r} is no option, and method {asked.method!r} has no such parameter{hint}")


def _check_names(asked: Asked, request: Request) -> None:
    card, method = registry().entry("method", asked.method).card, method_class(asked.method)
    if preset := asked.preset or request.preset:
        card.preset(preset)
    for parameter in {**request.params, **asked.given}:
        if parameter not in method.params_type.model_fields:
            method.params_type.parse({parameter: ""}, f"method {asked.method!r}")


def _entrant(
    asked: Asked,
    source: DatasetLike,
    request: Request,
    semantics: str,
    shots: Shots,
    data: ZSLData | None = None,
) -> Entrant:
    """Reads the data, and puts hyper-parameters together; later ones win: preset, the request's, the method's own."""
    entry = registry().entry("method", asked.method)
    method, owner = method_class(entry.name), f"method {entry.name!r}"
    if wrong := misdeclared(method):
        raise PluginError(f"{owner}: {wrong}")
    data, name = data_of(source, request, method.input, semantics) if data is None else (data, name_of(source))
    preset, given = asked.preset or request.preset or "", {**request.params, **asked.given}
    values, scaling = _preset(entry, method, preset, data)
    scaling |= {name: getattr(request, name) for name in SCALINGS if getattr(request, name) is not None}
    params = settled(method.params_type.parse({**values, **given}, owner))
    weights = digests(method, owner, request.weights, params)
    if isinstance(params, ImageParams):  # what is wrong with a name or a file is found before anything runs
        find_backbone(params.backbone)
        if BACKBONE in request.weights:
            check_weights(params.backbone, request.weights[BACKBONE], weights[BACKBONE])
    parsed = params.model_dump(mode="json")
    return Entrant(
        asked=asked,
        request=request,
        source=name,
        data=data,
        entry=entry,
        method=method,
        preset=preset,
        given=given,
        fixed={**scaling, **{parameter: parsed[parameter] for parameter in {**values, **given}}},
        params=params,
        scaling=own_scaling(method)._replace(**scaling),
        weights=weights,
        semantics=semantics,
        shots=shots,
        named=entry.given is None and not isinstance(source, Dataset | ZSLData),
    )


def _preset(
    entry: Entry, method: type[Embedder[Any]], name: str, data: ZSLData
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the values of a preset for a data set, and what it says of scaling."""
    if not name:
        return {}, {}
    what = f"preset {name!r} of method {entry.name!r}"
    try:
        values, scaling = entry.card.preset(name).resolve(data.name.lower(), data.features_name)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
    try:
        method.params_type.parse(values, "")
    except UsageError as error:
        raise PluginError(f"{what} is wrong ({error})") from None
    for option, value in scaling.items():
        if value not in SCALINGS[option]:
            raise PluginError(f"{what} is wrong ({option} is {value!r}; choose {', '.join(SCALINGS[option])})")
    return values, scaling


def received(text: str, data: ZSLData | None = None) -> Run:
    """Returns the run that another process sent, if code, data and files of weights are what they were there.

    `data` are those of its data set, where they were sent, too.
    """
    values = json.loads(text)
    planned, request = RunSpec.model_validate(values["spec"]), Request.model_validate(values["request"])
    asked = Asked.of(values["method"])._replace(preset=values["preset"], given=values["given"])
    which = values["semantics"], planned.shots
    entrant = _entrant(asked, values["source"], request, *which, data)
    check_code(whole_code(entrant.entry, entrant.method, entrant.params), values["code"])
    if data is None and entrant.data.fingerprint != planned.fingerprint:  # this process may have loaded it long ago
        load_data.cache_clear()
        entrant = _entrant(asked, values["source"], request, *which)
    chosen = {**planned.scaling._asdict(), **planned.params}
    run = entrant.run(planned.seed, planned.on, planned.fold, params=chosen, origin=values["origin"])
    run = run.stopping(planned.stop_on, planned.stop_after, planned.stop_below)
    now, then = run.spec.model_dump(), planned.model_dump()
    if changed := [name for name in then if now[name] != then[name]]:
        what = {"fingerprint": f"data set {planned.dataset}", "weights": "a file of weights"}
        thing = what.get(changed[0], values["method"])
        raise RunError(f"{thing} changed between planning and running; issue the command again")
    return replace(run, calibrated=values["calibrated"])
