"""Money and moments as integers inside, as text outside: ten-thousandths of a unit, microseconds since the epoch."""

from datetime import UTC, datetime

SCALE = 10_000


def to_units(text: str) -> int:
    """Ten-thousandths of a decimal string with at most four decimals."""
    whole, _, decimals = text.partition(".")
    return int(whole) * SCALE + int(decimals.ljust(4, "0"))


def to_text(units: int) -> str:
    """The decimal string, with two to four decimals."""
    whole, rest = divmod(abs(units), SCALE)
    decimals = f"{rest:04d}"
    shown = decimals if decimals[3] != "0" else decimals[:3] if decimals[2] != "0" else decimals[:2]
    return f"{'-' if units < 0 else ''}{whole}.{shown}"


def to_time(micros: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    moment = datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
