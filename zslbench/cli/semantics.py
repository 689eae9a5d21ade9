"""`zslbench data semantics`: other class embeddings for a data set, from word vectors or texts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from zslbench.cli.data import DEFAULT_SPLITS, Name
from zslbench.cli.options import DataRoot, Splits
from zslbench.data.folders import data_root as folder
from zslbench.errors import UsageError
from zslbench.files import existing


def semantics(
    name: Name,
    source: Annotated[
        Path,
        Option(
            "--from",
            metavar="FILE",
            help="Word vectors (GloVe or word2vec text format), or a .csv with the columns class and text.",
        ),
    ],
    encoder: Annotated[
        str | None, Option(help="Text encoder for a .csv of texts.", show_default="the only one installed")
    ] = None,
    words: Annotated[
        list[str] | None,
        Option(metavar="'CLASS=WORDS'", help="Words to look up in place of a class name; again for more."),
    ] = None,
    out: Annotated[Path | None, Option(metavar="FILE", help="Where to write.", show_default="NAME-SOURCE.csv")] = None,
    splits: Splits = DEFAULT_SPLITS,
    data_root: DataRoot = None,
) -> None:
    """Make class embeddings from word vectors or texts, in a file that --semantics reads."""
    from zslbench.data.catalogue import find_dataset
    from zslbench.preparation.semantics import choose_text_encoder, embed, load_text_encoder, read_texts, write
    from zslbench.preparation.word_vectors import from_word_vectors

    texts = source.suffix.lower() == ".csv"
    if encoder and not texts:
        raise UsageError(f"--encoder {encoder}: {source} is no .csv of texts, and word vectors need no encoder")
    if words and texts:
        raise UsageError("--words says what to look up among word vectors; change the texts themselves")
    pairs = _pairs(words or [])
    source = existing("--from", source)
    data = find_dataset(name).load_labels(folder(data_root), splits)
    names, parts = data.class_names, [data.name.lower().replace(" ", "-"), source.stem]
    if texts:
        chosen, about = choose_text_encoder(encoder), read_texts(source, names)
        rows = embed(about, load_text_encoder(chosen), chosen)
        origin, found = f"{source.name} by {chosen}", f"texts embedded by {chosen}"
        parts.append(chosen)
    else:
        vectors = from_word_vectors(source, names, pairs)
        rows, whole = vectors.rows, len(vectors.whole)
        origin, found = source.name, f"{whole} names have an entry, {len(names) - whole} are means over words"
    target = out or Path("-".join(parts) + ".csv")
    state = "written" if write(target, names, rows, origin) else "there already, the same"
    typer.echo(f"{target}: {len(names)} classes, {rows.shape[1]} values each; {found} ({state})")
    typer.echo(f"use it: {shlex.join(['zslbench', 'run', 'eszsl', '--dataset', name, '--semantics', str(target)])}")


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for text in words:
        name, separator, given = text.partition("=")
        if not separator or not given.strip():
            raise UsageError(f"--words {text!r} is not CLASS=WORDS")
        pairs[name.strip()] = given.strip()
    return pairs
