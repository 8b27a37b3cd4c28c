"""Sphinx: the API reference, made from docstrings by `make docs`."""

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.rst import escape

from spark_ctr.stage.base import Stage
from spark_ctr.version import __version__

project = "spark_ctr"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
templates_path = ["_templates"]
exclude_patterns = ["_templates"]
html_theme = "alabaster"
html_theme_options = {"fixed_sidebar": True, "page_width": "1140px", "sidebar_width": "280px"}
html_show_copyright = False
html_show_sourcelink = False
add_module_names = False
toc_object_entries = False
autodoc_typehints = "signature"
autosummary_generate = True
autosummary_imported_members = True  # a package documents what it exports, not its modules
autosummary_ignore_module_all = False
napoleon_google_docstring = False
# Lists, since fields of Sphinx take one name each: "rows, positives : int" has two.
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_param = False


def skip_member(
    app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out what Spark ML and torch document, and accessors, which the Params' table covers."""
    function = getattr(member, "fget", None) or getattr(member, "func", None) or member
    foreign = not (getattr(function, "__module__", None) or "").startswith("spark_ctr")
    accessor = getattr(function, "__module__", None) == Stage.__module__ and name != "setParams"
    return True if what == "class" and (foreign or accessor) else None


def keep_colon(
    app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]
) -> None:
    """Keep napoleon from taking what is before a colon in a property's first line for its type."""
    if what == "property":
        lines[:0] = ["..", ""]  # an empty comment


def add_params(
    app: Sphinx, what: str, name: str, member: Any, options: Any, lines: list[str]
) -> None:
    """Add the table of a stage's Params, which no docstring repeats, to its class."""
    if what != "class" or not issubclass(member, Stage) or not member._declared():
        return
    defaults = member._defaults()
    lines += ["", ".. list-table:: Params, each with accessors ``get…`` and ``set…``"]
    lines += ["   :header-rows: 1", "   :widths: 20 60 20", ""]
    lines += ["   * - Param", "     - meaning", "     - default"]
    for param in sorted(member._declared().values(), key=lambda found: found.name):
        default = f"``{defaults[param.name]!r}``" if param.name in defaults else "unset"
        lines += [f"   * - ``{param.name}``", f"     - {escape(param.doc)}", f"     - {default}"]


def shorten_signature(
    app: Sphinx, what: str, name: str, member: Any, *rest: Any
) -> tuple[str, str] | None:
    """Leave the Params of a stage to their table."""
    return ("(**Params)", "") if what == "class" and issubclass(member, Stage) else None


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", keep_colon, priority=400)  # napoleon comes at 500
    app.connect("autodoc-process-docstring", add_params)
    app.connect("autodoc-process-signature", shorten_signature)
