"""The text encoder interface: from texts that describe classes to class embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class TextEncoder(ABC):
    """Turns texts into vectors. Third parties subclass it and register the class. It is created without arguments."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns a vector for each text, `(N, d)` float32.

        A row depends only on its own text, and is the same each time.
        """
