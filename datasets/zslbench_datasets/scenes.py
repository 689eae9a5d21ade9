"""Draws scenes: one object of some shape, colour, texture and size somewhere before a background."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
HUES = {"red": 0.0, "orange": 28.0, "yellow": 54.0, "green": 125.0, "blue": 218.0, "purple": 285.0}
"""Hues in degrees."""
TEXTURES = ("plain", "striped", "dotted", "checked")
RADII = {"small": 0.155, "large": 0.24}
"""About half the height of an object, as a fraction of the image's side."""
HEIGHTS = {"top": 0.33, "centre": 0.5, "bottom": 0.67}
"""Where the centre of an object is; no attribute says left or right, so mirror images have the same attributes."""
BACKGROUNDS = {
    "white": (0.95, 0.95, 0.94),
    "sand": (0.87, 0.73, 0.52),
    "sky": (0.55, 0.83, 0.93),
    "night": (0.2, 0.2, 0.28),
}
"""Colours in [0, 1] RGB."""
SHADE = 0.22
"""How bright the dark parts of a texture are, compared with the colour of the object."""
PERIOD = 0.115
"""Period of textures, as a fraction of the image's side."""
SHADOW, SHADOW_WIDTH = 0.25, 0.05
"""How much darker the background is at the edge of the object, and how far from it, as a fraction of the side."""


@dataclass(frozen=True)
class Scene:
    """All that decides how an image looks; lengths are fractions of the image's side.

    Attributes:
        shape: one of `SHAPES`.
        texture: one of `TEXTURES`.
        colour: of the object, RGB in [0, 1].
        background: its colour, RGB in [0, 1].
        centre: of the object, from the left and from the top.
        radius: about half the height of the object.
        angle: by which the object is turned, in radians.
        period: of the texture.
        phase: of the texture, in periods.
        grain: angle of the texture, in radians.
        light: direction from which the scene is lit, in radians.
        gradient: by how much the background is brighter on that side than on the other, as a fraction.
    """

    shape: str
    texture: str
    colour: tuple[float, float, float]
    background: tuple[float, float, float]
    centre: tuple[float, float]
    radius: float
    angle: float
    period: float
    phase: tuple[float, float]
    grain: float
    light: float
    gradient: float

    @classmethod
    def sample(
        cls,
        random: np.random.Generator,
        shape: str,
        colour: str,
        texture: str,
        size: str,
        position: str,
        background: str,
    ) -> Scene:
        """Draws a scene with these attributes; all else varies."""

        def around(middle: float, spread: float) -> float:
            return middle + spread * random.uniform(-1, 1)

        hue, saturation, value = around(HUES[colour], 7) / 360, around(0.84, 0.09), around(0.86, 0.08)
        red, green, blue = BACKGROUNDS[background]
        bright = around(1, 0.05)
        return cls(
            shape=shape,
            texture=texture,
            colour=colorsys.hsv_to_rgb(hue % 1, saturation, value),
            background=(bright * red, bright * green, bright * blue),
            centre=(around(0.5, 0.13), around(HEIGHTS[position], 0.025)),
            radius=around(RADII[size], 0.1 * RADII[size]),
            angle=around(0, np.pi / 12),
            period=around(PERIOD, 0.12 * PERIOD),
            phase=(random.uniform(), random.uniform()),
            grain=around(np.pi / 4 if texture == "striped" else 0, np.pi / 8),
            light=random.uniform(0, 2 * np.pi),
            gradient=random.uniform(0.04, 0.14),
        )


def draw(scene: Scene, size: int) -> NDArray[np.uint8]:
    """Draws a scene, `(size, size, 3)` RGB; edges are smoothed over one pixel, so that all sizes show the same."""
    pixel = 1 / size
    steps = (np.arange(size) + 0.5) * pixel
    x, y = np.meshgrid(steps, steps)
    right, down = x - scene.centre[0], y - scene.centre[1]
    across, along = _turned(right, down, scene.angle)
    distance = scene.radius * DISTANCES[scene.shape](across / scene.radius, along / scene.radius)
    light = 1 + scene.gradient * _turned(x - 0.5, y - 0.5, scene.light)[0]
    shadow = 1 - SHADOW * np.clip(1 - distance / SHADOW_WIDTH, 0, 1)
    dark = DARK[scene.texture](*_turned(right, down, scene.grain), scene, pixel)
    background = (light * shadow)[:, :, None] * scene.background
    inside = (1 - (1 - SHADE) * dark)[:, :, None] * scene.colour
    covered = _covered(distance, pixel)[:, :, None]
    image = np.clip(covered * inside + (1 - covered) * background, 0, 1)
    return np.rint(255 * image).astype(np.uint8)


def _turned(x: Array, y: Array, angle: float) -> tuple[Array, Array]:
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _covered(distance: Array, pixel: float) -> Array:
    """Returns how much of each pixel lies within an edge, given its signed distance from it (negative inside)."""
    covered: Array = np.clip(0.5 - distance / pixel, 0, 1)
    return covered


def _cross(x: Array, y: Array) -> Array:
    longer, shorter = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    distance: Array = np.maximum(longer - 1, shorter - 0.36)
    return distance


def _triangle(x: Array, y: Array) -> Array:
    """Three equal sides, its centre of mass a little below the centre, so that top and bottom are as far from it."""
    y = y - 0.22
    distance: Array = np.maximum(y, np.abs(x) * np.sqrt(3) / 2 - y / 2) - 0.58
    return distance


def _star(x: Array, y: Array) -> Array:
    """Five points, the first upwards: the plane is folded ten times, so that there is one edge."""
    fifth, inner, outer = 2 * np.pi / 5, 0.54, 1.1
    angle = np.abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)  # 0 at a tip, pi / 5 between two
    radius = np.hypot(x, y)
    along, across = inner * np.cos(np.pi / 5) - outer, inner * np.sin(np.pi / 5)  # the edge, from the tip inwards
    distance: Array = (across * (radius * np.cos(angle) - outer) - along * radius * np.sin(angle)) / np.hypot(
        along, across
    )
    return distance


def _dots(x: Array, y: Array, scene: Scene, pixel: float) -> Array:
    across, along = ((part / scene.period + phase) % 1 - 0.5 for part, phase in zip((x, y), scene.phase, strict=True))
    return _covered((np.hypot(across, along) - 0.3) * scene.period, pixel)


def _checks(x: Array, y: Array, scene: Scene, pixel: float) -> Array:
    across, along = (
        _bands(part, phase, 1.3 * scene.period, pixel) for part, phase in zip((x, y), scene.phase, strict=True)
    )
    return across + along - 2 * across * along


def _bands(x: Array, phase: float, period: float, pixel: float) -> Array:
    """Returns how much of each pixel lies in bands of half a period's width."""
    return _covered((np.abs((x / period + phase) % 1 - 0.5) - 0.25) * period, pixel)


DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.95,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.82,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.73) - 0.27,
}
"""Signed distance of a point from the edge of each shape, in units of its radius; negative inside."""

DARK: dict[str, Callable[[Array, Array, Scene, float], Array]] = {
    "plain": lambda x, y, scene, pixel: np.zeros_like(x),
    "striped": lambda x, y, scene, pixel: _bands(x, scene.phase[0], scene.period, pixel),
    "dotted": _dots,
    "checked": _checks,
}
"""How much of each pixel is dark."""
