"""The text encoder interface: from texts that describe classes to class embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class TextEncoder(ABC):
    """Turns texts into vectors. Third parties subclass it and register the class. It is created without arguments.

    One that also is a `Family` is created with its name.

    Attributes:
        template: the text in which the name of a class stands for `{}`, where there is nothing but names.
        fingerprint: a hash of its weights, if there may be others under the same name.
    """

    template: ClassVar[str] = "{}"
    fingerprint: str = ""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns a vector for each text, `(N, d)` float32.

        A row depends only on its own text, and is the same each time.
        """
