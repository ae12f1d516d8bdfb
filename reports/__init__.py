"""Results in, documents out."""

from __future__ import annotations

from pathlib import Path

from openbell.reports.html import html
from openbell.reports.junit import junit
from openbell.reports.markdown import markdown
from openbell.reports.material import gather


def write_all(folder: Path) -> None:
    """Writes `report.html`, `junit.xml` and `summary.md` beside `results.json` and `events.jsonl`, which are read.

    The same two files give the same bytes. Without a journal, or with a damaged one, the reports say so and show what
    is left. Raises OSError when `results.json` cannot be read or a report cannot be written.
    """
    material = gather(folder)
    for name, content in (("report.html", html(material)), ("junit.xml", junit(material)),
                          ("summary.md", markdown(material))):
        part = folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)
