"""Run by ``foreign_template`` as a program of its own: renders a stranger's chat template within limits of memory and time.

Reads ``{"template", "chats", "names"}`` from standard input, writes the texts as a JSON list. It imports nothing of ours.
"""

import json
import sys
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY = 512 << 20
SECONDS = 5
MOST_TEXT = 100_000


def main() -> None:
    """Render every chat, or end with an error."""
    _limit()
    asked = json.load(sys.stdin)
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    made.globals.update(raise_exception=_refuse, strftime_now=lambda form: "")
    made.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    template = made.from_string(asked["template"])
    texts = [template.render(messages=chat, add_generation_prompt=True, **asked["names"]) for chat in asked["chats"]]
    if any(len(text) > MOST_TEXT for text in texts):
        sys.exit(1)
    json.dump(texts, sys.stdout)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows: the caller's clock is the only limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def _refuse(message: Any) -> None:
    raise ValueError(message)


if __name__ == "__main__":
    main()
