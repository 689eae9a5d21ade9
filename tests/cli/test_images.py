"""Runs on images from the command line: what is printed, drawn and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from outside import Inside
from PIL import Image

from zslbench.records.store import Store

TINY = (
    "directmap:image_size=32,crops=2,backbone=pixels,phi=none,width=0.05,hidden=16,autoencoder_hidden=16,epochs=1,"
    "lr=1e-3,autoencoder_lr=1e-3"
)
SCENES = ("--dataset", "shapes:images_per_class=5,size=36", "--device", "cpu")


def test_a_run_on_images_prints_its_errors_and_draws_what_it_kept(inside: Inside, store: Path) -> None:
    answer = inside("run", TINY, *SCENES, "--plain")
    assert answer.status == 0, answer.err
    heading, head, _, line, *_ = answer.out.splitlines()
    assert "32x32 images, pixels, l2" in heading
    assert head.split()[-6:] == ["MSE", "unseen", "1-SSIM", "unseen", "train", "s"]
    [record] = Store(store).records()
    assert f"{record.metrics['mse_unseen']:.4f}" in line.split()
    assert record.metrics.keys() >= {"acc_uu", "h", "ausuc", "h_cal", "mse_seen", "perceptual_unseen"}
    path = store / "runs" / record.id / "reconstructions.png"
    assert str(path) in answer.err
    picture = np.asarray(Image.open(path))
    arrays = Store(store).arrays(record)
    first = np.flatnonzero(arrays["reconstruction/unseen"])[0]
    for kind, top in (("originals", 0), ("made", 33)):  # one pixel between pictures of 32
        expected = arrays[f"reconstruction/{kind}"][first].transpose(1, 2, 0)
        np.testing.assert_array_equal(picture[top : top + 32, :32], expected)


def test_a_run_on_images_is_found_again_and_gives_the_same_figures_when_repeated(inside: Inside) -> None:
    first = inside("run", TINY, *SCENES, "--json")
    again = inside("run", TINY, *SCENES, "--input", "images", "--json")
    assert "stored already" in again.err
    afresh = inside("run", TINY, *SCENES, "--existing", "rerun", "--json")
    [one], [two], [three] = (json.loads(answer.out)["runs"] for answer in (first, again, afresh))
    assert one["id"] == two["id"] == three["id"]
    assert one["metrics"] == two["metrics"] == three["metrics"]
    assert one["spec"]["input"] == "images" and one["spec"]["features"] == "images"


def test_methods_on_features_and_data_without_images_are_refused_in_a_line(inside: Inside) -> None:
    devise = inside("run", "devise", *SCENES, "--input", "images")
    assert devise.status == 1 and devise.error() == "DeViSE works on features, not on images; leave out --input"
    directmap = inside("run", TINY, *SCENES, "--input", "features")
    assert directmap.status == 1
    assert directmap.error() == "DirectMap works on images, not on features; leave out --input"
    digits = inside("run", TINY, "--dataset", "digits")
    assert digits.status == 1
    assert digits.error() == "data set digits has no images; name another data set, or a method on features"


def test_a_method_on_features_gives_way_to_its_counterpart_on_images(inside: Inside, store: Path) -> None:
    tiny = TINY.partition(":")[2] + ",encoder=conv,critic_steps=1"
    own = inside("run", f"spaen-image:{tiny}", *SCENES, "--json")
    alias = inside("run", f"spaen:{tiny}", *SCENES, "--input", "images", "--json")
    assert alias.err.splitlines()[0] == "1 of 1 runs were stored already"
    assert json.loads(alias.out) == json.loads(own.out)
    [record] = Store(store).records()
    assert record.spec.method == "spaen-image"
    twice = (f"spaen:{tiny}", f"spaen-image:{tiny}", "--input", "images", "--seed", "0")
    both = inside("compare", *twice, *SCENES, "--json")
    assert len(json.loads(both.out)["runs"]) == 1  # they are one row


def test_both_inputs_stand_in_one_table(inside: Inside) -> None:
    answer = inside("compare", "eszsl", TINY, *SCENES, "--seeds", "1", "--plain")
    assert answer.status == 0, answer.err
    assert [line.split()[0] for line in answer.out.splitlines()[3:5]] == ["ESZSL", "DirectMap"]
    assert "pixels, none" not in answer.out and "32x32 images, pixels, l2" in answer.out
    assert answer.out.splitlines()[3].split().count("n/a") == 2


def test_a_run_that_makes_one_image_of_all_says_so_and_so_does_its_record(inside: Inside, store: Path) -> None:
    untrained = TINY.replace("autoencoder_lr=1e-3", "autoencoder_lr=1e-30")
    answer = inside("run", untrained, *SCENES, "--plain")
    assert answer.status == 0, answer.err
    [line] = [line for line in answer.out.splitlines() if line.startswith("warning: directmap")]
    remark = "its reconstructions of unseen classes are "
    assert f": {remark}" in line
    [record] = Store(store).records()
    shown = inside("show", record.id, "--plain").out.splitlines()
    assert any(line.startswith(f"warning: {remark}") for line in shown)
    assert remark not in inside("run", untrained, *SCENES, "--plain", "--metrics", "h").out


def test_a_mistyped_backbone_is_found_before_anything_runs(inside: Inside) -> None:
    answer = inside("run", TINY.replace("backbone=pixels", "backbone=resnet1001"), *SCENES)
    assert answer.status == 2
    assert answer.error().startswith("unknown backbone 'resnet1001'; did you mean 'resnet101'")
