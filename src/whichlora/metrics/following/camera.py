"""Did the camera move as asked? Relative to the source, so that a picture in which nothing changed fails.

Targets: `yaw_deg` (> 0: the camera moves to the viewer's right), `pitch_deg` (> 0: it rises), `zoom` (factor on the
subject's size), `view` ('front' or 'back'). Figures are read by the figure reader, photographs by head pose; what has
neither is not measured, and fails where nothing changed. A body without a visible face fails where it is seen from the
same side as before; how far it was turned cannot be told. The figure printed is the error in degrees (or in percent of
the zoom).
"""

from __future__ import annotations

from typing import Any

from whichlora.metrics._common import FunctionMetric, judged, missed, not_applicable, not_measured
from whichlora.metrics.base import Picture, View
from whichlora.metrics.following._change import COPIED, STILL_DELTA_E, change, mirrored, unable
from whichlora.metrics.following._named import asks_for
from whichlora.types import Measurement
from whichlora.vision import faces, figure, mask
from whichlora.vision.align import register
from whichlora.vision.pose import pose

POSE_LIMIT_DEG = 70.0
"""Beyond this yaw, head pose from a mesh is only a bound."""
HALF = 0.5
"""A tolerance is never more than this share of what is asked, so that doing nothing fails."""
FIGURE_PRESENT = 0.5
SURE_PERSON, MIN_PERSON = 0.6, 0.04
"""Probability of a person's pixel, and the share of the picture that a person must cover, to compare bodies."""


def tolerance_deg(asked_deg: float, kind: str) -> float:
    """Largest error that passes, in degrees.

    10° on photographs (the pose's own error is about 4°); figures are turned by larger steps, so a tenth of the
    step is added.
    """
    room = 10.0 + (0.1 * abs(asked_deg) if kind == "figure" else 0.0)
    return min(room, HALF * abs(asked_deg))


def measure(view: View, prepared: Any) -> Measurement:
    """Error of the camera's move."""
    if not asks_for(view.case, "camera"):
        return not_applicable("the edit asks for no camera move")
    target = view.case.target
    if prepared == "figure":
        return _figure(view, target)
    if prepared == "photograph":
        return _photograph(view, target)
    return unable(view, "no camera verifier for this kind of subject")


def _number(target: Any, key: str) -> float | None:
    value = target.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _figure(view: View, target: Any) -> Measurement:
    before, after = figure.read(view.source), figure.read(view.output)
    if after.present < FIGURE_PRESENT:
        return missed("no figure was found in the picture")
    detail: dict[str, Any] = {
        "yaw_before_deg": before.yaw_deg, "yaw_after_deg": after.yaw_deg, "pitch_before_deg": before.pitch_deg,
        "pitch_after_deg": after.pitch_deg, "zoom_before": before.zoom, "zoom_after": after.zoom,
    }
    facing = target.get("view")
    if facing in ("front", "back"):
        goal = 0.0 if facing == "front" else 180.0
        asked = figure.turned_deg(before.yaw_deg, goal)
        return _turn(asked, figure.turned_deg(before.yaw_deg, after.yaw_deg), "figure", "yaw", detail)
    yaw, pitch, zoom = (_number(target, key) for key in ("yaw_deg", "pitch_deg", "zoom"))
    if yaw:
        return _turn(yaw, figure.turned_deg(before.yaw_deg, after.yaw_deg), "figure", "yaw", detail)
    if pitch:
        return _turn(pitch, after.pitch_deg - before.pitch_deg, "figure", "pitch", detail)
    if zoom and zoom != 1:
        return _zoomed(zoom, after.zoom / max(before.zoom, 1e-3), detail)
    return not_measured(f"no verifier for the camera target {dict(target)}")


def _photograph(view: View, target: Any) -> Measurement:
    if mirrored(view.source, view.output)[0]:
        # A mirror image turns a head by twice its yaw without any camera having moved.
        return missed("the picture is its source seen in a mirror", {"mirrored": True})
    ours = faces.find(view.source)
    if not ours:
        return _body(view, target, "the source shows no face, so only the body's view can be compared")
    yaw, pitch, zoom = (_number(target, key) for key in ("yaw_deg", "pitch_deg", "zoom"))
    before = pose(view.source, ours[0])
    beyond = target.get("view") == "back" or (yaw is not None and abs(before.yaw_deg + yaw) > POSE_LIMIT_DEG)
    theirs = faces.find(view.output)
    if not theirs:
        if beyond:
            return _body(view, target, "the face is turned away as it may be; judge by eye")
        return missed("no face was found in the picture", {"yaw_before_deg": before.yaw_deg})
    after = pose(view.output, theirs[0])
    detail: dict[str, Any] = {
        "yaw_before_deg": before.yaw_deg, "yaw_after_deg": after.yaw_deg, "pitch_before_deg": before.pitch_deg,
        "pitch_after_deg": after.pitch_deg, "regions": [[round(value) for value in theirs[0].box]],
    }
    if target.get("view") == "front":
        return _turn(-before.yaw_deg, after.yaw_deg - before.yaw_deg, "photograph", "yaw", detail)
    if target.get("view") == "back":
        why = "a face still shows, though a view from behind is asked"
        return judged(180.0 - abs(after.yaw_deg), False, why, detail)
    if yaw:
        turned = after.yaw_deg - before.yaw_deg
        if beyond:
            return _beyond(yaw, before.yaw_deg, turned, detail)
        return _turn(yaw, turned, "photograph", "yaw", detail)
    if pitch:
        return _turn(pitch, after.pitch_deg - before.pitch_deg, "photograph", "pitch", detail)
    if zoom and zoom != 1:
        return _zoomed(zoom, (theirs[0].area / max(ours[0].area, 1.0)) ** 0.5, detail)
    return not_measured(f"no verifier for the camera target {dict(target)}")


def _body(view: View, target: Any, why: str) -> Measurement:
    """A body of which no face tells the view: a copied body shows the same view; a zoom shows in the registration.

    How far a body was turned cannot be told, so a changed view is not measured.
    """
    zoom = _number(target, "zoom")
    found = register(view.source, view.output)
    if zoom and zoom != 1 and found.found:
        return _zoomed(zoom, found.scale, {"inliers": found.inliers})
    person = mask.person(view.source) > SURE_PERSON
    still = change(view.source, view.output).map < STILL_DELTA_E
    same = float(still[person].mean() if person.mean() >= MIN_PERSON else still.mean())
    detail = {"same_share": same, "of": "person" if person.mean() >= MIN_PERSON else "picture"}
    if same >= COPIED:
        return missed("the body is seen from the same side as before", detail)
    return unable(view, why, detail)


def _turn(asked: float, done: float, kind: str, axis: str, detail: dict[str, Any]) -> Measurement:
    """Verdict on a turn: the error against the tolerance."""
    error = abs(figure.turned_deg(asked, done))
    room = tolerance_deg(asked, kind)
    detail = {**detail, "asked_deg": asked, "done_deg": done, "tolerance_deg": room}
    if abs(asked) < 4:
        return not_measured(f"the source already has the asked {axis}", detail)
    return judged(error, error <= room, f"{axis} changed by {done:+.0f}°, {asked:+.0f}° was asked", detail)


def _beyond(asked: float, before: float, done: float, detail: dict[str, Any]) -> Measurement:
    """Beyond the pose's range only a bound can be checked: turned the right way, and far."""
    goal = before + asked
    bound = POSE_LIMIT_DEG - 25.0
    reached = (before + done) * (1 if goal > 0 else -1)
    detail = {**detail, "asked_deg": asked, "done_deg": done, "bound_deg": bound}
    moved = done * (1 if asked > 0 else -1) >= min(20.0, HALF * abs(asked))
    why = f"yaw changed by {done:+.0f}°, {asked:+.0f}° was asked"
    return judged(max(0.0, abs(asked) - abs(done)), reached >= bound and moved, why, detail)


def _zoomed(asked: float, done: float, detail: dict[str, Any]) -> Measurement:
    """Verdict on a change of size: within half of what is asked."""
    error = 100 * abs(done - asked) / abs(asked - 1)
    detail = {**detail, "asked_zoom": asked, "done_zoom": done}
    why = f"the subject's size changed by a factor {done:.2f}, {asked:.2f} was asked"
    return judged(error, error <= 50, why, detail)


def camera_yaw(picture: Picture, kind: str) -> float | None:
    """Camera yaw of a picture in degrees; None where it cannot be measured."""
    if kind == "figure":
        return figure.read(picture).yaw_deg
    found = faces.find(picture) if kind == "photograph" else ()
    return pose(picture, found[0]).yaw_deg if found else None


PLUGIN = FunctionMetric(
    name="following/camera", title="Camera moved as asked", unit="degrees of error", better="lower", gate="edit",
    measured_by=measure, version=2,
)
