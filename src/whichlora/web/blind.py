"""Endpoints of the blind pages. Answers carry instructions, picture ids and sizes; never a candidate, cell or path."""

from __future__ import annotations

from typing import Any, cast

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from whichlora.errors import UserError
from whichlora.review.desk import Desk, Task
from whichlora.review.votes import QUESTIONS, Answer, Question, Rating, check_rater
from whichlora.types import Generation, Plan
from whichlora.web.answers import endpoint, in_thread, read_json, text
from whichlora.web.guard import Session, Sessions
from whichlora.web.pictures import Pictures


class BlindPages:
    """What voters ask for and say."""

    def __init__(self, desk: Desk, plan: Plan, pictures: Pictures, sessions: Sessions) -> None:
        self.desk = desk
        self.plan = plan
        self.pictures = pictures
        self.sessions = sessions
        self.cases = {case.id: case for case in plan.cases}
        self._shown: dict[tuple[str, str], dict[str, Any]] = {}
        # Votes have threads of their own: previews being encoded must not hold them up.
        self.limiter: anyio.CapacityLimiter | None = None

    def routes(self) -> list[Route]:
        """Addresses of the blind pages."""
        table = {
            "/api/session": ("POST", self.open_session), "/api/invite": ("POST", self.invite),
            "/api/state": ("GET", self.state), "/api/pair": ("GET", self.pair), "/api/vote": ("POST", self.vote),
            "/api/undo": ("POST", self.undo), "/api/rating": ("GET", self.rating), "/api/rate": ("POST", self.rate),
            "/api/lineup": ("GET", self.line_up), "/api/pick": ("POST", self.pick),
            "/api/pass": ("POST", self.pass_over),
        }
        return [Route(path, endpoint(function), methods=[method]) for path, (method, function) in table.items()]

    async def _do(self, work: Any) -> Any:
        if self.limiter is None:
            self.limiter = anyio.CapacityLimiter(4)
        return await in_thread(work, self.limiter)

    # ------------------------------------------------------------------ session

    async def open_session(self, request: Request) -> Response:
        """Exchange a token for a cookie, once."""
        value = self.sessions.exchange(text(await read_json(request), "token"))
        if value is None:
            return JSONResponse({"error": "This link was used already or belongs to an earlier start."}, 403)
        response = JSONResponse({"ok": True})
        response.set_cookie(
            self.sessions.cookie, value, max_age=7 * 24 * 3600, path="/", httponly=True, samesite="strict",
        )
        return response

    async def invite(self, request: Request) -> Response:
        """A link for one more browser."""
        return JSONResponse({"link": self.sessions.link()})

    async def state(self, request: Request) -> Response:
        """Where a voter stands."""
        rater = request.query_params.get("rater", "")

        def work() -> dict[str, Any]:
            self.desk.refresh()
            now = self.desk.standing()
            passes = []
            for question, words in QUESTIONS.items():
                outlook = self.desk.outlook(question)
                passes.append({
                    "question": question, "words": words, "votes": outlook.votes, "separated": outlook.separated,
                    "left": outlook.left,
                    "mine": sum(v.rater == rater and v.question == question and v.answer != "skip" for v in now.pairs),
                })
            return {
                "project": self.plan.project, "passes": passes, "pictures": len(self.desk.board.where),
                "contestants": len(self.desk.board.contestants),
                "ratings": sum(vote.rater == rater for vote in now.ratings),
                "extremes": sum(vote.rater == rater for vote in now.extremes), "raters": list(now.raters),
            }

        return JSONResponse(await self._do(work))

    # ------------------------------------------------------------------ pairs

    async def pair(self, request: Request) -> Response:
        """The pair to be judged, and what to load for the one after it."""
        rater, question = _rater(request), request.query_params.get("question", "")
        session = _session(request)

        def work() -> dict[str, Any]:
            self.desk.refresh()
            tasks = self.desk.pairs(rater, cast(Question, question))
            outlook = self.desk.outlook(cast(Question, question))
            now = self.desk.standing()
            mine = [v for v in now.pairs if v.rater == rater and v.question == question and v.answer != "skip"]
            shown = [self._task(session, task) for task in tasks]
            return {
                "words": QUESTIONS[cast(Question, question)], "task": shown[0] if shown else None, "mine": len(mine),
                "ahead": [picture["url"] for task in shown[1:] for picture in (*task["pictures"], task["source"])],
                "votes": outlook.votes, "left": outlook.left, "separated": outlook.separated,
                "seconds": sum(v.seconds for v in mine[-30:]),
            }

        return JSONResponse(await self._do(work))

    async def vote(self, request: Request) -> Response:
        """Store the answer to a pair; when this returns, the vote is on the disk."""
        data = await read_json(request)
        rater, task, answer = check_rater(text(data, "rater")), text(data, "task"), cast(Answer, text(data, "answer"))
        seconds, flipped = data.get("seconds", 0), data.get("flipped", False)
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds != seconds:
            raise UserError("The field 'seconds' must be a number.")
        if not isinstance(flipped, bool):
            raise UserError("The field 'flipped' must be true or false.")
        stored = await self._do(lambda: self.desk.answer(rater, task, answer, float(seconds), flipped=flipped))
        return JSONResponse({"stored": stored})

    async def undo(self, request: Request) -> Response:
        """Take back a voter's last vote of a kind."""
        data = await read_json(request)
        rater, kind = check_rater(text(data, "rater")), text(data, "kind")
        return JSONResponse({"undone": await self._do(lambda: self.desk.undo(rater, kind))})

    # ------------------------------------------------------------------ single pictures

    async def rating(self, request: Request) -> Response:
        """The picture to be judged alone."""
        rater, session = _rater(request), _session(request)

        def work() -> dict[str, Any]:
            self.desk.refresh()
            task = self.desk.rating_task(rater)
            done = sum(vote.rater == rater for vote in self.desk.standing().ratings)
            return {"task": self._task(session, task) if task else None, "mine": done, "of": len(self.desk.board.where)}

        return JSONResponse(await self._do(work))

    async def rate(self, request: Request) -> Response:
        """Store a rating."""
        data = await read_json(request)
        rater, task = check_rater(text(data, "rater")), text(data, "task")
        marks = data.get("marks", [])
        try:
            points = tuple((float(x), float(y)) for x, y in marks)
        except (TypeError, ValueError):
            raise UserError("Marks are pairs of numbers.") from None
        rating = Rating("", rater, "", "", data.get("identity"), data.get("edit"), points, text(data, "note"))
        if rating.identity is None and rating.edit is None and not points and not rating.note.strip():
            raise UserError("Nothing was judged.", fix="Choose a number, mark an artefact or write a note; or skip.")
        return JSONResponse({"stored": await self._do(lambda: self.desk.rate(rater, task, rating))})

    async def pass_over(self, request: Request) -> Response:
        """Put a single picture or a line-up aside."""
        data = await read_json(request)
        rater, task = check_rater(text(data, "rater")), text(data, "task")
        return JSONResponse({"passed": await self._do(lambda: self.desk.pass_over(rater, task))})

    # ------------------------------------------------------------------ best and worst

    async def line_up(self, request: Request) -> Response:
        """Pictures of one case and seed."""
        rater, session = _rater(request), _session(request)

        def work() -> dict[str, Any]:
            self.desk.refresh()
            task = self.desk.extremes_task(rater)
            done = sum(vote.rater == rater for vote in self.desk.standing().extremes)
            shown = self._task(session, task) if task else None
            return {"task": shown, "mine": done, "of": len(self.desk.board.places)}

        return JSONResponse(await self._do(work))

    async def pick(self, request: Request) -> Response:
        """Store best and worst, given as positions."""
        data = await read_json(request)
        rater, task = check_rater(text(data, "rater")), text(data, "task")
        picks: list[int | None] = []
        for name in ("best", "worst"):
            value = data.get(name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 64):
                raise UserError(f"The field '{name}' must be a position or null.")
            picks.append(value)
        if picks == [None, None]:
            raise UserError("Nothing was picked.", fix="Choose a best, a worst or both; or skip.")
        return JSONResponse({"stored": await self._do(lambda: self.desk.pick(rater, task, picks[0], picks[1]))})

    # ------------------------------------------------------------------ inner

    def _task(self, session: Session, task: Task) -> dict[str, Any]:
        """A task as a page sees it. The same task keeps its picture ids, so that a reload shows what was loaded."""
        key = (session.key, task.id)
        known = self._shown.get(key)
        if known is not None:
            return known
        case = self.cases[self.desk.board.places[task.place].case]
        made = self._made(task.cells)
        shown = [self.pictures.generated(session.veil, item, blind=True) for item in made]
        like = (shown[0]["w"], shown[0]["h"])
        said = {
            "id": task.id, "prompt": case.prompt, "pictures": shown,
            "source": self.pictures.source(session.veil, case.source, like, blind=True),
        }
        if len(self._shown) > 2000:
            self._shown.clear()
        self._shown[key] = said
        return said

    def _made(self, cells: tuple[str, ...]) -> list[Generation]:
        """Generations of some cells, by the board's content hashes."""
        board = self.desk.board
        return [Generation(cell, "done", board.images[board.where[cell]], {}, 0) for cell in cells]


def _rater(request: Request) -> str:
    return check_rater(request.query_params.get("rater", ""))


def _session(request: Request) -> Session:
    return request.scope["state"]["session"]
