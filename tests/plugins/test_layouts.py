"""A plugin adds a layout of files, which `data import` then tells by its content."""

from __future__ import annotations

import numpy as np
from laidout import Toy, python_hdf5
from outside import command, distribution

SOURCE = '''
    from zslbench import Choices, DataError, Found, Layout, LayoutCard


    class Backwards(Layout):
        """Features `xb` of the images in reverse order, and their labels `yb`."""

        def recognises(self, files, choices):
            return len(files) == 1 and {"xb", "yb"} <= files[0].shapes.keys()

        def read(self, files, choices):
            [file] = files
            if len(file.shapes["xb"]) != 2:
                raise DataError(f"{file.path}: xb is no matrix")
            origin = {"features": "xb, turned", "labels": "yb"}
            return Found(file.load("xb")[::-1], file.load("yb")[::-1], origin=origin)


    class Greedy(Backwards):
        def recognises(self, files, choices):
            return True


    def zslbench_register(registry):
        registry.layout("backwards", f"{__name__}:Backwards", LayoutCard("xb and yb, the last image first"))
'''


def test_a_layout_of_a_plugin_is_listed_told_by_content_and_read(tmp_path):
    toy, path = Toy(tmp_path), distribution(tmp_path, "own-layout", SOURCE)
    np.savez(tmp_path / "own.npz", xb=toy.x[::-1], yb=toy.y[::-1])
    listed = command("list", "layouts", path=path)
    assert listed.status == 0
    assert "backwards" in listed.out and "feature-maps" in listed.out
    words = ("data", "import", tmp_path / "own.npz", *toy.given, "--as", tmp_path / "made", "--plain")
    answer = command(*words, path=path)
    assert answer.status == 0, answer.err
    assert "own.npz is of layout backwards" in answer.out
    assert "features: xb, turned (110, 9), a row for each of 110 images" in answer.out
    without = command(*words)
    assert without.status == 2 and "no layout fits (arrays, feature-maps, parts, lists)" in without.err


def test_two_layouts_that_fit_are_an_error_that_the_user_settles(tmp_path):
    toy = Toy(tmp_path)
    path = distribution(tmp_path, "own-layout", SOURCE.replace(":Backwards", ":Greedy"))
    words = ("data", "import", *python_hdf5(toy, tmp_path), "--as", tmp_path / "made", "--plain")
    answer = command(*words, path=path)
    assert answer.status == 2
    assert "clip.h5: it fits the layouts arrays and backwards; choose one by --layout" in answer.err
    assert command(*words, "--layout", "arrays", path=path).status == 0
