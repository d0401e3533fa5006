"""An inspection as one object of plain values; the names are a promise to those who read it by program."""

from typing import Any

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.data.inspection import Inspection
from vla_ros.data.inspection_warnings import Finding

FIELDS = ("min", "q01", "mean", "q99", "max", "std")


def to_json(inspection: Inspection, findings: list[Finding]) -> dict[str, Any]:
    """Figures with their units, warnings, and what was left out."""
    lengths = [episode.steps for episode in inspection.episodes]
    return {
        "source": inspection.source,
        "format": inspection.format,
        "episodes": len(lengths),
        "episodes_total": inspection.total,
        "steps": inspection.steps,
        "hours": inspection.hours,
        "length_steps": {"min": min(lengths), "median": inspection.median_length, "max": max(lengths)},
        "control_rate_hz": inspection.action.control_rate_hz,
        "frame_id": inspection.action.frame_id,
        "rotation": inspection.action.rotation,
        "image_sizes_px": [
            {"width": width, "height": height, "episodes": count}
            for (width, height), count in inspection.images.sizes.items()
        ],
        "actions": {name: _dimension(inspection, index) for index, name in enumerate(ACTION_NAMES)},
        "gripper": {
            "open_share": inspection.open_share,
            "changes_per_episode": inspection.gripper_changes,
            "episodes_with_changes": len(inspection.grasping),
            "of_these_begin_open": sum(episode.begins_open for episode in inspection.grasping),
        },
        "idle_share": inspection.idle_share,
        "instructions": inspection.instructions,
        "warnings": [{"kind": finding.kind, "text": finding.text} for finding in findings],
        "left_out": list(inspection.left_out),
    }


def _dimension(inspection: Inspection, index: int) -> dict[str, Any]:
    values = {field: getattr(inspection.statistics, field)[index] for field in FIELDS}
    is_arm = index < ARM_DIM
    extreme = {"extreme_share": inspection.extreme_shares[index]} if is_arm else {}
    return {"unit": inspection.statistics.units[index], **values, **extreme}
