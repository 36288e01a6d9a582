"""What a benchmark runs: losses × data sets × seeds, and the search of the temperature."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.losses import LOSSES
from core.losses.catalog import temperature
from core.losses.parameters import Value
from core.runs import RunConfig

FACTORS = (1 / 6, 1 / 3, 2 / 3, 1.0, 5 / 3, 10 / 3)  # of the default: τ = 0.05, 0.1, 0.2, 0.3, 0.5, 1
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
        """The parameter that plays the part of τ."""
        return temperature(self.loss, self.params)

    def candidates(self) -> list[float]:
        """Values of the search: the same multiples of the default for every loss."""
        default = next(p.default for p in LOSSES[self.loss].parameters if p.name == self.temperature)
        return [float(f"{float(default) * factor:.4g}") for factor in FACTORS]

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
        each = len(self.seeds) + (len(FACTORS) * self.search_seeds if self.tune else 0)
        return len(self.roots) * len(self.methods) * each


def identity(config: RunConfig) -> str:
    """Equal for configurations with the same outcome, wherever the images are: summaries do not say."""
    return config.model_copy(update={"data_root": None}).identity


def split_name(config: RunConfig, place: str = "") -> str:
    """Name of the split that all losses share at a seed; `place` tells a person's own folders apart."""
    return " ".join(part for part in (config.dataset, place, str(config.seed)) if part)
