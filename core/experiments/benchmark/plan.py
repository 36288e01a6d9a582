"""What a benchmark runs: losses × data sets × seeds, and the search of the temperature."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.losses import LOSSES, spec_of
from core.losses.make import temperature
from core.losses.parameters import Value
from core.runs import RunConfig

# τ of the search, for every loss the same: so wide that no loss is best at an edge
GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0)
PAPER_TAU = 0.3  # of the paper's baselines; `tau_scale` multiplies it
FIRST_SEARCH_SEED = 1000  # at least; the search uses other seeds than the report
TUNED = "τ tuned on validation"


@dataclass(frozen=True)
class Method:
    """A loss with the parameters that differ from its defaults."""

    loss: str
    params: Mapping[str, Value] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The method as on the command line: `macl:denominator=own`."""
        return ":".join([self.loss, *(f"{name}={value}" for name, value in self.params.items())])

    @property
    def temperature(self) -> str:
        """The parameter that plays the part of τ; empty for a loss that has none."""
        return temperature(self.loss, self.params)

    def candidates(self) -> list[float]:
        """Values of the search: `GRID`, or for a scale of τ the multiples of 0.3 that give the same.

        Of a person's own loss those that it allows; none, and so no search, if it has no temperature.
        """
        unit = PAPER_TAU if self.temperature == "tau_scale" else 1.0
        parameters = [p for p in spec_of(self.loss).parameters if p.name == self.temperature]
        values = [float(f"{tau / unit:.4g}") for tau in GRID]
        return [value for p in parameters if p.kind == "float" for value in values if p.allows(value)]

    def at(self, value: float) -> "Method":
        """The same method at this temperature."""
        return Method(self.loss, {**self.params, self.temperature: value})


ALL_METHODS = (*(Method(key) for key in LOSSES), Method("macl", {"denominator": "own"}))


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        preset: instant, quick or paper.
        roots: Data sets, each with its folder or archive; None: the default place.
        methods: The losses.
        seeds: Seeds of the report. A seed fixes split, initialisation, order and augmentation for every loss.
        fields: Fields of the configuration that differ from the preset.
        tune: Whether to search the temperature of every loss on the validation split first.
        search_seeds: Number of seeds per candidate of the search.
        device: Device of every run.
    """

    preset: str
    roots: Mapping[str, str | None]
    methods: tuple[Method, ...] = ALL_METHODS
    seeds: tuple[int, ...] = (0,)
    fields: Mapping[str, Any] = field(default_factory=dict)
    tune: bool = False
    search_seeds: int = 2
    device: str = "auto"

    def config(self, dataset: str, method: Method, seed: int) -> RunConfig:
        """Configuration of one run; MaclError if a field is wrong."""
        return RunConfig.build(
            self.preset,
            dataset=dataset,
            data_root=self.roots[dataset],
            loss=method.loss,
            params=dict(method.params),
            seed=seed,
            device=self.device,
            **{"embed_every": 0, **self.fields},  # nobody watches hundreds of spaces form
        )

    def search(self, dataset: str) -> Iterator[tuple[Method, float, RunConfig]]:
        """Runs of the search on one data set: method, candidate, configuration."""
        first = max(FIRST_SEARCH_SEED, max(self.seeds) + 1)
        for seed in range(first, first + self.search_seeds):
            for method in self.methods:
                for value in method.candidates():
                    yield method, value, self.config(dataset, method.at(value), seed)

    def report(self, dataset: str, chosen: Iterable[Method]) -> Iterator[RunConfig]:
        """Runs of the report on one data set, seed by seed, so that a first complete table is there early."""
        chosen = tuple(chosen)
        for seed in self.seeds:
            for method in chosen:
                yield self.config(dataset, method, seed)

    @property
    def study(self) -> str:
        """What tells its rows from those of a benchmark without a search, in words; empty without one."""
        return TUNED if self.tune else ""

    @property
    def runs(self) -> int:
        """Number of runs, including those of the search."""
        searched = sum(len(method.candidates()) for method in self.methods) if self.tune else 0
        return len(self.roots) * (len(self.methods) * len(self.seeds) + searched * self.search_seeds)


def identity(config: RunConfig) -> str:
    """Equal for configurations with the same outcome, wherever the images are: summaries do not say."""
    return config.model_copy(update={"data_root": None}).identity


def split_name(config: RunConfig, place: str = "") -> str:
    """Name of the split that all losses share at a seed; `place` tells a person's own folders apart."""
    return " ".join(part for part in (config.dataset, place, str(config.seed)) if part)
