"""Few texts, or texts of few classes: a linear model, a network, and both together.

    python -m benchmarks.few_texts --data FOLDER        # ten minutes

FOLDER has ``train.csv`` and ``validation.csv`` with columns ``text`` and ``label``, such as
CLINC150. Parts of its train split are drawn (some classes, some texts of each) and classes joined
at random, which makes classes that no word tells. On each part a hand-made network is trained
from scratch by ``tasks/learning/recipes.py``, for as many epochs as that finds of use. Beside its
accuracy on validation, in floating point, stand that of the same weights with what each word says
by itself (:mod:`tasks.learning.word_scores`) and that of the linear model of the report, which
has pairs of words, too.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np

from benchmarks.recipes import by_recipe
from spaces.menu import load_baselines
from tasks import prepare_dataset
from tasks.data.arrays import load_split
from tasks.data.linear_floor import predictions
from tasks.learning import recipes
from tasks.learning.first_weights import FirstWeights
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.networks import sized
from tasks.learning.problem import open_problem
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

PROFILE, SPLITS = "clinc150", ("train", "validation")
ALL = 10**9
Texts = list[tuple[str, str]]
"""Text and label."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is drawn.

    Attributes:
        of_each: Texts of a class at most.
        only: So many of the classes; 0: all.
        joined: Into so many classes, at random; 0: as they are.
        texts: Of train, at most.
    """

    of_each: int = ALL
    only: int = 0
    joined: int = 0
    texts: int = ALL

    def draw(self, splits: Mapping[str, Texts]) -> dict[str, Texts]:
        """The part of each split; of validation all texts of the classes that are left."""
        rng = np.random.default_rng(0)
        labels = rng.permutation(sorted({label for _, label in splits["train"]})).tolist()
        kept = labels[: self.only or len(labels)]
        called = dict(zip(kept, kept, strict=True))
        if self.joined:
            called = {label: f"class{n % self.joined}" for n, label in enumerate(kept)}
        there: Counter[str] = Counter()
        train = []
        for index in rng.permutation(len(splits["train"])):
            text, label = splits["train"][index]
            if label in called and there[label] < self.of_each and len(train) < self.texts:
                there[label] += 1
                train.append((text, called[label]))
        held = [(text, called[label]) for text, label in splits["validation"] if label in called]
        return {"train": train, "validation": held}


PARTS = (
    Part(of_each=20),
    Part(only=30),
    Part(only=30, of_each=30),
    Part(joined=9, texts=1000),
    Part(joined=6, texts=5000),
    Part(joined=2, texts=2000),
)


def read(path: Path) -> Texts:
    """A file of two columns."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def write(path: Path, texts: Texts) -> None:
    """The same the other way."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(texts)


def judged(data: Path, network: str, seeds: Sequence[int], work: Path) -> str:
    """A row of the table: of the data in a folder."""
    params = load_params(
        Path("params.yaml"), PROFILE, [f"data.source={data}", "problem.words=true"]
    )
    workspace = Workspace(work / "results", work / "state", work)
    prepare_dataset.run(params.data, workspace, SilentProgress())
    manifest = DataManifest.read(workspace)
    facts = recipes.facts_of(manifest)
    epochs = recipes.most_epochs(facts, recipes.batch_size(facts))
    train, held = (load_split(workspace, split) for split in SPLITS)
    floor = 100 * float(np.mean(predictions(train, held) == held["labels"]))
    alone, both = [], []
    problem = open_problem(params.problem, workspace)
    space = sized(params.space.name, manifest)
    graph = problem.complete(space.lower(load_baselines(space.name)[network]))
    for seed in seeds:
        finetune = params.finetune.model_copy(update={"seed": seed})
        plan = recipes.plan(facts, finetune, epochs)
        one, other = trained(graph, problem, plan, train, held, work)
        alone.append(one)
        both.append(other)
    means = " | ".join(f"{np.mean(some):5.1f} ({np.ptp(some):.1f})" for some in (alone, both))
    return f"{facts.items:6d} | {facts.classes:4d} | {epochs:3d} | {floor:5.1f} | {means}"


def trained(
    graph: Any, problem: Any, plan: recipes.Plan, train: Any, held: Any, work: Path
) -> tuple[float, float]:
    """Accuracy in percent of a training: of the network alone, and with what words say."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model
    from tasks.learning.exported import network_of
    from tasks.learning.quantization import Network, deployed_outputs
    from tasks.learning.training import Batches

    keras.backend.clear_session()
    keras.utils.set_random_seed(plan.recipe.seed)
    model = build_model(graph, plan.dropout, outputs=problem.trained)
    FirstWeights(train).give(model, graph)
    batches = Batches(problem, train, plan.batch_size, plan.recipe.seed, plan.augment)
    by_recipe(model, graph, problem, batches, plan, work)
    found = []
    for network in (
        Network(model, graph, problem.trained, problem.trained),
        network_of(model, graph, problem),
    ):
        outputs = deployed_outputs(network, inputs_in_batches(problem, held, graph))
        found.append(100 * problem.score(outputs, held, graph)[problem.metric.name])
    return found[0], found[1]


def main() -> None:
    """Print a row a part."""
    from tasks.learning.training import configure_tensorflow

    top = argparse.ArgumentParser(prog="python -m benchmarks.few_texts")
    top.add_argument("--data", required=True, type=Path)
    top.add_argument("--network", default="xs", help="a baseline of mobilebert_small")
    top.add_argument("--seeds", type=int, default=2)
    top.add_argument("--threads", type=int, default=2)
    given = top.parse_args()
    configure_tensorflow(given.threads, deterministic=False)
    splits = {split: read(given.data / f"{split}.csv") for split in SPLITS}
    print("accuracy in percent, mean of the seeds (largest less smallest)")
    print(" texts | classes | epochs | linear | network | with words")
    for part in PARTS:
        with TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.mkdir()
            for split, texts in part.draw(splits).items():
                write(source / f"{split}.csv", texts)
            row = judged(source, given.network, range(given.seeds), Path(folder))
        drawn = {name: of for name, of in asdict(part).items() if 0 < of < ALL}
        print(f"{row}  {drawn}", flush=True)


if __name__ == "__main__":
    main()
