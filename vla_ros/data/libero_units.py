"""LIBERO's units by name, for the simulator that executes them and the expert that thinks in them."""

from vla_ros.data.conventions import LIBERO

TRANSLATION_M_PER_UNIT = LIBERO.m_per_unit
ROTATION_RAD_PER_UNIT = LIBERO.rad_per_unit
CONTROL_RATE_HZ = LIBERO.action.control_rate_hz
FINGER_GAP_OPEN_M = 0.08

si_from_libero = LIBERO.to_si
libero_from_si = LIBERO.from_si
exceeds_units = LIBERO.exceeds_units
