"""The harness's own evaluators, engines and backbones, registered like a plugin's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zslbench.api.cards import BackboneCard, EngineCard, EvaluatorCard, Pretraining

if TYPE_CHECKING:
    from zslbench.discovery.registry import Registry

GBU = "Xian et al., Zero-Shot Learning: A Comprehensive Evaluation of the Good, the Bad and the Ugly, TPAMI 2018"
CHEN = "Chen et al., Zero-Shot Visual Recognition using Semantics-Preserving Adversarial Embedding Networks, CVPR 2018"
CHAO = "Chao et al., An Empirical Study and Analysis of Generalized Zero-Shot Learning, ECCV 2016"

DHAMIJA = "Dhamija et al., Reducing Network Agnostophobia, NeurIPS 2018"
ZHOU = "Zhou et al., Conditional Prompt Learning for Vision-Language Models, CVPR 2022"
EVERINGHAM = "Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010"
RADOVANOVIC = "Radovanovic et al., Hubs in Space: Popular Nearest Neighbors in High-Dimensional Data, JMLR 2010"
GUO = "Guo et al., On Calibration of Modern Neural Networks, ICML 2017"


def zslbench_register(registry: Registry) -> None:
    """Registers evaluators, engines, the backbone without weights and those of torchvision and timm."""
    for name, target, summary, paper in (
        ("zsl", "evaluators:ConventionalZSL", "U->U per-class top-1", GBU),
        ("gzsl", "evaluators:GeneralizedZSL", "U->T, S->T, H without calibration", GBU),
        ("ausuc", "evaluators:AUSUC", "exact area under the seen-unseen curve", CHAO),
        ("calibrated", "evaluators:Calibrated", "U->T, S->T, H at the gamma chosen on validation classes", CHAO),
        (
            "reconstruction",
            "reconstruction:Reconstruction",
            "pixel MSE and 1 - SSIM of reconstructed test images",
            CHEN,
        ),
        ("probe", "probe:Probe", "attributes that seen classes hardly differ in, read out of E(x)", CHEN),
        ("open-set", "openset:OpenSet", "AUROC and FPR95 of seen against unseen images, OSCR", DHAMIJA),
        ("base-to-new", "openset:BaseToNew", "S->S, and its harmonic mean with U->U", ZHOU),
        ("top-k", "ranking:TopK", "top-k per class and hit@k per image, k of 1, 2, 5, 10 and 20", GBU),
        (
            "average-precision",
            "ranking:AveragePrecision",
            "mean per-class average precision of ranked images",
            EVERINGHAM,
        ),
        ("hubness", "ranking:Hubness", "skewness of how often classes are among the nearest", RADOVANOVIC),
        ("calibration-error", "ranking:CalibrationError", "expected calibration error of softmaxed scores", GUO),
    ):
        registry.evaluator(name, f"zslbench.evaluation.{target}", EvaluatorCard(summary, paper))
    for name, summary in {
        "inline": "one run after another in this process",
        "processes": "--jobs runs at a time, in processes of their own; GPUs are shared out",
        "ray": "as many runs at a time as a Ray cluster has room for, or --jobs (pip install 'zslbench[ray]')",
        "slurm": "jobs of a Slurm cluster, through submitit (pip install 'zslbench[slurm]')",
    }.items():
        registry.engine(name, f"zslbench.engines.{name}:{name.capitalize()}", EngineCard(summary))
    for name, target, summary in (
        ("pixels", "AveragePixels", "768 mean colours on a 16 x 16 grid; no weights, for small drawn images"),
        (
            "torchvision:",
            "TorchvisionBackbone",
            "any classifier of torchvision without its head, `torchvision:resnet101`",
        ),
        ("timm:", "TimmBackbone", "any model of timm without its classifier, `timm:vit_small_patch16_224.dino`"),
    ):
        own: Pretraining = "unknown" if name.endswith(":") else "none"  # of a family each name has its own
        card = BackboneCard(name.removesuffix(":"), "none", summary, own)
        registry.backbone(name, f"zslbench.preparation.backbones:{target}", card)
