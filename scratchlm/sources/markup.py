"""Markup made plain."""

import re

ROLE = re.compile(r":(?:[a-z]+:)?[a-z]+:`(?:[^`<]*<)?[~!]?([^`>]+)>?`|`~\.?([\w.]+)`")
NUMBERED_ROLE = re.compile(r":(pep|rfc):`(\d+)`")


def plain_roles(text: str) -> str:
    """``text`` with reStructuredText's roles made plain: :func:`~os.path.join` becomes `os.path.join`, :pep:`8` becomes PEP 8."""
    text = NUMBERED_ROLE.sub(lambda match: f"{match.group(1).upper()} {match.group(2)}", text)
    return ROLE.sub(lambda match: f"`{match.group(1) or match.group(2)}`", text)
