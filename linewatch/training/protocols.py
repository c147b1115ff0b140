"""The papers' training protocols by name, with their settings and the papers' claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from linewatch.contracts.errors import ConfigError
from linewatch.datasets import DataSet
from linewatch.training.papers.counts import Counts, CountsSettings
from linewatch.training.papers.crops import Crops, CropsSettings
from linewatch.training.papers.joint import Joint, JointSettings
from linewatch.training.papers.single_label import NasnetSettings, SingleLabel, SingleLabelSettings
from linewatch.training.papers.study import PaperSettings, Study

DORZHIEV = "Dorzhiev & Feiler, 2D Image Classification of Steel Strip Surface Defects"
KONOVALENKO = "Konovalenko et al., Classification of Rolled Metal Defects Using Residual Neural Networks"
APOSTOLOPOULOS = "Apostolopoulos & Tzani, Industrial object, machine part and defect recognition ... multilevel VGG19"
DAMACHARLA = "Damacharla et al. 2021, TLU-Net, doi:10.1109/ICAPAI49758.2021.9462060"
KATEB = "Kateb et al. 2024, Developed NasNet-Mobile CNN and Few Samples, doi:10.18280/ria.380232"

KONOVALENKO_TABLES = {
    f"{of}.{metric}": value
    for of, row in (
        ("per_class.1", (0.976, 0.792, 0.627, 0.700)),
        ("per_class.2+3", (0.945, 0.897, 0.824, 0.859)),
        ("per_class.4", (0.993, 0.939, 0.908, 0.923)),
        ("defect_free", (0.938, 0.944, 0.973, 0.958)),
    )
    for metric, value in zip(("accuracy", "precision", "recall", "f1"), row, strict=True)
}
"""Tables 2 and 3: ResNet152 on the test part; classes I, II and III are Kaggle's 1, 2+3 and 4 (see `crops`)."""


@dataclass(frozen=True)
class PaperProtocol:
    """A paper's protocol: its settings as the paper has them, and the metrics that it claims, by data set."""

    name: str
    about: str
    paper: str
    settings: PaperSettings
    study: Callable[..., Study]
    claims: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    folds: int | None = None
    """k of the paper's cross-validation, if it has one."""

    def open(self, settings: PaperSettings, data_set: DataSet) -> Study:
        """Return the protocol's study on one data set."""
        return self.study(settings, data_set)


def _single(
    name: str, about: str, paper: str, claims: Mapping[str, Mapping[str, float]], **settings: object
) -> PaperProtocol:
    return PaperProtocol(
        name, about, paper, SingleLabelSettings.model_validate({"network": name, **settings}), SingleLabel, claims
    )


def _apostolopoulos(name: str, claims: Mapping[str, Mapping[str, float]], about: str) -> PaperProtocol:
    """The paper does not give epochs and batch; it names noise, rotations, flips and shifts, but not their extent."""
    settings = SingleLabelSettings(
        network=name,
        epochs=20,
        batch=32,
        rate=1e-3,
        lines=224,
        width=224,
        shares=(0.8, 0.1, 0.1),
        trunk="frozen",
        right_angles=False,
        turn_deg=20,
        shift=0.1,
        flips=True,
        noise=8,
    )
    return PaperProtocol(name, about, APOSTOLOPOULOS, settings, SingleLabel, claims, folds=10)


_ALL = [
    _single("custom_cnn", "two large convolutions, from scratch", DORZHIEV, {"neu": {"top1": 0.979}}),
    *(
        _single(name, "fine-tuned as a whole", DORZHIEV, {"neu": {"top1": 1.0}}, epochs=20, enough=0.999)
        for name in ("vgg11", "vgg16")
    ),
    *(
        PaperProtocol(
            f"{name}_counts",
            "counts of each class in a mosaic of four",
            DORZHIEV,
            CountsSettings(network=name),
            Counts,
            {"neu": {"count_exact": 1.0}},
        )
        for name in ("vgg11", "vgg16")
    ),
    *(
        PaperProtocol(
            name,
            "three classes of defect in random crops of strip frames",
            KONOVALENKO,
            CropsSettings(network=name),
            Crops,
            {"severstal": KONOVALENKO_TABLES} if name == "resnet152" else {},
        )
        for name in ("resnet34", "resnet50", "resnet152")
    ),
    _apostolopoulos(
        "vgg19",
        {
            "magnetic_tile": {"top1": 0.7732, "precision": 0.7052, "auc": 0.8916},
            "elpv": {"top1": 0.7385, "precision": 0.7476, "recall": 0.5815, "f1": 0.6497, "auc": 0.8018},
            "gc10": {"top1": 0.709, "precision": 0.6679, "auc": 0.9265},
            "casting": {"top1": 0.8739, "precision": 0.7801, "recall": 0.9772, "f1": 0.8737, "auc": 0.9788},
            "itodd": {"top1": 0.8829, "precision": 0.9531, "auc": 0.996},
            "sdnet2018": {"top1": 0.9872, "precision": 0.9924, "recall": 0.9929, "f1": 0.9926, "auc": 0.9955},
        },
        "frozen trunk, new top",
    ),
    _apostolopoulos(
        "mvgg19",
        {
            "magnetic_tile": {"top1": 0.9267, "precision": 0.9849, "auc": 0.9761},
            "elpv": {"top1": 0.7678, "precision": 0.7563, "recall": 0.6702, "f1": 0.7093, "auc": 0.8336},
            "gc10": {"top1": 0.9788, "precision": 0.9649, "recall": 0.9857, "f1": 0.975, "auc": 0.9959},
            "casting": {"top1": 0.7762, "precision": 0.7768, "auc": 0.9494},
            "itodd": {"top1": 0.9423, "precision": 0.9813, "auc": 0.9994},
            "sdnet2018": {"top1": 0.9902, "precision": 0.995, "recall": 0.9936, "f1": 0.9943, "auc": 0.9983},
        },
        "frozen trunk, paths from pools 2, 3 and 4 to a new top",
    ),
    PaperProtocol("tlu_net", "U-Net and classifier on one encoder", DAMACHARLA, JointSettings(), Joint),
    PaperProtocol(
        "nasnet_mobile",
        "frozen, then fine-tuned as a whole",
        KATEB,
        NasnetSettings(),
        SingleLabel,
        {"neu": {"top1": 0.9806, "precision": 0.9804, "recall": 0.9750, "auc": 0.9944}},
    ),
]
PAPER_PROTOCOLS: dict[str, PaperProtocol] = {protocol.name: protocol for protocol in _ALL}


def paper_protocol(name: str) -> PaperProtocol:
    """Return the protocol `name`; `ConfigError` with the known names if there is none."""
    if name not in PAPER_PROTOCOLS:
        raise ConfigError(f"no training protocol {name!r}, expected one of {', '.join(PAPER_PROTOCOLS)}")
    return PAPER_PROTOCOLS[name]
