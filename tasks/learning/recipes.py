"""Recipes by rule: how a network is trained, from facts of the data and the steps at hand.

Nothing here is set for one data set. What a person sets in ``params.yaml`` is taken as it is; what
is left null follows from this file, and is written to the manifest of the stage.
``docs/learning.md`` has the measurements behind each rule.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from tasks.learning.optimizer import Recipe
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    AugmentParams,
    FinetuneParams,
    Optimiser,
    SearchParams,
    SupernetParams,
)

PICTURES, LABELLED_TEXTS, OTHER_TEXTS = (0.006, 0.2), (0.008, 1.0), (0.005, 0.5)
"""Peak rate of Adam and decay of kernels, decoupled from the gradient. Half the rate for pictures
did no better on three sets, by one seed each; seeds differ by as much. Ten times less decay loses
1.5 and 3.6 points on two of them, three times more loses 2 and 3. Texts of a class each are learnt
as a linear model learns them, with large margins: on CLINC150 a decay of 1 instead of 0.05 wins
1.5 points (docs/learning.md). Questions win 0.4 points by 0.005 and 0.5 against
0.002 and 0.05."""
SGD = (0.1, 5e-4)
"""Of pictures and texts alike."""
MUON_RATE = 2.0
"""Times the rate of Adam: the best of 0.5, 1, 2 and 3.3 on cifar10. At equal epochs it wins 1 to
15 points against Adam, on six data sets (docs/learning.md)."""
QAT_SHARE, QAT_RATE_SHARE = 0.05, 0.05
"""Of the epochs and of the peak rate: it mends what quantization costs, no more. Three times as
many epochs took a third of a finalist's time, and gave the better file for two of eight
(docs/learning.md)."""
QAT_STEP = 3.0
"""A step with quantization in the loop, building included, over one without."""
WITH_QAT = 1 + QAT_STEP * QAT_SHARE
"""A finalist's whole training over that in floating point."""
FURTHER_RATE_SHARE = 0.5
"""Of the peak rate, for a network that goes on from what a training has left."""
TEACHER_STEP = 1 / 3
"""What a teacher's outputs on a batch take, of a training step of the same network."""
MOST_EPOCHS = 120
"""Of a finalist: beyond it small data sets only wear out."""
MOST_TEXT_EPOCHS, TEXT_STEPS = 10, 1000
"""Of texts that have no class each. On questions F1 is 98.3 after 8 epochs, 97.9 after 16. Few
texts may be seen more often, until so many steps are done."""
SENTENCE_EPOCHS, SENTENCE_STEPS = 100, 300
"""Texts of a class each are soon known by heart, the sooner the more there are of a class: so many
epochs over the root of the texts a class has are enough, or so many steps where that is more. On
parts of CLINC150 of 2 to 150 classes, 20 to 1,000 texts each, this is never behind longer
trainings by more than they vary, and ahead by up to 3 points (docs/learning.md)."""
AUGMENTED_EPOCHS, ZOOMED_EPOCHS = 8, 24
"""From so many epochs on pictures are shifted, and zoomed and coloured as well. Below that a
network has not seen enough of the pictures as they are (cifar10, 4 epochs: 57 % without shifts,
52 % with)."""
MIXED_EPOCHS, MIX = 64, 0.5
"""From so many epochs on this share of the pictures of a class each has a part from another. It is
what keeps a network from learning small data by heart: 4 points on clothes after 96 epochs; half a
point to one less on photographs after 48 (docs/learning.md)."""
AVERAGED_STEPS = 200
"""From so many steps on the running average of the weights is what a training leaves."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at.

    Attributes:
        texts: Samples are token numbers, not pixels.
        labelled: Each sample has one class.
        items: Samples of train.
        side: Shorter side of a picture in pixels; 0 of texts.
        mirrored: Mirrored pictures look like the others; see :mod:`tasks.data.symmetry`.
        turned: Turned ones do.
        classes: Of the data.
    """

    texts: bool
    labelled: bool
    items: int
    side: int
    mirrored: bool
    turned: bool = False
    classes: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """A training, all decided.

    Attributes:
        recipe: For :func:`tasks.learning.training.train_model`; its steps are ``epochs`` of train.
        augment: What is changed at random.
        batch_size: Samples a step.
        dropout: Before fully connected layers.
        epochs: Passes over train.
    """

    recipe: Recipe
    augment: AugmentParams
    batch_size: int
    dropout: float
    epochs: int

    def told(self) -> dict[str, Any]:
        """For manifests and people."""
        recipe = dataclasses.asdict(self.recipe)
        return {
            **recipe,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "dropout": self.dropout,
            "augment": self.augment.model_dump(),
        }


def facts_of(manifest: DataManifest) -> Facts:
    """The facts of prepared data."""
    return Facts(
        texts=manifest.is_of_texts,
        labelled=manifest.kind.endswith("classification"),
        items=manifest.splits["train"].items or 0,
        side=0 if manifest.is_of_texts else min(manifest.input_shape[1:3]),
        mirrored=manifest.mirrored,
        turned=manifest.turned,
        classes=max(1, len(manifest.classes)),
    )


def batch_size(facts: Facts) -> int:
    """The power of two in 16..64 that leaves 24 steps an epoch, at most all samples.

    >>> [batch_size(Facts(False, True, n, 32, False)) for n in (8, 205, 1000, 8000)]
    [8, 16, 32, 64]
    """
    size = 64
    while size > 16 and facts.items < 24 * size:
        size //= 2
    return min(size, facts.items)


def most_epochs(facts: Facts, size: int) -> int:
    """Passes over train, in batches of ``size``, beyond which a network learns no more.

    >>> [most_epochs(Facts(True, False, n, 0, False), 64) for n in (640, 6400, 64000)]
    [100, 10, 10]
    >>> [most_epochs(Facts(True, True, 6400, 0, False, False, n), 64) for n in (4, 64, 640)]
    [3, 10, 32]
    """
    if not facts.texts:
        return MOST_EPOCHS
    steps = max(1, facts.items // min(size, facts.items))
    if not facts.labelled:
        return min(MOST_EPOCHS, max(MOST_TEXT_EPOCHS, -(-TEXT_STEPS // steps)))
    enough = round(SENTENCE_EPOCHS * math.sqrt(facts.classes / facts.items))
    return min(MOST_EPOCHS, max(enough, math.ceil(SENTENCE_STEPS / steps)))


def augmentation(facts: Facts, epochs: int) -> AugmentParams:
    """Stronger the more often each sample is seen."""
    if facts.texts:
        return AugmentParams(drop_tokens=0.1)
    shifted, zoomed = epochs >= AUGMENTED_EPOCHS, epochs >= ZOOMED_EPOCHS
    return AugmentParams(
        flip=facts.mirrored,
        turn=facts.turned,
        crop=round(0.08 * facts.side) if shifted else 0,
        scale=0.1 if zoomed else 0.0,
        colour=0.1 if zoomed else 0.0,
        mix=MIX if facts.labelled and epochs >= MIXED_EPOCHS else 0.0,
    )


def rate_and_decay(facts: Facts, optimizer: Optimiser) -> tuple[float, float]:
    """Peak rate and decay of kernels."""
    if optimizer == "sgd":
        return SGD
    texts = LABELLED_TEXTS if facts.labelled else OTHER_TEXTS
    rate, decay = texts if facts.texts else PICTURES
    return (MUON_RATE if optimizer == "muon" else 1) * rate, decay


def plan(facts: Facts, given: FinetuneParams, epochs: int) -> Plan:
    """The floating-point training of one network for ``epochs``."""
    size = given.batch_size or batch_size(facts)
    steps = epochs * max(1, facts.items // min(size, facts.items))
    optimizer = given.optimizer or "muon"
    rate, decay = rate_and_decay(facts, optimizer)
    recipe = Recipe(
        steps=steps,
        learning_rate=_or(given.learning_rate, rate),
        warmup_steps=min(100, max(1, steps // 20)),
        momentum=0.9,
        weight_decay=_or(given.weight_decay, decay),
        clip_norm=5.0,
        label_smoothing=_or(given.label_smoothing, 0.1 if facts.labelled else 0.0),
        seed=given.seed,
        optimizer=optimizer,
        average=0.99 if steps >= AVERAGED_STEPS else 0.0,
    )
    changed = augmentation(facts, epochs) if given.augment is None else given.augment
    dropout = _or(given.dropout, 0.1 if facts.texts else 0.0)
    return Plan(recipe, changed, size, dropout, epochs)


def further_plan(facts: Facts, given: FinetuneParams, before: Plan, epochs: int) -> Plan:
    """``epochs`` more after ``before``, in another order, augmented as trainings so long are."""
    whole = plan(facts, given, before.epochs + epochs)
    steps = epochs * max(1, facts.items // min(before.batch_size, facts.items))
    recipe = dataclasses.replace(
        whole.recipe,
        steps=steps,
        learning_rate=FURTHER_RATE_SHARE * whole.recipe.learning_rate,
        warmup_steps=min(100, max(1, steps // 20)),
        seed=given.seed + 1,
        average=before.recipe.average,
    )
    return dataclasses.replace(whole, recipe=recipe, epochs=epochs)


def quantized_plan(facts: Facts, given: FinetuneParams, before: Plan) -> Plan:
    """The quantization-aware training after ``before``."""
    epochs = given.qat_epochs or max(1, round(QAT_SHARE * before.epochs))
    per_epoch = max(1, facts.items // min(before.batch_size, facts.items))
    rate = _or(given.qat_learning_rate, QAT_RATE_SHARE * before.recipe.learning_rate)
    steps = epochs * per_epoch
    recipe = dataclasses.replace(
        before.recipe,
        steps=steps,
        learning_rate=rate,
        warmup_steps=min(20, steps // 10),
        average=0.0,
    )
    return dataclasses.replace(before, recipe=recipe, epochs=epochs)


def brief_plan(facts: Facts, search: SearchParams, epochs: int) -> Plan:
    """A candidate's own training while the search goes on: as a finalist's, but short."""
    return plan(facts, FinetuneParams(seed=search.seed), epochs)


def supernet_plan(facts: Facts, given: SupernetParams) -> Plan:
    """The supernet's training: as a finalist's, at half the rate, since many networks share it."""
    size = given.batch_size or batch_size(facts)
    epochs = given.steps * size // facts.items
    optimizer = given.optimizer or "adam"
    like = plan(facts, FinetuneParams(optimizer=optimizer), max(1, epochs)).recipe
    recipe = dataclasses.replace(
        like,
        steps=given.steps,
        learning_rate=_or(given.learning_rate, like.learning_rate / 2),
        warmup_steps=_or(given.warmup_steps, min(100, max(1, given.steps // 20))),
        momentum=given.momentum,
        weight_decay=_or(given.weight_decay, like.weight_decay if optimizer == "adam" else 1e-5),
        clip_norm=given.clip_norm,
        label_smoothing=_or(given.label_smoothing, like.label_smoothing),
        seed=given.seed,
        average=0.0,
    )
    changed = augmentation(facts, epochs) if given.augment is None else given.augment
    dropout = _or(given.dropout, 0.1 if facts.texts else 0.0)
    return Plan(recipe, changed, size, dropout, epochs)


def _or(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value
