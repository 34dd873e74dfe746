"""Cases as tasks of Label Studio, an open labelling tool, and its exports read back.

The formats are those of https://labelstud.io/guide/tasks and /guide/export.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from skdefer.experts._queue._answers import Given
from skdefer.experts._queue._cases import Case

# What Label Studio, or the task itself, puts beside the controls of a task in JSON-MIN.
_NO_CONTROL = {
    *("case", "text", "reason", "route", "id", "annotator", "annotation_id"),
    *("created_at", "updated_at", "lead_time"),
}

_CONFIG = """<View>
  <Style>.htx-text{{ white-space: pre-wrap; }}</Style>
  <Header value="$reason" size="5"/>
  <Text name="text" value="$text"/>
  <Choices name="answer" toName="text" choice="single" required="true">
{choices}
  </Choices>
</View>
"""


def write_config(texts: Sequence[str]) -> str:
    """Write the labelling interface: the row, the reason, and a choice among these texts."""
    choices = "\n".join(
        f"    <Choice value={quoteattr(text, {chr(10): '&#10;', chr(9): '&#9;'})}/>"
        for text in texts
    )
    return _CONFIG.format(choices=choices)


def write_tasks(cases: Sequence[Case], path: Path, *, show_model_answer: bool) -> None:
    """Write cases as a file of tasks to import.

    Parameters
    ----------
    cases : sequence of Case
        What is shown: as one text, a line per column where there are several.
    path : Path
        A new file.
    show_model_answer : bool
        Whether the model's answer comes along as a prediction, which preselects it.
    """
    tasks = []
    for case, content, why in cases:
        facts = {"case": case, "text": _write(content)}
        task: dict[str, Any] = {
            "data": {**facts, "reason": why.reason or "", "route": why.route or ""}
        }
        if show_model_answer and why.model_answer is not None:
            chosen = {
                "id": f"{case}-model",
                "from_name": "answer",
                "to_name": "text",
                "type": "choices",
                "value": {"choices": [str(why.model_answer)]},
            }
            prediction: dict[str, Any] = {"model_version": "skdefer", "result": [chosen]}
            if why.model_confidence is not None:
                prediction["score"] = why.model_confidence
            task["predictions"] = [prediction]
        tasks.append(task)
    text = json.dumps(tasks, ensure_ascii=False, indent=1)
    with open(path, "xb") as file:
        file.write(text.encode(errors="replace"))  # half of a surrogate pair is no text


def _write(content: dict[str, Any]) -> str:
    if list(content) == ["text"]:
        return "" if content["text"] is None else str(content["text"])
    return "\n".join(f"{name}: {'' if v is None else v}" for name, v in content.items())


def read_tasks(path: Path) -> tuple[list[Given], str]:
    """Read answers from an export, JSON or JSON-MIN.

    Skipped tasks and those without an annotation come without an answer; several choices in
    one annotation come as a list, which is no label.

    Parameters
    ----------
    path : Path
        The exported file.

    Returns
    -------
    given : list of Given
    note : str
        A sentence on annotations by another control than ours; empty if there is none.

    Raises
    ------
    ValueError
        If it is something else.
    """
    expected = (
        "expected what Label Studio exports as JSON or JSON-MIN: a list of tasks that were "
        "imported from export_label_studio, each with its 'case'."
    )
    try:
        tasks = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error}); {expected}") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{path.name} is JSON, but no list of objects; {expected}")
    given: list[Given] = []
    strange: Counter[tuple[str, ...]] = Counter()  # other controls, by annotation
    for i, task in enumerate(tasks):
        data = task.get("data")
        case = (data if isinstance(data, dict) else task).get("case")
        if not isinstance(case, str):
            raise ValueError(f"{path.name} has no 'case' in its object {i}; {expected}")
        if isinstance(data, dict):
            given += _annotations(task, case)
            strange.update(map(_other_controls, _made(task)))
        else:
            given.append(_minimal(task, case))
            strange[() if "answer" in task else tuple(sorted({*task} - _NO_CONTROL))] += 1
    del strange[()]
    if not strange:
        return given, ""
    names = sorted({name for found in strange for name in found})
    return given, (
        f"{strange.total()} annotations have no control named 'answer'; found "
        f"{', '.join(map(repr, names[:5]))}. Set the project up with label_studio_config(), or "
        "rename the control in the file."
    )


def _made(task: dict[str, Any]) -> list[dict[str, Any]]:
    """List the annotations of a task."""
    return [one for one in task.get("annotations") or () if isinstance(one, dict)]


def _other_controls(annotation: dict[str, Any]) -> tuple[str, ...]:
    """Name the controls of an annotation that has not ours."""
    regions = [region for region in annotation.get("result") or () if isinstance(region, dict)]
    names = {str(region.get("from_name")) for region in regions if "from_name" in region}
    return () if "answer" in names or annotation.get("was_cancelled") else tuple(sorted(names))


def _annotations(task: dict[str, Any], case: str) -> list[Given]:
    """Read the annotations of a task, of several people too."""
    found = [
        Given(
            case,
            None if one.get("was_cancelled") else _chosen(one.get("result")),
            at=one.get("updated_at") or one.get("created_at"),
            by=_person(one.get("completed_by")),
            seconds=_seconds(one.get("lead_time")),
        )
        for one in _made(task)
    ]
    return found or [Given(case, None)]


def _minimal(task: dict[str, Any], case: str) -> Given:
    answer = task.get("answer")
    if isinstance(answer, dict):  # several choices
        answer = answer.get("choices")
    return Given(
        case,
        answer,
        at=task.get("updated_at") or task.get("created_at"),
        by=_person(task.get("annotator")),
        seconds=_seconds(task.get("lead_time")),
    )


def _chosen(result: Any) -> Any:
    """Read the choice out of the regions of an annotation; None if there is none."""
    chosen: list[Any] = []
    for region in result or ():
        if isinstance(region, dict) and region.get("from_name") == "answer":
            chosen += (region.get("value") or {}).get("choices") or ()
    return chosen if len(chosen) > 1 else (chosen[0] if chosen else None)


def _person(person: Any) -> str | None:
    """Name an annotator, who comes as a number, an address, or an object with both."""
    if isinstance(person, dict):
        person = person.get("email") or person.get("id")
    return None if person is None else str(person)


def _seconds(time: Any) -> float | None:
    return float(time) if isinstance(time, (int, float)) else None
