"""Memory per GPU of a training run, computed before anything is loaded.

Weights, gradients and optimizer follow from the sizes of the real modules on torch's meta device (`sharding.py`);
activations are counted by running these modules forward and backward on tensors without data (`activations.py`), at the
batch of one process and with the longest prompt that the config admits. Validation needs less.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from vla_ros.train import parallel, sharding
from vla_ros.train.activations import PassMemory
from vla_ros.train.config import TrainConfig
from vla_ros.train.parallel import Parallel
from vla_ros.train.shapes import build_on_meta, count_passes
from vla_ros.train.sharding import Part, Sizes

GIB = 2**30
CONTEXT_BYTES = 3 * GIB // 2
"""CUDA's context, cuBLAS' workspaces and NCCL's buffers: a rule of thumb."""
FRAGMENTATION = 0.05
"""Share of everything that CUDA's allocator loses between its blocks: a rule of thumb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Memory of one process.

    Attributes:
        config, launch: what is planned.
        sizes: numbers of parameters.
        samples: of one forward and backward pass of one process.
        states: what is there from the first step to the last.
        moments: what comes on top, by the moment of an update; the largest sum counts.
        margin: what no tensor shows.
    """

    config: TrainConfig
    launch: Parallel
    sizes: Sizes
    samples: int
    states: tuple[Part, ...]
    moments: dict[str, tuple[Part, ...]]
    margin: tuple[Part, ...]

    @property
    def worst(self) -> str:
        """The moment with the largest sum."""
        return max(self.moments, key=lambda name: _sum(self.moments[name]))

    @property
    def total_bytes(self) -> int:
        """The most that the process needs at once."""
        return _sum(self.states) + _sum(self.moments[self.worst]) + _sum(self.margin)

    @property
    def host(self) -> Part:
        """What each machine needs beside its GPUs when the run begins: every process first builds the whole model."""
        processes = self.launch.processes // self.launch.machines
        copies = 1 if self.config.optimizer.ema_decay is None else 2
        return Part(
            name="host memory of one machine, while models are built",
            bytes=processes * copies * sharding.FLOAT32 * self.sizes.all,
            how=f"{processes * copies} x {self.sizes.all / 1e6:.1f} M x {sharding.FLOAT32} B",
        )

    def text(self, gpu_memory_gib: float | None = None) -> str:
        """A table for a person; with the size of the GPU also whether it fits, and what to change if it does not."""
        lines = [*self._heading(), ""]
        for title, parts in (("all the time", self.states), *self.moments.items(), ("margin", self.margin)):
            if parts:
                mark = "  <- the largest of these moments" if title == self.worst and len(self.moments) > 1 else ""
                lines.append(_line(title, _sum(parts), mark))
                lines += [_line(f"  {part.name}", part.bytes, part.how) for part in parts]
        lines += ["", _line("total of one process", self.total_bytes)]
        if self.config.device == "cuda":
            lines.append(_line(self.host.name, self.host.bytes, self.host.how))
        if gpu_memory_gib is not None:
            lines += self._verdict(gpu_memory_gib)
        return "\n".join(lines)

    def _heading(self) -> list[str]:
        sizes, optimizer = self.sizes, self.config.optimizer
        passes = f" in {optimizer.accumulation_steps} passes" if optimizer.accumulation_steps > 1 else ""
        recomputed = self.config.gradient_checkpointing or self.launch.recomputes
        return [
            f"{self.config.name}: {sizes.all / 1e6:.1f} M parameters, {sizes.trained / 1e6:.1f} M of them trained, "
            f"{self.config.precision}; {self.launch.text}",
            f"{optimizer.batch_size} samples an update{passes}, {self.samples} a pass and process; "
            f"activations {'recomputed' if recomputed else 'kept'}",
        ]

    def _verdict(self, gpu_memory_gib: float) -> list[str]:
        spare = gpu_memory_gib - self.total_bytes / GIB
        if spare >= 0:
            return [f"fits into {gpu_memory_gib:g} GiB, {spare:.1f} GiB to spare"]
        lines = [f"does not fit into {gpu_memory_gib:g} GiB, {-spare:.1f} GiB too much; one by one this would give:"]
        lines += [_line(f"  {change}", other.total_bytes) for change, other in self.alternatives()]
        return lines

    def alternatives(self) -> Iterator[tuple[str, "Plan"]]:
        """Plans that differ in one thing and need less, with the name of that thing."""
        config, launch = self.config, self.launch
        candidates: list[tuple[str, TrainConfig, Parallel]] = []
        if not (config.gradient_checkpointing or launch.recomputes):
            candidates.append(("gradient_checkpointing: true", replace(config, gradient_checkpointing=True), launch))
        if self.samples % 2 == 0:
            steps = 2 * config.optimizer.accumulation_steps
            optimizer = replace(config.optimizer, accumulation_steps=steps)
            candidates.append((f"optimizer.accumulation_steps: {steps}", replace(config, optimizer=optimizer), launch))
        if config.precision == "fp32":
            candidates.append(("precision: bf16", replace(config, precision="bf16"), launch))
        if launch.strategy == "ddp":
            fsdp = Parallel(
                strategy="fsdp", processes=launch.processes, shards=launch.processes, machines=launch.machines
            )
            candidates.append((fsdp.text, config, fsdp))
        if launch.processes > 1 and self.samples % 2 == 0:
            factor = 2 if launch.shards == launch.processes else 1
            wider = replace(
                launch,
                processes=2 * launch.processes,
                shards=factor * launch.shards,
                machines=2 * launch.machines,
            )
            candidates.append((wider.text, config, wider))
        for change, other, way in candidates:
            plan_ = make(other, way)
            if plan_.total_bytes < self.total_bytes:
                yield change, plan_


def plan(config: TrainConfig, accelerate_config: Path | None = None) -> Plan:
    """The memory of one process of this run; reads neither weights nor data.

    Args:
        accelerate_config: the file that `accelerate launch` will get; None takes how this process was started.

    Raises:
        ConfigError: the batch cannot be shared equally, a size of the model is not known, or the launch is none that
            this project trains with.
    """
    if accelerate_config is None:
        return make(config, parallel.from_environment())
    return make(config, parallel.from_file(accelerate_config))


def make(config: TrainConfig, launch: Parallel) -> Plan:
    """The plan of a run that is started as `launch` says."""
    samples = config.optimizer.samples_per_pass(launch.processes)
    policy = build_on_meta(config)
    layers = launch.layers or parallel.decoder_layers(policy.backbone.model, policy.backbone.language_model)
    sizes = sharding.measure(policy, layers)
    width = 2 if config.precision == "bf16" else 4
    states = tuple(sharding.states(sizes, launch, width, averages=config.optimizer.ema_decay is not None))
    during = sharding.during_passes(sizes, launch, width)
    moments = {
        "forward and backward pass": (*during, *_pass_parts(count_passes(policy, config, launch, samples), config)),
        "end of the backward pass": tuple(sharding.after_passes(sizes, launch, width)),
        "optimizer's step": tuple(sharding.during_update(sizes, launch, width)),
    }
    moments = {name: parts for name, parts in moments.items() if parts}
    needed = _sum(states) + max(_sum(parts) for parts in moments.values())
    return Plan(
        config=config,
        launch=launch,
        sizes=sizes,
        samples=samples,
        states=states,
        moments=moments,
        margin=_margin(needed) if config.device == "cuda" else (),
    )


def _pass_parts(passes: PassMemory, config: TrainConfig) -> list[Part]:
    parts = [
        Part(name="activations", bytes=passes.activations, how="counted"),
        Part(name="temporary tensors", bytes=passes.peak - passes.activations - passes.weight_copies, how="counted"),
        Part(name="batch", bytes=passes.batch, how="counted"),
    ]
    if passes.weight_copies:
        parts.insert(0, Part(name="weights cast by autocast", bytes=passes.weight_copies, how="counted"))
    return parts


def _margin(needed: int) -> tuple[Part, ...]:
    return (
        Part(name="CUDA's context, libraries and communication", bytes=CONTEXT_BYTES, how="rule of thumb"),
        Part(name="fragmentation", bytes=int(FRAGMENTATION * needed), how=f"{FRAGMENTATION:.0%} of the rest"),
    )


def _sum(parts: tuple[Part, ...]) -> int:
    return sum(part.bytes for part in parts)


def _line(title: str, size: int, remark: str = "") -> str:
    return f"{title:<62} {size / GIB:8.3f} GiB   {remark}".rstrip()
