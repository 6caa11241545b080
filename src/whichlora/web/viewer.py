"""Endpoints of the viewer: axes once, cells in blocks, one cell's scores when it is looked at. Names are shown here."""

from __future__ import annotations

import threading
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from whichlora.errors import UserError
from whichlora.review.blinding import Veil
from whichlora.review.votes import from_row, standing
from whichlora.store import Store
from whichlora.web.answers import endpoint, in_thread, whole
from whichlora.web.catalogue import Catalogue
from whichlora.web.pictures import Pictures


class ViewerPages:
    """What the viewer asks for."""

    def __init__(self, catalogue: Catalogue, pictures: Pictures, reader: Store) -> None:
        self.catalogue = catalogue
        self.pictures = pictures
        self.reader = reader
        self._reading = threading.Lock()

    def routes(self) -> list[Route]:
        """Addresses of the viewer."""
        table = {"/api/matrix": self.matrix, "/api/block": self.block, "/api/found": self.found,
                 "/api/cell": self.cell, "/api/pulse": self.pulse}
        return [Route(path, endpoint(function), methods=["GET"]) for path, function in table.items()]

    async def matrix(self, request: Request) -> Response:
        """Axes and counts."""

        def work() -> dict[str, Any]:
            return {"project": self.catalogue.plan.project, "axes": self.catalogue.axes(), **self._live()}

        return JSONResponse(await in_thread(work))

    async def pulse(self, request: Request) -> Response:
        """Counts and filters as they are now: the page asks every few seconds and redraws when the revision rose."""

        def work() -> dict[str, Any]:
            self.catalogue.refresh()
            return self._live()

        return JSONResponse(await in_thread(work))

    def _live(self) -> dict[str, Any]:
        filters = [{"label": label, "count": len(places)} for label, places in self.catalogue.sheet.filters.items()]
        return {"counts": self.catalogue.counts(), "filters": filters}

    async def block(self, request: Request) -> Response:
        """Cells of a block of the matrix."""
        asked = request.query_params
        box = (whole(asked, "r0"), whole(asked, "r1"), whole(asked, "c0"), whole(asked, "c1"))
        places = self.catalogue.block(asked.get("rows", ""), asked.get("columns", ""), whole(asked, "fixed"), box)
        veil = request.scope["state"]["session"].veil
        return JSONResponse({"cells": await in_thread(lambda: [self._cell(veil, at) for at in places])})

    async def found(self, request: Request) -> Response:
        """Some of the cells that a filter finds."""
        asked = request.query_params
        total, places = self.catalogue.found(asked.get("label", ""), whole(asked, "first"), whole(asked, "count", 60))
        veil = request.scope["state"]["session"].veil
        return JSONResponse({"total": total, "cells": await in_thread(lambda: [self._cell(veil, at) for at in places])})

    def _cell(self, veil: Veil, at: int) -> dict[str, Any]:
        """A cell as the matrix shows it."""
        cell, place = self.catalogue.cell_at(at)
        sheet = self.catalogue.sheet
        made = sheet.generations.get(cell)
        return {
            "at": at, "place": place, "planned": bool(cell), "passed": sheet.passed.get(cell),
            "said": self.catalogue.said(cell), "thumb": self.pictures.thumb(veil, made) if made and made.image else "",
        }

    async def cell(self, request: Request) -> Response:
        """Everything about one cell."""
        at = whole(request.query_params, "at")
        veil = request.scope["state"]["session"].veil

        def work() -> dict[str, Any]:
            cell, place = self.catalogue.cell_at(at)
            if not cell:
                raise UserError("Nothing is planned there.")
            sheet, plan = self.catalogue.sheet, self.catalogue.plan
            made, case = sheet.generations.get(cell), plan.cases[place[1]]
            shown: dict[str, Any] = {"url": "", "w": 0, "h": 0}
            if made and made.image:
                shown = self.pictures.generated(veil, made, blind=False)
            like = (shown["w"], shown["h"])
            regions = [box for score in sheet.scores.get(cell, ()) for box in score.detail.get("regions", ())]
            return {
                **self._cell(veil, at), "picture": shown, "candidate": plan.candidates[place[0]].name, "case": case.id,
                "family": case.family, "asked": self.catalogue.asked(place), "seed": self.catalogue.seed(place),
                "source": self.pictures.source(veil, case.source, like, blind=False),
                "error": made.error if made else "", "seconds": made.seconds.get("total") if made else None,
                "regions": [box for box in regions if isinstance(box, (list, tuple)) and len(box) == 4],
                "scores": [
                    {"metric": s.metric, "value": s.value, "passed": s.passed, "reason": s.reason, "gate": s.gate}
                    for s in sorted(sheet.scores.get(cell, ()), key=lambda s: (s.gate is None, s.metric))
                ],
                "people": self._people(cell),
            }

        return JSONResponse(await in_thread(work))

    def _people(self, cell: str) -> list[dict[str, Any]]:
        """Single ratings of a cell."""
        with self._reading:  # one connection, several threads
            rows = [row for row in self.reader.votes() if row.kind in ("rating", "undo")]
        ratings = standing(vote for row in rows if (vote := from_row(row)) is not None).ratings
        return [
            {"rater": v.rater, "identity": v.identity, "edit": v.edit, "marks": v.marks, "note": v.note}
            for v in ratings if v.cell == cell
        ]
