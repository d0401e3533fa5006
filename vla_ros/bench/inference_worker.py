"""One row of the inference benchmark, in a process of its own: `python -m vla_ros.bench.inference_worker SPEC`.

It reads requests and writes answers, one JSON object a line; whatever libraries print goes to stderr.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from vla_ros.bench.roofline import Meter, Work, graph_work
from vla_ros.bundle import Bundle, Precision
from vla_ros.engines.engine import Engine, open_engine
from vla_ros.engines.policy_runner import GoldenProbe, PolicyRunner
from vla_ros.errors import EngineError, VlaRosError
from vla_ros.export.random_frames import random_frames
from vla_ros.observation import Observation
from vla_ros.processing.image import prepare_image
from vla_ros.processing.normalization import ActionNormalizer

METER = "meter"
"""In place of an engine: measures the machine."""
WARM_BELOW_S = 0.25
"""A pass that takes less is done once untimed before: others had the caches meanwhile, which longer ones fill anew."""
STAGE_REPEATS, STAGE_LIMIT_S = 20, 10.0
"""How often the stages are measured, and for how long at most; once at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a worker is.

    Attributes:
        engine: METER, `torch_eager`, `torch_compile` or an engine of bundles.
        precision: of torch's weights.
        threads: of one forward pass; as many cores are the worker's only ones.
        cores: their numbers.
        config, seed: of random weights, for torch.
        bundle: for engines.
        frames, frames_seed: random ones; no frames take the bundle's golden observation.
    """

    engine: str
    precision: Precision
    threads: int
    cores: tuple[int, ...]
    config: str | None = None
    seed: int = 0
    bundle: str | None = None
    frames: int = 0
    frames_seed: int = 0


Pass = Callable[[Observation], NDArray[np.float32]]


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A policy that can be asked.

    Attributes:
        infer: from an observation to model outputs [chunk_size, 7].
        frames: to ask about.
        work: of a pass on the first frame.
        stages: durations by stage [s]; empty where the policy is one piece.
        golden: torch's answer to the only frame, float32 [chunk_size, 7] in model units.
    """

    infer: Pass
    frames: list[Observation]
    work: Work
    stages: Callable[[], dict[str, list[float]]]
    golden: NDArray[np.float32] | None = None


class TimedEngine:
    """An engine that knows how long its last pass took [s]."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.elapsed_s = 0.0
        self.tokens = 0

    def infer(
        self, pixel_values: NDArray[np.float32], text_embeds: NDArray[np.float32], query_index: int
    ) -> NDArray[np.float32]:
        """See `Engine.infer`."""
        started = time.perf_counter()
        outputs = self._engine.infer(pixel_values, text_embeds, query_index)
        self.elapsed_s = time.perf_counter() - started
        self.tokens = text_embeds.shape[1]
        return outputs


def load_bundle(spec: WorkerSpec) -> Loaded:
    """Open a bundle with the engine that the spec names.

    Raises:
        BundleError, EngineError: as `PolicyRunner.open`.
    """
    assert spec.bundle is not None
    bundle = Bundle.open(Path(spec.bundle))
    engine = TimedEngine(open_engine(spec.engine, bundle, spec.threads))
    runner = PolicyRunner(bundle, engine)
    frames, golden = random_frames(spec.frames, spec.frames_seed, bundle.contract.camera), None
    normalizer = ActionNormalizer(bundle.statistics, bundle.contract.arm_bounds, bundle.contract.recipe)
    if not frames:
        probe = GoldenProbe.from_bytes(bundle.read("golden.npz"), str(bundle.path / "golden.npz"))
        frames = [Observation(image=probe.image, instruction=probe.instruction, stamp_ns=0)]
        golden = normalizer.normalize(probe.actions)
    runner.outputs(frames[0])
    return Loaded(
        infer=runner.outputs,
        frames=frames,
        work=graph_work(bundle, engine.tokens),
        stages=lambda: _stages(runner, engine, normalizer, frames),
        golden=golden,
    )


def _stages(
    runner: PolicyRunner, engine: TimedEngine, normalizer: ActionNormalizer, frames: list[Observation]
) -> dict[str, list[float]]:
    """What a pass through `PolicyRunner` consists of, by stage [s]."""
    frame, other = frames[0], frames[-1].instruction
    stages: dict[str, list[float]] = {
        name: [] for name in ("image", "prompt (new)", "prompt (cached)", "engine", "unnormalize", "all")
    }
    outputs = np.zeros((runner.contract.chunk_size, 7), np.float32)
    deadline = time.perf_counter() + STAGE_LIMIT_S
    for _ in range(STAGE_REPEATS):
        if stages["all"] and time.perf_counter() > deadline:
            break
        # another instruction in between is what makes this one new; a space more, where there is no other
        runner.admit_instruction(other if other != frame.instruction else f"{other} ")
        stages["prompt (new)"].append(_seconds(lambda: runner.admit_instruction(frame.instruction)))
        stages["prompt (cached)"].append(_seconds(lambda: runner.admit_instruction(frame.instruction)))
        stages["image"].append(_seconds(lambda: prepare_image(frame.image, runner.contract.image)))
        stages["all"].append(_seconds(lambda: runner.predict(frame)))
        stages["engine"].append(engine.elapsed_s)
        stages["unnormalize"].append(_seconds(lambda: normalizer.unnormalize(outputs)))
    return stages


def load_torch(spec: WorkerSpec) -> Loaded:
    """`VLAPolicy` with random weights, as a user of torch would run it.

    It reads the whole prompt, as long as the longest of the frames' without padding: one shape, so that it is compiled
    once.

    Raises:
        ConfigError: as `random_policy`.
        EngineError: it cannot be compiled.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vla_ros import config as yaml_config
    from vla_ros.export.random_policy import random_policy
    from vla_ros.train.config import PolicyConfig

    assert spec.config is not None
    torch.set_num_threads(spec.threads)
    dtype = torch.bfloat16 if spec.precision == "bf16" else torch.float32
    trained = random_policy(yaml_config.load(Path(spec.config), PolicyConfig), seed=spec.seed)
    policy = trained.policy.requires_grad_(False).to(dtype)
    _forget_peak()
    frames = random_frames(spec.frames, spec.frames_seed)
    prompts = {frame.instruction: trained.encoder.encode(frame.instruction) for frame in frames}
    length = max(prompt.query_index for prompt in prompts.values()) + trained.contract.action_queries

    def inputs(frame: Observation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        prompt = prompts[frame.instruction]
        pixels = torch.from_numpy(prepare_image(frame.image, trained.contract.image)).to(dtype)
        return pixels, torch.from_numpy(prompt.input_ids[None, :length]), torch.tensor([prompt.query_index])

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        policy(*inputs(frames[0]))
    words: Any = policy.backbone.word_embeddings
    held = sum(parameter.numel() for parameter in policy.parameters()) - words.weight.numel()
    run: Any = torch.compile(policy) if spec.engine == "torch_compile" else policy

    def infer(frame: Observation) -> NDArray[np.float32]:
        with torch.inference_mode():
            output: torch.Tensor = run(*inputs(frame))
        return cast("NDArray[np.float32]", output[0].float().numpy())

    try:
        infer(frames[0])
    except Exception as error:  # inductor's errors share no base class
        reason = " ".join(str(error).split())[:400]
        raise EngineError(f"{spec.engine}: expected a policy that compiles, got: {reason}") from error
    return Loaded(
        infer=infer,
        frames=frames,
        work=Work(flops=float(counter.get_total_flops()), weight_bytes=float(held * dtype.itemsize)),
        stages=dict,
    )


def _forget_peak() -> None:
    """Count the peak from here on, if Linux lets us: drawing weights in fp32 is no part of running them."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _seconds(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


class PolicyWorker:
    """Answers for one loaded policy."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._last_s = 0.0

    def ready(self) -> dict[str, Any]:
        """What the benchmark needs to know of the policy."""
        golden = self._loaded.golden
        return {"work": asdict(self._loaded.work), "golden": None if golden is None else golden.tolist()}

    def time(self, frame: int) -> dict[str, Any]:
        """One pass [s]."""
        observation = self._loaded.frames[frame]
        if self._last_s < WARM_BELOW_S:
            self._loaded.infer(observation)
        self._last_s = _seconds(lambda: self._loaded.infer(observation))
        return {"elapsed_s": self._last_s}

    def answer(self, frame: int) -> dict[str, Any]:
        """Model outputs [chunk_size][7]."""
        return {"outputs": self._loaded.infer(self._loaded.frames[frame]).tolist()}

    def stages(self) -> dict[str, Any]:
        """Durations by stage [s]."""
        return {"stages": self._loaded.stages()}


class MeterWorker:
    """Answers what the machine can do."""

    def __init__(self, threads: int) -> None:
        self._meter = Meter(threads)

    def ready(self) -> dict[str, Any]:
        """Nothing more to know."""
        return {}

    def measure(self) -> dict[str, Any]:
        """All limits, as they are now."""
        return {"limits": asdict(self._meter.measure())}


def load(spec: WorkerSpec) -> PolicyWorker | MeterWorker:
    """The worker of a spec."""
    if spec.engine == METER:
        return MeterWorker(spec.threads)
    return PolicyWorker(load_torch(spec) if spec.engine.startswith("torch_") else load_bundle(spec))


def serve(spec: WorkerSpec, requests: TextIO, answers: TextIO) -> None:
    """Load, say so, then answer until there are no more requests; an error that the user can mend is an answer."""

    def reply(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        worker = load(spec)
        reply(worker.ready())
        for line in requests:
            request = json.loads(line)
            reply(getattr(worker, request.pop("do"))(**request))
    except VlaRosError as error:
        reply({"error": str(error)})


def _main() -> None:
    spec = WorkerSpec(**json.loads(sys.argv[1]))
    os.sched_setaffinity(0, spec.cores)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(spec, sys.stdin, answers)


if __name__ == "__main__":
    _main()
