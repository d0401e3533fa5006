import pkgutil
import re

from vla_ros import data


def test_the_overview_names_every_module_and_no_other() -> None:
    overview = data.__doc__ or ""
    modules = {module.name for module in pkgutil.iter_modules(data.__path__)}
    words = set(re.findall(r"\w+", overview))
    assert modules <= words
    named = {word for word in words if "_" in word} - {"vla_ros"}
    assert named <= modules
