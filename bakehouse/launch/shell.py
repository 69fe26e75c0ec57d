"""Shell scripts from templates; every value from outside is quoted."""

import shlex
import textwrap

from jinja2 import Environment, PackageLoader, StrictUndefined

WIDTH = 98


def shell_word(text: str) -> str:
    """A word for a shell script in which the script's own variables are expanded.

    Only for texts of ours: paths and names of the user go through `shlex.quote`.
    """
    return f'"{text}"' if "$" in text else shlex.quote(text)


def render_shell(name: str, **values: object) -> str:
    """Render a template of this package."""
    environment = Environment(
        loader=PackageLoader("bakehouse.launch"),
        autoescape=False,  # noqa: S701  # it is no HTML; the filters below quote
        undefined=StrictUndefined,
        # The usual ones are also the shell's: ${#array[@]}.
        comment_start_string="{##",
        comment_end_string="##}",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "quote": shlex.quote,
        "comment": _comment,
        "in_double_quotes": _in_double_quotes,
    }
    return environment.get_template(name).render(**values)


def _comment(text: str) -> str:
    lines = textwrap.wrap(text, WIDTH, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def _in_double_quotes(text: str) -> str:
    for special in '\\"$`}':
        text = text.replace(special, f"\\{special}")
    return text
