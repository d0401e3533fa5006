"""A trained policy to a policy bundle, with proof that the graph answers as torch does."""

import gc
import platform
import resource
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from vla_ros import bundle, config
from vla_ros.action import ARM_DIM
from vla_ros.bundle import GRAPH, WEIGHTS, Bundle, GraphInfo
from vla_ros.engines.engine import open_engine, resolve
from vla_ros.engines.policy_runner import GoldenProbe, PolicyRunner
from vla_ros.errors import ConfigError, EngineError
from vla_ros.export import onnx, parity, parity_page
from vla_ros.export.calibration import Feed, observe
from vla_ros.export.config import MOST_BUCKETS, ExportConfig
from vla_ros.export.embeddings import write_embeddings
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import find_linear_layers
from vla_ros.export.lowering import Plan, lower
from vla_ros.export.parity import Parity
from vla_ros.export.planning import FLOATS, make_plan
from vla_ros.export.sensitivity import Sensitivity, sweep
from vla_ros.export.staging import check_replaceable, staging
from vla_ros.export.trained import TrainedPolicy
from vla_ros.observation import Observation
from vla_ros.policies.vla_policy import VLAPolicy

TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "tokenizers", "numpy")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SWEEP_FRAMES = 2
SweepBy = Literal["layer", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Real frames: what ranges are found on, and what is reported."""

    calibration: list[Observation]
    report: list[Observation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Torch's answers in fp32 to the frames of the report, float32 [frames, chunk_size, 7], and the golden one."""

    outputs: NDArray[np.float32]
    actions: NDArray[np.float32]
    golden: GoldenProbe


def export_bundle(
    trained: TrainedPolicy,
    frames: Frames,
    settings: ExportConfig,
    output: Path,
    card: str | None,
    sensitivity: SweepBy | None = None,
) -> GraphInfo:
    """Write a bundle, complete or not at all. The policy is used up: it answers through its graph alone afterwards.

    Args:
        output: the bundle's folder; one that exists must be a bundle, and is replaced as a whole.
        card: Markdown that becomes MODEL_CARD.md; a plain description if None.
        sensitivity: find out which layers, or blocks of them, quantisation hurts, for the report.

    Returns:
        What the manifest says of the graph.

    Raises:
        EngineError: the graph answers otherwise than torch by more than the tolerance; nothing is written.
        BundleError: `output` exists and is no bundle.
        ConfigError: a bucket fits no prompt, a pattern of `keep` no layer, or a sweep no precision.
    """
    if sensitivity is not None and settings.precision in FLOATS:
        raise ConfigError(f"--sensitivity: expected int8, int4 or fp8, got {settings.precision}, which rounds no layer")
    buckets = choose_buckets(trained, frames, settings)
    check_replaceable(output)
    reference = _ask_torch(trained, frames.report)
    with staging(output) as staged:
        _write_companions(trained, reference.golden, card, staged)
        half = np.float32 if settings.precision == "fp32" else np.float16
        write_embeddings(trained.policy, staged / bundle.EMBEDDINGS, half)
        kept, found = _write_graph(trained, frames, settings, buckets, staged, sensitivity)
        info = GraphInfo(
            precision=settings.precision,
            compute=settings.compute_dtype,
            buckets=buckets,
            kept=kept,
            tolerance=asdict(settings.allowed),
            parity={},
            checkpoint_sha256=trained.checkpoint_sha256,
            calibration_frames=0 if settings.precision in FLOATS else len(frames.calibration),
            peak_memory_gib=0.0,
        )
        return _prove(trained, frames.report, reference, settings, info, staged, found)


def choose_buckets(trained: TrainedPolicy, frames: Frames, settings: ExportConfig) -> tuple[int, ...]:
    """The lengths of text that the bundle runs: each instruction's own, and the longest that the prompt allows.

    Raises:
        ConfigError: a bucket of the config is longer than any prompt, or too short for the ActionQueries.
    """
    longest, queries = trained.longest_text, trained.contract.action_queries
    if settings.buckets is not None:
        if not queries <= min(settings.buckets) <= max(settings.buckets) <= longest:
            raise ConfigError(f"buckets: expected {queries} to {longest} tokens, got {settings.buckets}")
        return tuple(sorted({*settings.buckets, longest}))
    instructions = {frame.instruction for frame in (*frames.calibration, *frames.report)}
    lengths = sorted({trained.text_length(text) for text in instructions} - {longest})
    if len(lengths) >= MOST_BUCKETS:
        picked = np.linspace(0, len(lengths) - 1, MOST_BUCKETS - 1).round().astype(int)
        lengths = [lengths[place] for place in picked]
    return (*lengths, longest)


def _ask_torch(trained: TrainedPolicy, observations: list[Observation]) -> Reference:
    bar = tqdm(observations, desc="asking torch", unit="frame")
    outputs = np.stack([trained.outputs(observation) for observation in bar])
    actions = trained.unnormalize(outputs)
    # the gripper that is nearest to changing its mind stands farthest from it here: no engine's rounding may flip it
    clearest = int(np.abs(outputs[..., ARM_DIM]).min(axis=1).argmax())
    chosen = observations[clearest]
    golden = GoldenProbe(image=chosen.image, instruction=chosen.instruction, actions=actions[clearest])
    return Reference(outputs=outputs, actions=actions, golden=golden)


def _write_companions(trained: TrainedPolicy, golden: GoldenProbe, card: str | None, staged: Path) -> None:
    (staged / "policy.yaml").write_text(config.dumps(trained.contract), encoding="utf-8")
    (staged / "tokenizer.json").write_text(trained.tokenizer_json, encoding="utf-8")
    (staged / "statistics.json").write_text(trained.statistics_json, encoding="utf-8")
    (staged / "golden.npz").write_bytes(golden.to_bytes())
    (staged / "MODEL_CARD.md").write_text(card if card is not None else describe(trained), encoding="utf-8")
    (staged / "parity.html").write_text("not measured yet\n", encoding="utf-8")


def _write_graph(
    trained: TrainedPolicy,
    frames: Frames,
    settings: ExportConfig,
    buckets: tuple[int, ...],
    staged: Path,
    sensitivity: SweepBy | None,
) -> tuple[tuple[str, ...], Sensitivity | None]:
    """`policy.onnx` with its weights; the names of layers that are kept though others are quantised, and the sweep."""
    feeds = [trained.feed(frame) for frame in tqdm(frames.calibration, desc="embedding", unit="frame", leave=False)]
    graph = PolicyGraph(trained.policy, trained.prefix_ids())
    is_float = settings.precision in FLOATS
    seen = None if is_float else observe(graph, tqdm(feeds, desc="calibrating", unit="frame"))
    graph.to(DTYPES[settings.compute_dtype])
    _check_finite(graph, feeds[0], settings)
    print("tracing the graph ...", flush=True)
    model = onnx.trace(graph, buckets[-1], settings.opset)
    layers = find_linear_layers(model)
    plan = Plan(layers={}, smoothing={}) if seen is None else make_plan(layers, seen, settings)
    found = None
    if sensitivity is not None:
        found = sweep(graph, layers, plan, feeds[:SWEEP_FRAMES], trained.unnormalize, sensitivity)
    print("simplifying it ...", flush=True)
    lower(model, layers, plan)
    onnx.simplify(model)
    save(model, staged)
    kept = () if is_float else tuple(layer.name for layer in layers if layer.name not in plan.layers)
    return kept, found


def save(model: ir.Model, folder: Path) -> None:
    """`policy.onnx` and `policy.onnx.data`; weights are computed and written one by one."""
    total = sum(value.const_value is not None for value in model.graph.initializers.values())
    with tqdm(total=total, desc="writing weights", unit="tensor") as bar:
        # but for tiny ones, initializers go into the file beside the graph, which engines map
        ir.save(model, folder / GRAPH, external_data=WEIGHTS, callback=lambda *_: bar.update())
    (folder / WEIGHTS).touch()


def _prove(
    trained: TrainedPolicy,
    observations: list[Observation],
    reference: Reference,
    settings: ExportConfig,
    info: GraphInfo,
    staged: Path,
    found: Sensitivity | None,
) -> GraphInfo:
    """Compare with torch, write the report and seal the folder.

    Raises:
        EngineError: the tolerance is exceeded.
    """
    versions = {tool: version(tool) for tool in TOOLS} | {"python": platform.python_version()}
    bundle.seal(staged, info, versions)
    _release(trained.policy)
    opened = Bundle.open(staged)
    engine = resolve(settings.engine, info)
    runner = PolicyRunner(opened, open_engine(engine, opened, threads=torch.get_num_threads()))
    bar = tqdm(observations, desc=f"asking {engine}", unit="frame")
    outputs = np.stack([runner.outputs(observation) for observation in bar])
    actions = trained.unnormalize(outputs)
    # OpenVINO stores fp16 and computes fp32: what a GPU's own fp16 would add is not in these figures
    label = f"{engine}, computing in fp32" if (engine, info.compute) == ("openvino_cpu", "fp16") else engine
    measured = Parity.measure(reference.outputs, outputs, reference.actions, actions, label)
    print(parity.table(measured))
    parity.check(measured, settings.allowed, GRAPH, _how_to_mend(measured, settings, found))
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    info = replace(info, parity=asdict(measured), peak_memory_gib=round(peak_gib, 2))
    html = parity_page.page(
        measured,
        settings.allowed,
        name=trained.contract.name,
        precision=settings.precision,
        reference_actions=reference.actions,
        actions=actions,
        images=[observation.image for observation in observations],
        instructions=[observation.instruction for observation in observations],
        kept=info.kept,
        sensitivity=found,
    )
    (staged / "parity.html").write_text(html, encoding="utf-8")
    bundle.seal(staged, info, versions)
    runner.check_golden(reference.golden, str(staged / "golden.npz"))
    return info


def _how_to_mend(measured: Parity, settings: ExportConfig, found: Sensitivity | None) -> str:
    """What to do about an export that is too far from torch, for the end of the error."""
    if settings.precision in FLOATS:
        return ""
    if found is None:
        return parity.KEEP_LAYERS
    # the page that would show the sweep goes with the bundle that is refused
    limit_mm = settings.allowed.position_mm * min(1.0, found.together.position_mm / measured.worst("mm"))
    keep = [*settings.keep, *found.suggest_keep(limit_mm)]
    return f"the sweep suggests `keep: [{', '.join(keep)}]` in the export config"


@torch.no_grad()
def _check_finite(graph: PolicyGraph, feed: Feed, settings: ExportConfig) -> None:
    """float16 ends at 65504, and an engine that computes in more bits for the report would not show it.

    Raises:
        EngineError: an answer is not finite.
    """
    if settings.compute_dtype == "fp16" and not bool(torch.isfinite(graph(*feed)).all()):
        raise EngineError("compute: expected finite answers in fp16, got others; bf16 reaches as far as fp32")


def _release(policy: VLAPolicy) -> None:
    """Give the weights' memory to the engine, whoever of torch's exporter still refers to them."""
    gc.collect()
    for parameter in policy.parameters():
        storage = parameter.untyped_storage()
        if storage.resizable():  # not those that are mapped from a file
            storage.resize_(0)


def describe(trained: TrainedPolicy) -> str:
    """A model card of the bare facts, for a policy that nobody has evaluated yet."""
    parameters = sum(parameter.numel() for parameter in trained.policy.parameters()) / 1e6
    return (
        f"# {trained.contract.name}\n\n"
        f"{trained.contract.backbone}, {parameters:.2f} M parameters, recipe `{trained.contract.recipe}`, "
        f"{trained.description}.\n\n"
        "Not evaluated yet: run `vla-ros eval`.\n"
    )
