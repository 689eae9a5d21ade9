"""SP-AEN (Chen et al., CVPR 2018), feature level: semantics-preserving adversarial embedding networks.

Classification alone lets an embedding forget every attribute that does not tell the seen classes apart. A second
embedding F, which must allow reconstruction, forgets nothing; an adversary makes E(x) look like F(x).
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor, nn

from zslbench import (
    Batch,
    ClassSet,
    Embedder,
    GradientParams,
    Objective,
    ProblemShape,
    Stage,
    TrainView,
    gradient_penalty,
    param,
)
from zslbench_methods.targets import Target, matched, ridge_map

CLS = "embed/cls"
"""The loss by which a plateau is seen: its level says how well E classifies."""
Negative = Literal["random", "violating", "hardest"]


class EmbeddingParams(GradientParams):
    """E and its classification loss, Eq. (2), and the sizes of what reconstructs."""

    epochs: int = param(20, "epochs of E (and of all networks in joint training)", search=(2, 40), ge=1)
    lr: float = param(1e-3, "learning rate of E", search=(3e-4, 3e-3), log=True, gt=0)
    beta1: float = param(0.5, "first Adam coefficient", ge=0, lt=1)
    ranking: float = param(1.0, "weight of the ranking loss", gt=0)
    alpha: float = param(1.0, "weight of the reconstruction loss", ge=0)
    margin: float = param(1.0, "margin gamma of the ranking loss", search=(0.2, 2.0), log=True, gt=0)
    negative: Negative = param(
        "hardest",
        "wrong class of the ranking loss: any seen one, any that violates the margin, or the one that does so most",
        search=["violating", "hardest"],
    )
    relative: bool = param(
        True, "measure score differences in the spread of the seen class embeddings, not in the paper"
    )
    hidden: int = param(1024, "width of E's hidden layer, 0 for a linear E", ge=0)
    dropout: float = param(0.0, "dropout before each layer of E", search=[0.0, 0.2, 0.5], ge=0, lt=1)
    activate_output: bool = param(False, "leaky ReLU on the output of E, F and feature-level G too")
    slope: float = param(0.3, "slope of the leaky ReLU of E, F and G", ge=0, le=1)
    autoencoder_hidden: int = param(256, "width of the hidden layers of F and G, 0 for linear ones", ge=0)
    autoencoder_lr: float = param(1e-3, "learning rate of F and G", gt=0)


class SPAENParams(EmbeddingParams):
    """Weights of Eq. (5) and (6), the two ways of training, and what E(x) is made to look like."""

    beta: float = param(0.05, "weight of the adversarial loss", search=(0.01, 0.5), log=True, ge=0)
    training: Literal["joint", "two-stage"] = param(
        "two-stage", "train F and G before E, as the released code does, or with E, as the paper does"
    )
    target: Target = param(
        "reconstruction",
        "what the critic takes for real: F(x), as in the paper, or a control: Gaussian noise, an F that was never "
        "trained, F(x) with coordinates of different images, or a ridge regression onto class embeddings",
    )
    anchor: float = param(
        0.0, "weight of the squared distance of F(x) to its class, centred and by the spread; not in the paper", ge=0
    )
    autoencoder_epochs: int = param(4, "epochs of F and G before E in two-stage training", ge=1)
    unit_norm: float = param(2.0, "weight of (|F(x)| - 1)^2, a term of the released code", ge=0)
    critic_steps: int = param(2, "steps of the critic for each of E", ge=1)
    critic_lr: float = param(1e-3, "learning rate of the critic", gt=0)
    critic_slope: float = param(0.2, "slope of the critic's leaky ReLU; 0 for the paper's ReLU", ge=0, le=1)
    critic_sigmoid: bool = param(False, "squash what the critic says, as the released code does")
    gradient_penalty: float = param(10.0, "weight of the critic's gradient penalty", ge=0)

    @model_validator(mode="after")
    def _needs_a_reconstruction(self) -> SPAENParams:
        if self.training == "two-stage" and self.beta > 0 and self.alpha == 0 and self.target == "reconstruction":
            raise ValueError(
                "two-stage training with beta > 0 needs alpha > 0, or E would imitate an untrained F; "
                "target=untrained asks for that"
            )
        return self


class SPAEN(Embedder[SPAENParams]):
    """E classifies, F and G reconstruct, the critic D compares E(x) with F(x).

    L_cls, Eq. (2), trains E; L_rec, Eq. (3) in feature space, trains F and G; L_adv, Eq. (4) in its Wasserstein form
    with gradient penalty, trains D against E (and F, in joint training). E and {F, G} share no term but through D,
    so minimising Eq. (5) jointly is what the players below do in turns. With alpha = beta = 0 only L_cls remains.
    """

    version: ClassVar[int] = 3
    scale: ClassVar = "l2"
    scales: ClassVar = ("l2", "zscore")
    E: nn.Sequential
    F: nn.Sequential
    G: nn.Sequential
    D: nn.Sequential
    ridge: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates E, F: `(B, D) -> (B, A)`, G: `(B, A) -> (B, D)`, and the critic D: `(B, A) -> (B, 1)`."""
        p, d, a = self.params, shape.features, shape.attributes
        self.E = classifier(d, a, p)
        self.F = with_output(perceptron(d, p.autoencoder_hidden, a, p.slope), p)
        self.G = with_output(perceptron(a, p.autoencoder_hidden, d, p.slope), p)
        self.build_critic(shape)

    def build_critic(self, shape: ProblemShape) -> None:
        """Creates D, two fully-connected layers, and the map of the control `ridge`, `(D, A)`."""
        self.D = perceptron(shape.attributes, shape.attributes, 1, self.params.critic_slope)
        self.register_buffer("ridge", torch.zeros(shape.features, shape.attributes))

    def solve(self, view: TrainView) -> None:
        """Fits the control `ridge`, where it is asked for."""
        if self.params.target == "ridge":
            self.ridge.copy_(ridge_map(view))

    def embed(self, x: Tensor) -> Tensor:
        """Returns E(x), `(B, A)`."""
        embedding: Tensor = self.E(x)
        return embedding

    @property
    def trains_f(self) -> bool:
        """Whether F and G are trained: what the critic takes for real, or what is shown, depends on them."""
        p = self.params
        wanted = p.beta > 0 or self.input == "images"  # features that G makes are shown nowhere
        return p.target in ("reconstruction", "shuffled") and wanted and (p.alpha > 0 or p.beta > 0)

    def stages(self) -> list[Stage]:
        """Returns joint training, or the released code's two stages; players with weight 0 are left out."""
        p = self.params
        # in the released code, the L2 penalty is not on the critic
        critic = Objective("critic", self.critic_loss, self.D.parameters(), p.critic_steps, p.critic_lr, decay=False)
        embed = Objective("embed", self.embed_loss, self.E.parameters())
        adversary, reconstructing = [critic] * (p.beta > 0), self.reconstructing()
        if p.training == "joint":
            return [Stage("joint", [*adversary, *reconstructing, embed], p.epochs, self.joint_plateau())]
        first = [Stage("autoencoder", reconstructing, p.autoencoder_epochs)] if reconstructing else []
        return [*first, Stage("embed", [*adversary, embed], p.epochs, CLS)]

    def reconstructing(self) -> list[Objective]:
        """Returns the players that learn to reconstruct: F and G, where anything depends on them."""
        parameters = [*self.F.parameters(), *self.G.parameters()]
        own = Objective("autoencoder", self.autoencoder_loss, parameters, lr=self.params.autoencoder_lr)
        return [own] * self.trains_f

    def joint_plateau(self) -> str:
        """Returns the loss by which joint training sees a plateau."""
        return CLS

    def embed_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_cls with one wrong class an image, and how little E(x) looks real to the critic."""
        p, embedding = self.params, self.E(batch.x)
        terms = {"cls": p.ranking * ranking_loss(embedding, batch, p)}
        if p.beta > 0:
            terms["adv"] = -p.beta * self.judged(embedding).mean()
        return terms

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_rec, F's side of L_adv in joint training, the released code's pull towards unit norm, and the anchor."""
        p, embedding = self.params, self.F(self.seen_by_f(batch))
        terms = self.reconstruction_loss(self.G(embedding), batch)
        if p.unit_norm > 0:
            terms["norm"] = p.unit_norm * (embedding.norm(dim=1) - 1).square().mean()
        if p.anchor > 0:
            mean, spread = centre_and_spread(batch.classes)
            terms["anchor"] = p.anchor * (embedding - (batch.s - mean) / spread).square().sum(dim=1).mean()
        if p.beta > 0 and p.training == "joint":
            terms["adv"] = p.beta * self.judged(embedding).mean()
        return terms

    def seen_by_f(self, batch: Batch) -> Tensor:
        """Returns what F embeds and G makes."""
        return batch.x

    def reconstruction_loss(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """alpha L_rec, Eq. (3), relative to the features' own energy: alpha means the same at every scaling."""
        error = (made - batch.x).square().sum()
        return {"rec": self.params.alpha * error / batch.x.square().sum()}

    def judged(self, embedding: Tensor) -> Tensor:
        """Returns what the critic says of embeddings, `(B, 1)`: the larger, the more real."""
        logit: Tensor = self.D(embedding)
        return logit.sigmoid() if self.params.critic_sigmoid else logit

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """-beta L_adv, Eq. (4), with the gradient penalty of Gulrajani et al., 2017, on the logit.

        F(x) is real and E(x) is fake. Both means of Eq. (4) are taken over the same batch; the penalty, which the paper
        does not have, lies between F and E of the same image.
        """
        p = self.params
        with torch.no_grad():
            fake = self.E(batch.x)
            real = matched(p.target, batch, lambda: self.F(self.seen_by_f(batch)), self.ridge)
        penalty = gradient_penalty(self.D, real, fake, batch.rand(1))
        return {
            "distance": p.beta * (self.judged(fake).mean() - self.judged(real).mean()),
            "penalty": p.beta * p.gradient_penalty * penalty,
        }


def ranking_loss(embedding: Tensor, batch: Batch, params: EmbeddingParams) -> Tensor:
    """Eq. (2): [gamma - s_y . E(x) + s_c . E(x)]+ with one c != y for each image, mean over the batch.

    If `relative`, scores are divided by the spread of the class embeddings. What all classes share moves no difference
    of scores, so the margin means the same whether embeddings are much alike or not.
    """
    scores = embedding @ batch.classes.semantics.T
    if params.relative:
        scores = scores / centre_and_spread(batch.classes)[1]
    violation = (params.margin + scores - scores.gather(1, batch.y[:, None])).clamp(min=0)
    if params.negative == "hardest":
        return violation.scatter(1, batch.y[:, None], 0.0).amax(dim=1).mean()
    keys = batch.rand(len(batch.classes))
    if params.negative == "violating":  # where no class violates, any is drawn, and its violation is 0
        keys = keys + (violation > 0)
    drawn = keys.scatter(1, batch.y[:, None], -1.0).argmax(dim=1)
    return violation.gather(1, drawn[:, None]).mean()


def centre_and_spread(classes: ClassSet) -> tuple[Tensor, Tensor]:
    """Returns the mean of the class embeddings, `(A,)`, and the root mean square of their distances to it."""
    mean = classes.semantics.mean(dim=0)
    return mean, (classes.semantics - mean).square().sum(dim=1).mean().sqrt().clamp(min=1e-12)


def classifier(features: int, attributes: int, params: EmbeddingParams) -> nn.Sequential:
    """Returns E: features `(B, features)` to `(B, attributes)`."""
    return with_output(perceptron(features, params.hidden, attributes, params.slope, params.dropout), params)


def with_output(network: nn.Sequential, params: EmbeddingParams) -> nn.Sequential:
    """Returns the network with a leaky ReLU on its output, where that is asked for."""
    if params.activate_output:
        network.append(nn.LeakyReLU(params.slope))
    return network


class Dropout(nn.Module):
    """Dropout by whole random numbers, 16 bits an element; `nn.Dropout` takes ten times as long on a CPU.

    Attributes:
        bound: what an element's 16 bits must reach for it to be kept, in -2**15 to 2**15.
        factor: what kept elements are multiplied by: the inverse of their share, which is a multiple of 2**-16.
    """

    def __init__(self, share: float) -> None:
        """Takes the share of elements that become 0."""
        super().__init__()
        dropped = round(share * 2**16)
        self.bound, self.factor = dropped - 2**15, 2**16 / (2**16 - dropped)

    def forward(self, x: Tensor) -> Tensor:
        """Returns x with elements dropped and the rest scaled up, while it is trained; else x."""
        if not self.training:
            return x
        drawn = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),), device=x.device).view(torch.int16)
        kept = drawn[: x.numel()].view(x.shape).float().sub_(self.bound - 1).clamp(0, 1)  # faster than to compare
        return x * kept.mul_(self.factor)


def perceptron(inputs: int, hidden: int, outputs: int, slope: float, dropout: float = 0.0) -> nn.Sequential:
    """Returns a network with one hidden layer and leaky ReLU, or a linear one if `hidden` is 0, MSRA-initialised."""
    sizes = [(inputs, hidden), (hidden, outputs)] if hidden else [(inputs, outputs)]
    network = nn.Sequential()
    for fan_in, fan_out in sizes:
        if len(network) > 0:
            network.append(nn.LeakyReLU(slope))
        if dropout > 0:
            network.append(Dropout(dropout))
        network.append(nn.Linear(fan_in, fan_out))
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=slope)
            nn.init.zeros_(layer.bias)
    return network
