"""Numbers as a reader likes them: 18.3k, 2 min 05 s, 4.1 MB."""


def short(value: float | int | str) -> str:
    """Three significant digits with k, M, G; words stay as they are."""
    if isinstance(value, str):
        return value
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def duration(seconds: float | int) -> str:
    """``8.4 s``, ``2 min 05 s`` or ``1 h 07 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(size_bytes: float | int) -> str:
    """Bytes in the decimal units that disks are sold in."""
    for unit, letter in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.3g} {letter}"
    return f"{size_bytes:.0f} bytes"


def share(part: float | int, whole: float | int) -> str:
    """A percentage with one digit after the point."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
