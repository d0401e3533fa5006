"""The Jinja templates of HTML pages, each in the `templates/` folder of the room that fills it in."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def html_template(package: str, name: str) -> Template:
    """The template `name` of a package; what it is given is escaped, and what it is not given is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
