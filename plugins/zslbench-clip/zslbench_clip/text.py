"""`clip:NAME` as a text encoder: the text side of a model of open_clip."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from zslbench import DataError, Family, TextEncoder, weights_fingerprint
from zslbench_clip.models import known_names, load_model, meaning, tokenizer


class CLIPTextEncoder(Family, TextEncoder):
    """Texts in the space of the image features, of unit length; a mean over templates is that of CLIP's authors.

    Radford et al., ICML 2021, Section 3.1.4, average unit-length embeddings of a class over its templates; whoever
    compares by the cosine, as `clip` does, need not normalise the mean. What goes beyond the model's context of a text
    (77 tokens for CLIP) is not read. It runs on the CPU, a text at a time, so that a file of class embeddings comes out
    the same whatever the machine has.
    """

    template: ClassVar[str] = "a photo of a {}"

    def __init__(self, name: str) -> None:
        try:
            self.model, self.tokenize = load_model(name), tokenizer(name)
        except DataError:
            raise
        except Exception as error:  # a download fails in as many ways as there are libraries below open_clip
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DataError(
                f"text encoder clip:{name}: its weights or its tokenizer cannot be had ({reason}); name a local file, "
                "clip:MODEL/FILE, or a folder, clip:FOLDER"
            ) from error
        self.fingerprint = weights_fingerprint(self.model)

    @classmethod
    def names(cls) -> Collection[str]:
        """Returns `MODEL/PRETRAINED` for all that open_clip knows, and its models."""
        return known_names()

    @classmethod
    def wrong(cls, name: str) -> str:
        """Knows files and folders too."""
        meant = meaning(name)
        return meant if isinstance(meant, str) else ""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns `(N, D)` float32 rows of unit length."""
        with torch.inference_mode():
            rows = [self.model.encode_text(self.tokenize([text]), normalize=True) for text in texts]
        vectors: NDArray[np.float32] = torch.cat(rows).float().numpy()
        return vectors
