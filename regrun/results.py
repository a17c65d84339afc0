"""What runs, sweeps, paths, ablations and reproductions give, as `--json` prints it.

Every result is a frozen model with a JSON form (`Result.to_dict`). Stored ones are read back with
`Result.from_json`, so that a damaged file is a `CorruptInputError` that names the file and the key.
"""

from __future__ import annotations

from html import escape
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    computed_field,
)

from regrun.errors import CorruptInputError
from regrun.escapes import escaped, escaped_name

Status = Literal["completed", "diverged", "failed", "interrupted", "pruned", "running"]
"""How a run ended, or that it has not."""

Task = Literal["regression", "classification"]

Varied = Literal["seed", "data"]
"""What may differ between the replicates of a cell."""

Scale = Literal["linear", "log", "fraction"]
"""On which scale values are averaged: `log` gives geometric means and ratios; `fraction` is for
shares of 1, whose intervals stay between 0 and 1."""

Part = Literal["train", "validation", "test"]

Verdict = Literal["agrees", "differs", "not distinguishable at this budget"]
"""What our runs say about a published claim."""


Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class Result(BaseModel):
    """A frozen result; its fields are the keys of its JSON form."""

    model_config = ConfigDict(frozen=True, strict=True, defer_build=True)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form as plain data, with the keys that were set."""
        return self.model_dump(exclude_unset=True)

    @classmethod
    def from_json(cls, data: bytes, path: object) -> Self:
        """Read a stored result. Keys that this version does not know are ignored.

        Args:
            data: The content of a file.
            path: The file, for error messages.

        Raises:
            CorruptInputError: The content is not such a result; the message names file and key.
        """
        try:
            if b"NaN" in data or b"Infinity" in data:  # which JSON has not, in numbers
                orjson.loads(data)
            return cls.model_validate_json(data)
        except orjson.JSONDecodeError as error:
            raise CorruptInputError(f"{path}: not JSON: {error}") from error
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if first["type"] == "json_invalid":
                raise CorruptInputError(f"{path}: not JSON: {first['ctx']['error']}") from error
            raise CorruptInputError(f"{path}: damaged: {first_problem(error)}") from error

    @property
    def shortfall(self) -> str | None:
        """Why the command ends with exit code 3; None when all is well."""
        return None


class Listing(Result):
    """A result that is stored last, and lists what was stored before it."""

    files: dict[str, str] = Field(default_factory=dict)
    """Name of a file → its CRC-32C, by which damage is noticed; empty in versions before 0.3."""


class ClassCount(Result):
    """A class and its examples in each part; None where there is no such part."""

    name: str
    train: Count
    validation: Count | None = None
    test: Count | None = None


class TargetCard(Result):
    """A number to predict, as it is in the training examples."""

    name: str
    mean: float
    std: NonNegative
    standardized: bool
    """Whether the network is trained on (target − mean) / std."""


class ColumnCard(Result):
    """A column of a table, and what became of it."""

    name: str
    role: Literal["feature", "target", "ignored", "index", "stratify", "group", "time"]
    type: str
    """`number`, `category`, `boolean`, `date`, …"""
    encoding: str
    """`standardized`, `one-hot (3)`, `as it is`, or why it was ignored."""
    missing: Count = 0
    """Empty cells, in all parts."""
    imputed: str | None = None
    """What fills them: `mean of the training rows, 3.2`."""


class InputCard(Result):
    """The inputs of a dataset."""

    shape: list[Size]
    """Of one example, as the network sees it."""
    dtype: str
    """As read: `uint8`, `uint16`, `float32`, `text`, …"""
    low: float | None = None
    """The lowest value as read, over all parts."""
    high: float | None = None
    scaling: str = "as it is"
    """What is done to the values: `divided by 255`, `standardized by column`, …"""


class DataCard(Result):
    """What a dataset was taken for, and all that was done to it: a run's `data.json`.

    >>> card = DataCard(
    ...     dataset="csv", task="regression", sizes={"train": 160, "test": 40},
    ...     input=InputCard(shape=[3], dtype="text"),
    ... )
    >>> card.sizes["train"], card.input.shape
    (160, [3])
    """

    dataset: str
    files: list[str] = Field(default_factory=list)
    task: Task
    task_reason: str = ""
    """Why it is this task."""
    classes: list[ClassCount] = Field(default_factory=list)
    """In the order of the network's outputs; empty for regression."""
    targets: list[TargetCard] = Field(default_factory=list)
    """In the order of the network's outputs; empty for classification."""
    sizes: dict[str, Count]
    """Examples of `train`, `validation` and `test`, as far as they exist."""
    split: str = ""
    """How the examples were divided."""
    test_set: str = ""
    """Equal for the same test examples, however their numbers are scaled; empty without any."""
    drawn: list[Part] = Field(default_factory=list)
    """The parts that another `dataset.seed` makes anew."""
    pool: Count = 0
    """The examples that these parts are drawn from."""
    generated: bool = False
    """Whether the parts are drawn from a distribution, so that two draws share no example."""
    input: InputCard
    columns: list[ColumnCard] = Field(default_factory=list)
    """Of a table, in its order."""
    skipped: list[str] = Field(default_factory=list)
    """Files and rows that were left out, and why."""
    notes: list[str] = Field(default_factory=list)
    """What a user should know about the data and how the run measures them."""


class FirstConfig(Result):
    """What `init` wrote, and why: `init --json`.

    >>> FirstConfig(output="flats.yaml", dataset="csv", task="regression", target="rent").target
    'rent'
    """

    output: str
    dataset: str
    """Its `dataset.name`."""
    task: Task
    target: str | None = None
    """The column to predict; None where the data leave no choice."""
    ignored: list[str] = Field(default_factory=list)
    """Columns that are no features."""
    notes: list[str] = Field(default_factory=list)


class Best(Result):
    """The evaluation at which the selecting metric was best, the first of equals."""

    epoch: Count
    metric: Annotated[str, Field(pattern="/")]
    value: float | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def selected_on(self) -> str:
        """The split that the metric was measured on. The best by the test set flatters it."""
        return self.metric.split("/")[-2]


class Norms(Result):
    """Norms of one parameter, and the fraction of its entries that are exactly 0."""

    l1: NonNegative | None = None
    l2: NonNegative | None = None
    sparsity: Share | None = None


class WeightNorms(Norms):
    """Norms over all parameters of role `weight`, and of each."""

    per_layer: dict[str, Norms] = Field(default_factory=dict)


class ModelShape(Result):
    """The shapes that a network is built for."""

    input_shape: Annotated[list[Size], Field(min_length=1)]
    num_outputs: Size


class Seconds(Result):
    """Wall-clock seconds: loading data, training, both."""

    data: NonNegative = 0.0
    train: NonNegative = 0.0
    total: NonNegative


class RunSummary(Listing):
    """One run: `train --json` and a run's `summary.json`.

    >>> run = RunSummary(run_dir="runs/a", status="completed", metrics={"test/loss": 0.5})
    >>> run.metrics["test/loss"], run.shortfall
    (0.5, None)
    """

    run_dir: str
    status: Status
    epochs: Count = 0
    steps: Count = 0
    device: str = "cpu"
    seed: int = 0
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """Losses, accuracies and the objective of the weights that were kept.

    `objective` is what training minimizes: the data loss with class weights, label smoothing and
    standardized targets, plus penalties, plus ½ λ Σw² of coupled weight decay. Where the weights
    alone decide the loss of an example, it is measured at these weights on the examples of
    `train/loss`; with noise, augmented inputs or batch norm its data loss is the mean over the
    training batches since the evaluation before.
    """
    best: Best | None = None
    weights: WeightNorms = Field(default_factory=WeightNorms)
    penalty: dict[str, float | None] = Field(default_factory=dict)
    """Penalty → its value, with its strength."""
    confusion: dict[str, list[list[Count]]] | None = None
    """Part → how many examples of each class (rows) were taken for each (columns), in the order of
    `data.classes`; None unless `metrics` lists `confusion_matrix`."""
    data: DataCard | None = None
    """None for runs of versions before 0.3."""
    model: ModelShape | None = None
    seconds: Seconds | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    """`regrun`, `torch` and `python`."""
    diverged_at_step: Count | None = None
    stopped_early: bool = False
    """Whether early stopping ended a completed run."""
    early_stopping: str | None = None
    """The metric by which early stopping chose when to end, and which weights to keep."""
    error: str | None = None
    """Why a run failed."""

    @property
    def can_go_on(self) -> bool:
        """Whether nothing but the number of epochs ended the run."""
        return self.status == "completed" and not self.stopped_early

    @property
    def shortfall(self) -> str | None:
        """Set for a run that diverged or failed."""
        why = f": {self.error}" if self.error else ""
        return f"the run {self.status}{why}" if self.status in ("diverged", "failed") else None

    def without_layers(self) -> RunSummary:
        """The same without the norms of single layers, which are most of it."""
        norms = self.weights.model_copy(update={"per_layer": {}})
        return self.model_copy(update={"weights": norms})


class Scores(Result):
    """How well predictions agree with the targets of new data."""

    examples: int
    metrics: dict[str, float]
    """`loss` and `accuracy`, or `mse`, `mae` and `r2` on the original scale."""


class MeanInterval(Result):
    """A mean and its 95% interval; without an interval where the values allow none."""

    mean: float
    """On the scale `log` the geometric mean."""
    low: float | None
    high: float | None
    scale: Scale = "linear"


class MetricInterval(MeanInterval):
    """A metric over the replicates of a cell."""

    arithmetic_mean: float | None = None
    """Whatever the scale; None in files of versions before 0.3."""
    values: list[float]
    """One value per replicate, in the order of their seeds."""


class CellSummary(Result):
    """A cell: one setting, trained with several seeds. `compare --json` is a list of them."""

    params: dict[str, Any]
    """Dotted key → value, of the keys that differ between the cells."""
    seeds: Count
    metrics: dict[str, MetricInterval]
    runs: list[RunSummary] = Field(default_factory=list)
    """The finished runs by seed, in `compare --json` only."""


class BestCell(Result):
    """The cell with the best mean of the selecting metric."""

    params: dict[str, Any]
    metric: str
    selected_on: str
    """The split that the metric was measured on."""
    not_distinguishable: list[dict[str, Any]]
    """The cells that are not distinguishable from it, best first."""
    seeds_to_settle: list[Count | None] = Field(default_factory=list)
    """For each of them the seeds with which it probably would be; None: more than 1,000, or no
    seed changes anything."""


class SweepSummary(Listing):
    """A sweep: `sweep --json` and a sweep's `summary.json`."""

    sweep_dir: str
    runs: Count
    completed: Count
    diverged: Count
    failed: Count
    pruned: Count
    unfinished: Count
    cells: list[CellSummary]
    best: BestCell | None
    """None when no cell has the metric."""
    vary: list[Varied] = ["seed"]
    """What differs between the replicates of a cell: `seed`, `data`, or both."""
    saved: Count | None = None
    """Runs that a race did not have to train; None without a race."""
    confirmation: list[CellSummary] | None = None
    """The finalists, best first, on the fresh replicates of `sweep.confirm` alone; None without."""
    data: DataCard | None = None
    """None when the runs do not share their data; each run's summary has its own. Where `vary` has
    `data`, that of the first draw."""
    seconds: Seconds

    @property
    def shortfall(self) -> str | None:
        """Set when some runs diverged, failed or were left unfinished."""
        return _shortfall(self.runs, self.diverged, self.failed, self.unfinished)


class StackPlan(Result):
    """What one stack of a planned sweep needs."""

    members: int
    steps: int
    """Of one member."""
    memory_bytes: int
    seconds: float
    """A rough guess for one CPU core."""


class NodePlan(Result):
    """A machine of a cluster, for a planned sweep."""

    name: str
    cpus: float
    gpus: float
    memory_bytes: int
    """What Ray lets tasks use."""
    slots: int
    """Stacks that it trains at once."""


class ClusterPlan(Result):
    """How the stacks of a planned sweep would be spread over a Ray cluster as it is now."""

    nodes: list[NodePlan]
    slots: int
    """Stacks that are trained at once."""
    rounds: int
    """Stacks that a slot trains one after the other, at most."""
    seconds: float
    """A rough guess until the end."""


class SweepPlan(Result):
    """What `sweep --dry-run --json` prints."""

    runs: int
    cells: int
    confirmation: int = 0
    """Runs that `sweep.confirm` adds, at most."""
    stacks: list[StackPlan]
    """The stacks; of a search, those of its first round."""
    seconds: float
    test_examples_bytes: int = 0
    """What all runs store of their test examples, with `training.test_examples`."""
    notes: list[str] = []
    """What a user should know about how the runs are computed."""
    histograms_bytes: int = 0
    """What all runs store of histograms, roughly, with `training.histograms_every`."""
    cluster: ClusterPlan | None = None
    """With the executor `ray`."""


class LayerSummary(Result):
    """A layer of a model, with the shape of its output for one example."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


class ModelTable(Result):
    """The layers of a model in the order in which they run."""

    layers: list[LayerSummary]
    parameters: int


class ParameterSummary(Result):
    """What acts on one parameter, and why."""

    name: str
    shape: tuple[int, ...]
    role: str
    decay: float
    """The weight decay that acts on it."""
    decay_kind: str
    penalties: list[dict[str, str | float]]
    constraints: list[dict[str, str | float]]
    reason: str


class Inspection(Result):
    """What `inspect --json` prints."""

    config: dict[str, Any]
    runs: int
    model: ModelTable
    parameters: list[ParameterSummary]
    update_rule: str
    memory_bytes: int
    data: DataCard
    notes: list[str]

    def __repr__(self) -> str:
        """One line: the model, the data and the memory."""
        return (
            f"<Inspection: {len(self.model.layers):,} layers, {self.model.parameters:,} parameters,"
            f" {self.data.dataset} ({self.data.task}), {self.memory_bytes / 2**20:.1f} MiB>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the layers, the update rule and the notes."""
        rows = "".join(
            f"<tr><th>{escape(escaped_name(each.name))}</th><td>{escape(escaped_name(each.kind))}"
            f"</td><td>{' × '.join(map(str, each.output_shape))}</td><td>{each.parameters:,}</td>"
            "</tr>"
            for each in self.model.layers
        )
        heads = "".join(f"<th>{name}</th>" for name in ("layer", "kind", "output", "parameters"))
        notes = "".join(f"<li>{escape(escaped_name(note))}</li>" for note in self.notes)
        return (
            f"<p>{escape(escaped_name(repr(self)))}</p><table><tr>{heads}</tr>{rows}</table>"
            f"<pre>{escape(escaped(self.update_rule))}</pre><ul>{notes}</ul>"
        )


class Difference(MeanInterval):
    """The mean paired difference over shared replicates, its 95% interval and p-value.

    On the scale `log` it is a ratio: no difference is 1.
    """

    p: float | None
    n: int
    adjusted_p: float | None = None
    """p, so that all statements that are made together have one error; None: no statement."""

    @property
    def is_certain(self) -> bool:
        """Whether there is a difference, at 5% for all that is stated together."""
        return self.adjusted_p is not None and self.adjusted_p <= 0.05

    @property
    def none(self) -> float:
        """The value that says no difference: 0, of a ratio 1."""
        return 1.0 if self.scale == "log" else 0.0


class Effect(Result):
    """What one ingredient does to the metric: a difference, or on the scale `log` a ratio."""

    ingredient: str
    left_out: Difference
    """All ingredients minus all but this one."""
    alone: Difference
    """This ingredient alone minus none."""
    interaction: Difference
    """`left_out` minus `alone`, or their ratio."""
    interacts: bool
    """Whether the interaction is certain."""


class AblationResult(SweepSummary):
    """What `ablate --json` prints: the sweep behind it, and the effects."""

    metric: str
    ingredients: list[str]
    effects: list[Effect]


class StudySummary(Result):
    """A study that is listed, or was interrupted: `list runs --json`, `path --json`."""

    study_dir: str
    study: Literal["ablate", "path", "reproduce"]
    """The verb that began it."""
    status: Literal["completed", "running", "interrupted"]


class BestStrength(Result):
    """The strengths that cross-validation names."""

    strength: float
    """The one of lowest mean loss."""
    one_standard_error: float
    """The largest within one standard error of it."""


class PathResult(Listing):
    """A regularization path: `path --json` and a path's `summary.json`."""

    path_dir: str
    strengths: list[NonNegative]
    """Falling."""
    coefficients: list[list[float]] | list[list[list[float]]]
    """For each strength (features,), or (outputs, features) with several outputs."""
    intercepts: list[float] | list[list[float]]
    nonzeros: list[Count]
    feature_names: list[str]
    metrics: dict[str, list[float]]
    """Metric → its value at each strength."""
    best: BestStrength
    notes: list[str] = Field(default_factory=list)
    """What a user should know about the choice."""
    converged: bool
    data: DataCard | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    """`regrun`, `torch` and `python`; empty in files of versions before 0.3."""


class Estimate(MeanInterval):
    """A mean over seeds and its 95% interval."""

    n: int


class Judgement(Result):
    """A published claim and what we found."""

    claim: str
    published: str
    ours: Estimate | str | None
    """None when nothing was measured."""
    verdict: Verdict | None
    """None for what is shown and not judged."""
    agreeing: list[float | None] | None = None
    """The ends of the range in which our number agrees; None where it has no end, or where the
    claim is no range."""


class MethodSummary(CellSummary):
    """A method of a reproduction: the cell that stands for it, and what validation chose."""

    name: str
    tuned: dict[str, Any]
    at_edge: list[str] = Field(default_factory=list)
    """Keys of chosen numbers that are the smallest or largest of those tried."""


class ReproductionResult(Result):
    """What `reproduce --json` prints."""

    name: str
    title: str
    source: str
    budget: str
    published_budget: str
    remark: str
    verdict: Verdict
    claims: list[Judgement]
    methods: list[MethodSummary]
    runs_in: list[str]
    """The directories of the sweeps and paths behind it."""
    seconds: float
    runs: int
    completed: int
    diverged: int
    failed: int

    @property
    def shortfall(self) -> str | None:
        """Set when some runs diverged or failed."""
        return _shortfall(self.runs, self.diverged, self.failed)


class Damage(Result):
    """Something wrong with a stored file."""

    path: str
    problem: str
    repair: Literal["summary", "event files"] | None = None
    """What can be rebuilt from the other files, if anything."""
    repaired: bool = False


class Verification(Result):
    """What `verify --json` prints."""

    runs: int
    sweeps: int
    studies: int
    """Paths, ablations and reproductions; the sweeps of the last two count as sweeps too."""
    damage: list[Damage]

    @property
    def remaining(self) -> list[Damage]:
        """What was not repaired."""
        return [each for each in self.damage if not each.repaired]


def _shortfall(runs: int, diverged: int, failed: int, unfinished: int = 0) -> str | None:
    counts = {"diverged": diverged, "failed": failed, "unfinished": unfinished}
    lost = [f"{count:,} {name}" for name, count in counts.items() if count]
    return f"{', '.join(lost)} of {runs:,} runs" if lost else None


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with a stored document: its key, and what."""
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"]) or "the document"
    return f"{key}: {first['msg'].lower()}"


def json_line(value: Any) -> bytes:
    """Any value on one line. NaN and infinities become null, since JSON has neither."""
    return orjson.dumps(value, _plain, orjson.OPT_APPEND_NEWLINE)


def json_document(value: Any) -> bytes:
    """Any value as a document, indented for people; else as `json_line`."""
    return orjson.dumps(value, _plain, orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Result):
        return value.to_dict()
    raise TypeError(f"{type(value).__name__} is not JSON")
