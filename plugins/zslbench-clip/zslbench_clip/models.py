"""Which model of open_clip a name means, and the model with its weights."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg

from zslbench import DataError, Hint, check_kept, load_weights, near_misses, reaching_hub

CONFIGURATION = "open_clip_config.json"
"""What stands beside the weights in a folder that open_clip's `push_to_hf_hub` or `save_for_hf` wrote."""
HUB, FOLDER = "hf-hub:", "local-dir:"
"""How open_clip says that a model is a repository or a folder."""
KEPT = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Files of weights in repositories whose names do not say which."""
PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")


@dataclass(frozen=True)
class Meant:
    """What a name means.

    Attributes:
        model: as open_clip calls it, `ViT-B-32` or `local-dir:/models/mine`.
        tag: the name of its pretrained weights, or an empty string.
        file: weights instead.
    """

    model: str
    tag: str = ""
    file: Path | None = None


@cache
def known_names() -> list[str]:
    """Returns `MODEL/PRETRAINED` for all weights that open_clip knows, and the models alone."""
    return [f"{model}/{tag}" for model, tag in open_clip.list_pretrained()] + open_clip.list_models()


def meaning(name: str) -> Meant | str:
    """Returns what a name means, or what is wrong with it.

    Args:
        name: `MODEL/PRETRAINED` as open_clip calls them; `MODEL/FILE` with a file of weights; `MODEL` alone, which has
            no weights yet; `hf-hub:OWNER/REPOSITORY`; or a folder with `open_clip_config.json` and weights.
    """
    if name.startswith(HUB) and name.removeprefix(HUB).count("/") == 1:
        return Meant(name)
    model, _, rest = name.partition("/")
    if model in open_clip.list_models():
        if not rest or get_pretrained_cfg(model, rest):
            return Meant(model, rest)
        if (file := Path(rest).expanduser()).is_file():
            return Meant(model, file=file)
        tags = open_clip.list_pretrained_tags_by_model(model)
        return f"model {model} has no weights {rest!r}, and there is no such file{near_misses(rest, tags)}"
    path = Path(name).expanduser()
    if name and path.is_dir():
        if (path / CONFIGURATION).is_file():
            return Meant(f"{FOLDER}{path}")
        return f"the folder has no {CONFIGURATION}, which says what model it is"
    near = near_misses(name, known_names(), listed=False)
    return f"there is no such model and no such folder{near or '; open_clip.list_pretrained() has all names'}"


def own_files(name: str) -> list[Path]:
    """Returns the files of one's own that a name means: of weights, and what says how the model is made."""
    meant = meaning(name)
    if isinstance(meant, str) or not (meant.file or meant.model.startswith(FOLDER)):
        return []
    folder = Path(meant.model.removeprefix(FOLDER))
    return [meant.file] if meant.file else [folder / CONFIGURATION, _weights_in(folder)]


def load_model(name: str, weights: Path | None = None, pretrained: bool = True) -> Any:
    """Returns a model of open_clip in evaluation mode, with its preprocessing in `visual.preprocess_cfg`.

    Args:
        name: as for `meaning`.
        weights: a file instead of the weights that the name says.
        pretrained: without it and without a file, weights are drawn at random.

    Raises:
        DataError: the name says no weights, or a file is damaged or of another model.
        Exception: pretrained weights cannot be downloaded, in as many ways as there are libraries below open_clip.
    """
    meant = meaning(name)
    assert isinstance(meant, Meant), meant  # whoever resolves names has asked `wrong`
    file = weights or (meant.file if pretrained else None)
    if pretrained and file is None and not meant.tag and not meant.model.startswith((HUB, FOLDER)):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(meant.model)) or "none"
        raise DataError(f"clip:{name}: say which weights, clip:{meant.model}/PRETRAINED; open_clip knows {tags}")
    fetched = pretrained and file is None
    if fetched and meant.model.startswith(FOLDER):
        file, fetched = _weights_in(Path(meant.model.removeprefix(FOLDER))), False
    cfg = get_pretrained_cfg(meant.model, meant.tag) if meant.tag else {}
    prepared = _preprocessing(meant, cfg)
    with _quiet(), reaching_hub() if fetched or meant.model.startswith(HUB) else nullcontext():
        model: Any = open_clip.create_model(
            meant.model,
            meant.tag if fetched and meant.tag else None,
            load_weights=fetched,
            force_quick_gelu=bool(cfg.get("quick_gelu")),  # weights that were trained with it need it
            force_preprocess_cfg=prepared,
            pretrained_text=False,
            require_pretrained=fetched,
        )
    if file is not None:
        load_weights(model, file)
    repository, _, own = cfg.get("hf_hub", "").rpartition("/")
    if fetched and (repository := repository or meant.model.removeprefix(HUB)).count("/") == 1:
        check_kept(repository, *KEPT, *([own] if own else []))
    return model.eval().requires_grad_(False)


def preprocessing(model: Any) -> PreprocessCfg:
    """Returns how images are prepared for a model: size, mean, deviation, interpolation, what resizing keeps."""
    return PreprocessCfg(**model.visual.preprocess_cfg)


def tokenizer(name: str) -> Any:
    """Returns the tokenizer of a model."""
    meant = meaning(name)
    assert isinstance(meant, Meant), meant
    with _quiet(), reaching_hub() if meant.model.startswith(HUB) else nullcontext():
        return open_clip.get_tokenizer(meant.model)


def _preprocessing(meant: Meant, cfg: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the preprocessing of a tag; without one, that on which all tags of a model agree.

    Raises:
        DataError: they disagree.
    """
    if meant.model.startswith((HUB, FOLDER)):
        return None  # its configuration says it
    if cfg:
        return {name: cfg[name] for name in PREPROCESSING if cfg.get(name)}
    tags = open_clip.list_pretrained_tags_by_model(meant.model)
    found = [get_pretrained_cfg(meant.model, tag) for tag in tags]
    ways = {json.dumps({name: one[name] for name in PREPROCESSING if one.get(name)}) for one in found}
    if meant.file is not None and len(ways) > 1:
        raise DataError(
            f"clip:{meant.model}/{meant.file}: images are prepared in {len(ways)} ways for weights of this model; name "
            f"weights that are alike, clip:{meant.model}/PRETRAINED, and give the file by --weights, or make a folder "
            f"with {CONFIGURATION}"
        )
    if meant.file is not None and any(one.get("quick_gelu") for one in found) and "quickgelu" not in meant.model:
        warnings.warn(
            f"clip:{meant.model}/{meant.file}: taken as trained with GELU; for QuickGELU, as OpenAI's weights, name "
            f"the model {meant.model}-quickgelu",
            Hint,
            stacklevel=2,
        )
    return dict(json.loads(ways.pop())) if len(ways) == 1 else None


def _weights_in(folder: Path) -> Path:
    """Returns the file of weights in a folder; raises a DataError unless there is one, or one of the usual name."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".pt", ".pth"))
    usual = [path for path in files if path.name == "open_clip_model.safetensors"] or files
    if len(usual) != 1:
        found = f"it has {', '.join(path.name for path in files)}" if files else "it has none"
        raise DataError(f"{folder}: one file of weights is needed beside {CONFIGURATION}; {found}")
    return usual[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps open_clip, which speaks through the root logger, silent, and the root logger as it was."""
    root, disabled = logging.getLogger(), logging.root.manager.disable
    handlers = list(root.handlers)
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for handler in [one for one in root.handlers if one not in handlers]:
            root.removeHandler(handler)
