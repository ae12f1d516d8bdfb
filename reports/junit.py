"""JUnit XML: one test case for each check and subject, well-formed whatever the target sent.

What was not decided is skipped with its reason, never passed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from openbell.reports.evidence import in_a_line
from openbell.reports.material import Material
from openbell.reports.words import counted, line, rules, verdict_word, visible
from openbell.results import Finding, Result

# A failure and an error count; what is skipped says why; a warning passes and says what was seen.
ELEMENT: Mapping[str, str] = {
    "fail": "failure", "error": "error", "inconclusive": "skipped", "accepted": "skipped", "not-applicable": "skipped",
    "warn": "system-out", "info": "system-out"}
MOST_EVENTS = 12
TALLIED = {"failures": "fail", "errors": "error"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str) -> str:
    """Text without the characters that XML 1.0 forbids."""
    return _FORBIDDEN.sub("", text)


def junit(material: Material) -> bytes:
    """The bytes of `junit.xml`."""
    results = material.results
    root = ET.Element("testsuites", name=clean(f"openbell: {line(results.target)}"))
    areas = dict.fromkeys(r.area for r in results.results)
    for area in areas:
        _suite(root, area, [r for r in results.results if r.area == area], material)
    if results.stale:
        _stale(root, results.stale)
    _tally(root, material)
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suite(root: ET.Element, area: str, results: list[Result], material: Material) -> None:
    suite = ET.SubElement(root, "testsuite", name=clean(area))
    if material.header:
        suite.set("timestamp", clean(line(material.header.started, 40)))
    for result in results:
        _case(suite, result, material)
    skipped = sum(ELEMENT.get(r.verdict) == "skipped" for r in results)
    counts = {"tests": len(results), "skipped": skipped,
              **{name: sum(r.verdict == verdict for r in results) for name, verdict in TALLIED.items()}}
    suite.attrib.update({name: str(count) for name, count in counts.items()})


def _case(suite: ET.Element, result: Result, material: Material) -> None:
    case = ET.SubElement(suite, "testcase", classname=clean(f"openbell.{result.area}"),
                         name=clean(f"{result.check} {line(result.subject, 120)}"), time="0")
    name = ELEMENT.get(result.verdict)
    if name is None:
        return
    element = ET.SubElement(case, name)
    if name != "system-out":
        element.set("message", clean(_message(result)))
    if name in {"failure", "error"}:
        element.set("type", clean(", ".join(rules(result)) or result.verdict)[:500])
    element.text = clean(_told(result, material))


def _message(result: Result) -> str:
    said = f"{result.reason}: {result.summary}" if result.reason else result.summary
    if result.accepted:
        said = f"accepted: {result.accepted.get('reason') or result.summary}"
    return line(f"{result.title}: {said}" if result.verdict == "fail" else said, 500)


def _told(result: Result, material: Material) -> str:
    """Everything that a reader of a CI log needs."""
    findings = [f"[{f.rule}]\nexpected: {visible(f.expected)}\nactual:   {visible(f.actual)}\n"
                f"{_events(f, material)}" for f in result.findings]
    parts = [f"{result.check} ({result.level}) {result.title}", f"verdict: {result.verdict}: {line(result.summary)}",
             *findings, f"remedy: {result.remedy}", f"sources: {'; '.join(result.sources)}",
             f"reproduce: {line(result.reproduce)}"]
    return "\n".join(parts)


def _events(finding: Finding, material: Material) -> str:
    """What proves a finding, an event a line; of events that the journal no longer has, the numbers."""
    numbers = finding.events[:MOST_EVENTS]
    seen = [in_a_line(material.evidence[n]) for n in numbers if n in material.evidence]
    return "\n".join([f"events:   {', '.join(map(str, numbers))}", *(f"  {one}" for one in seen)])


def _stale(root: ET.Element, stale: tuple[str, ...]) -> None:
    """An accepted entry that covers nothing fails the run, so it fails here."""
    suite = ET.SubElement(root, "testsuite", name="accepted", tests=str(len(stale)), skipped="0",
                          failures=str(len(stale)), errors="0")
    for entry in stale:
        case = ET.SubElement(suite, "testcase", classname="openbell.accepted", name=clean(line(entry)), time="0")
        ET.SubElement(case, "failure", message="the accepted entry covers nothing, or has expired", type="stale")


def _tally(root: ET.Element, material: Material) -> None:
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{material.seconds or 0:.3f}")
    if root.find("testsuite") is not None:
        said = f"{verdict_word(material.results)}: {counted(material.results.counts)}"
        properties = ET.Element("properties")
        ET.SubElement(properties, "property", name="openbell.verdict", value=said)
        root[0].insert(0, properties)
