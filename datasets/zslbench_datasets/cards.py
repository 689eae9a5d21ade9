"""The cards of the built-in data sets, with the sizes of the proposed split (Xian et al., CVPR 2017)."""

from __future__ import annotations

from zslbench import DatasetCard, DatasetSizes

CARDS = {
    "sun": DatasetCard(
        title="SUN",
        citation="G. Patterson, J. Hays: SUN Attribute Database. CVPR 2012",
        licence="images: research use, rights with their owners",
        homepage="https://cs.brown.edu/~gmpatter/sunattributes.html",
        summary="717 scene categories, 102 attributes",
        sizes=DatasetSizes(14340, 645, 72, 102, 10320, 2580, 1440),
    ),
    "cub": DatasetCard(
        title="CUB",
        citation="C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie: The Caltech-UCSD Birds-200-2011 Dataset. "
        "Caltech, CNS-TR-2011-001, 2011",
        licence="images: non-commercial research and education, rights with their owners",
        homepage="https://www.vision.caltech.edu/datasets/cub_200_2011",
        summary="200 species of birds, 312 attributes",
        sizes=DatasetSizes(11788, 150, 50, 312, 7057, 1764, 2967),
    ),
    "awa1": DatasetCard(
        title="AWA1",
        citation="C. Lampert, H. Nickisch, S. Harmeling: Learning to Detect Unseen Object Classes by Between-Class "
        "Attribute Transfer. CVPR 2009",
        licence="features only: the images were never released",
        homepage="https://cvml.ista.ac.at/AwA",
        summary="50 animals, 85 attributes",
        sizes=DatasetSizes(30475, 40, 10, 85, 19832, 4958, 5685),
    ),
    "awa2": DatasetCard(
        title="AWA2",
        citation="Y. Xian, C. Lampert, B. Schiele, Z. Akata: Zero-Shot Learning - A Comprehensive Evaluation of the "
        "Good, the Bad and the Ugly. TPAMI 2019",
        licence="images: free licences, one for each, listed in the release",
        homepage="https://cvml.ista.ac.at/AwA2",
        summary="50 animals as in AWA1, other images, 85 attributes",
        sizes=DatasetSizes(37322, 40, 10, 85, 23527, 5882, 7913),
    ),
    "apy": DatasetCard(
        title="aPY",
        citation="A. Farhadi, I. Endres, D. Hoiem, D. Forsyth: Describing Objects by their Attributes. CVPR 2009",
        licence="images: those of PASCAL VOC 2008 and Yahoo, rights with their owners",
        homepage="https://vision.cs.uiuc.edu/attributes",
        summary="20 classes of PASCAL VOC seen, 12 of Yahoo unseen, 64 attributes",
        sizes=DatasetSizes(15339, 20, 12, 64, 5932, 1483, 7924),
    ),
    "flo": DatasetCard(
        title="FLO",
        citation="M.-E. Nilsback, A. Zisserman: Automated Flower Classification over a Large Number of Classes. "
        "ICVGIP 2008",
        licence="images: research use, rights with their owners",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
        summary="102 flowers, 1024-d embeddings of sentences (Reed et al., CVPR 2016)",
        sizes=DatasetSizes(8189, 82, 20, 1024, 5631, 1403, 1155),
        attributes=False,
    ),
}

DIGITS = DatasetCard(
    title="digits",
    citation="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository 1998",
    licence="CC BY 4.0",
    homepage="https://archive.ics.uci.edu/dataset/80",
    summary="1,797 handwritten digits described by the seven segments of a display; embedded, to try things out",
    sizes=DatasetSizes(1797, 7, 3, 7, 1009, 248, 540),
    benchmark=False,
    embedded=True,
    default_features="pixels",
)

SHAPES = DatasetCard(
    title="shapes",
    citation="drawn by zslbench from a fixed seed",
    licence="CC0-1.0",
    summary="scenes of one object, drawn on the fly, described by shape, colour, texture, size, position, background; "
    "embedded; options semantic_loss, size, images_per_class",
    benchmark=False,
    embedded=True,
    default_features="pixels",
)

LAYOUTS = {
    "arrays": ("Arrays", "one array for each of features, labels, att and so on, in one file or several"),
    "feature-maps": ("FeatureMaps", "feature_map (images, channels, height, width) and all else in one file"),
    "parts": ("Parts", "train_f, train_l, testSeen_f, ... and class embeddings by side in one file"),
    "lists": ("Lists", "feature_list and label_list in a file of training images and one of test images"),
}
"""Name -> class, and what it reads."""
