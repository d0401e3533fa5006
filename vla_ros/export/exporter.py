"""A trained policy to a policy bundle, with proof that the graph answers as torch does."""

import gc
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from vla_ros import bundle, config
from vla_ros.bundle import GRAPH, WEIGHTS, Bundle, GraphInfo
from vla_ros.engines.engine import open_engine, resolve
from vla_ros.engines.policy_runner import GoldenProbe, PolicyRunner
from vla_ros.errors import BundleError
from vla_ros.export import onnx, parity, parity_page
from vla_ros.export.calibration import observe
from vla_ros.export.config import MOST_BUCKETS, ExportConfig
from vla_ros.export.embeddings import write_embeddings
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.linear import find_linear_layers
from vla_ros.export.lowering import Plan, lower
from vla_ros.export.parity import Parity
from vla_ros.export.planning import FLOATS, make_plan
from vla_ros.export.sensitivity import Sensitivity, sweep
from vla_ros.export.trained import TrainedPolicy
from vla_ros.observation import Observation

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
        output: the bundle's folder; one that exists must be a bundle, and is replaced file by file.
        card: Markdown that becomes MODEL_CARD.md; a plain description if None.
        sensitivity: find out which layers, or blocks of them, quantisation hurts, for the report.

    Returns:
        What the manifest says of the graph.

    Raises:
        EngineError: the graph answers otherwise than torch by more than the tolerance; nothing is written.
        BundleError: `output` exists and is no bundle.
        ConfigError: a bucket is too short, or a pattern of `keep` matches no layer.
    """
    if output.exists() and not (output / bundle.MANIFEST).is_file():
        raise BundleError(f"{output}: expected a policy bundle or nothing, got another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    reference = _ask_torch(trained, frames.report)
    with TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as temporary:
        staged = Path(temporary)
        _write_companions(trained, reference.golden, card, staged)
        half = np.float32 if settings.precision == "fp32" else np.float16
        write_embeddings(trained.policy, staged / bundle.EMBEDDINGS, half)
        buckets = choose_buckets(trained, frames, settings)
        kept, found = _write_graph(trained, frames, settings, buckets, staged, sensitivity)
        info = GraphInfo(
            precision=settings.precision,
            compute=settings.compute_dtype,
            buckets=buckets,
            kept=kept,
            tolerance=asdict(settings.allowed),
            parity={},
            checkpoint_sha256=trained.checkpoint_sha256,
            peak_memory_gib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        )
        info = _prove(trained, frames.report, reference, settings, info, staged, found)
        _replace(staged, output)
    return info


def choose_buckets(trained: TrainedPolicy, frames: Frames, settings: ExportConfig) -> tuple[int, ...]:
    """The lengths of text that the bundle runs: each instruction's own, and the longest that the prompt allows.

    Raises:
        ConfigError: the longest bucket of the config is too short for the prompt.
    """
    longest = trained.longest_text
    if settings.buckets is not None:
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
    middle = len(observations) // 2
    golden = GoldenProbe(
        image=observations[middle].image, instruction=observations[middle].instruction, actions=actions[middle]
    )
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
    graph = PolicyGraph(trained.policy, trained.prefix_ids(frames.report[0].instruction))
    is_float = settings.precision in FLOATS
    seen = None if is_float else observe(graph, tqdm(feeds, desc="calibrating", unit="frame"))
    graph.to(DTYPES[settings.compute_dtype])
    with _said("tracing the graph"):
        model = onnx.trace(graph, buckets[-1], settings.opset)
    layers = find_linear_layers(model)
    plan = Plan(layers={}, smoothing={}) if seen is None else make_plan(layers, seen, settings)
    found = None
    if sensitivity is not None and not is_float:
        found = sweep(graph, layers, plan, feeds[:SWEEP_FRAMES], trained.unnormalize, sensitivity)
    with _said("simplifying it"):
        lower(model, layers, plan)
        onnx.simplify(model)
    save(model, staged)
    kept = () if is_float else tuple(layer.name for layer in layers if layer.name not in plan.layers)
    return kept, found


def save(model: ir.Model, folder: Path) -> None:
    """`policy.onnx` and `policy.onnx.data`; weights are computed and written one by one."""
    total = sum(value.const_value is not None for value in model.graph.initializers.values())
    with tqdm(total=total, desc="writing weights", unit="tensor") as bar:
        # every initializer goes into the file beside the graph, so that engines map it and never copy it
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
    trained.policy.to("meta")  # an engine needs the memory now
    gc.collect()
    opened = Bundle.open(staged)
    engine = resolve(settings.engine, info)
    runner = PolicyRunner(opened, open_engine(engine, opened, threads=torch.get_num_threads()))
    bar = tqdm(observations, desc=f"asking {engine}", unit="frame")
    outputs = np.stack([runner.outputs(observation) for observation in bar])
    actions = trained.unnormalize(outputs)
    measured = Parity.measure(reference.outputs, outputs, reference.actions, actions, engine)
    print(parity.table(measured))
    mend = "" if settings.precision in FLOATS else parity.KEEP_LAYERS
    parity.check(measured, settings.allowed, GRAPH, mend)
    info = replace(info, parity=asdict(measured))
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


def _replace(staged: Path, output: Path) -> None:
    output.mkdir(exist_ok=True)
    # the manifest last: until then the old one, if any, refuses the mixture
    for name in (*bundle.REQUIRED_FILES, bundle.MANIFEST):
        (staged / name).replace(output / name)


@contextmanager
def _said(what: str) -> Iterator[None]:
    """A line for work that cannot tell how far it is."""
    print(f"{what} ...", flush=True)
    yield


def describe(trained: TrainedPolicy) -> str:
    """A model card of the bare facts, for a policy that nobody has evaluated yet."""
    parameters = sum(parameter.numel() for parameter in trained.policy.parameters()) / 1e6
    return (
        f"# {trained.contract.name}\n\n"
        f"{trained.contract.backbone}, {parameters:.2f} M parameters, recipe `{trained.contract.recipe}`, "
        f"{trained.description}.\n\n"
        "Not evaluated yet: run `vla-ros eval`.\n"
    )
