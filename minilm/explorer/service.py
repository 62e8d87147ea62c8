"""The server: the page with a live model, and its answers as JSON, as an ASGI application.

    GET  /                 the page
    GET  /api              what the model is, and which questions it answers
    POST /api/NAME         an answer (`answers.py`), or {"error": "one sentence"} with a status of 400 to 499

One question is answered at a time, in a thread of its own; a few may wait, and the others are told to come back. A page of
another site cannot ask: a request must be JSON, which browsers send elsewhere only with permission, and must name this host.
"""

import asyncio
import functools
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from minilm.errors import InputError
from minilm.explorer.answers import ENDPOINTS, Served
from minilm.explorer.document import data_of, page_of
from minilm.explorer.requests import Limits, Refused, parsed

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
SENTENCES = {
    404: "there is nothing at this address: GET / is the page, and GET /api lists the questions.",
    405: "this address does not take this method: ask with POST, and read the page with GET.",
}
FIELDS = {"--truncate": '"truncate": true', "--pair and --pair-column": '"pairs"', "--pair": '"pairs"'}
LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Service:
    """The application of one model. `hosts` are the names under which it may be asked; None: any."""

    def __init__(self, served: Served, hosts: tuple[str, ...] | None = LOCAL):
        self.served, self.hosts = served, hosts
        self.page = page_of(data_of(served.subject, (), live=True))
        self.busy = 0  # requests that are being read or answered
        self.one_at_a_time: CapacityLimiter | None = None
        questions = [
            Route(f"/api/{name}", functools.partial(self.guarded, name), methods=["POST"]) for name in ENDPOINTS
        ]
        self.app = Starlette(
            routes=[Route("/", self.front), Route("/api", self.about), *questions],
            exception_handlers={HTTPException: self.refused, Exception: self.failed},
        )

    async def front(self, request: Request) -> Response:
        if wrong := self.wrong_host(request):
            return wrong
        return HTMLResponse(self.page, headers=HEADERS)

    async def about(self, request: Request) -> Response:
        """What the model is, and which questions it answers."""
        if wrong := self.wrong_host(request):
            return wrong
        subject = self.served.subject
        questions = {
            name: {
                "what": endpoint.what,
                "fields": [*endpoint.needed, *(f"{field} (optional)" for field in endpoint.optional)],
                "answered": not endpoint.cannot(self.served),
            }
            for name, endpoint in ENDPOINTS.items()
        }
        return JSONResponse({"name": subject.name, "model": subject.headline, "questions": questions}, headers=HEADERS)

    async def guarded(self, name: str, request: Request) -> Response:
        """An answer, or one sentence that says why there is none."""
        if wrong := self.wrong_host(request):
            return wrong
        if self.busy >= self.served.limits.waiting:
            return error(429, "the model is busy: ask again in a second.", {"Retry-After": "1"})
        self.busy += 1
        try:
            return JSONResponse(await self.answered(name, request), headers=HEADERS)
        except Refused as refusal:
            return error(refusal.status, str(refusal))
        except InputError as problem:
            return error(400, in_json(str(problem)))
        finally:
            self.busy -= 1

    async def answered(self, name: str, request: Request) -> dict[str, Any]:
        endpoint = ENDPOINTS[name]
        if why := endpoint.cannot(self.served):
            raise Refused(404, why)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "send the request as JSON, with the header Content-Type: application/json.")
        asked = parsed(await read(request, self.served.limits))
        if self.one_at_a_time is None:  # it belongs to the loop that runs
            self.one_at_a_time = CapacityLimiter(1)
        return await to_thread.run_sync(endpoint.reply, self.served, asked, limiter=self.one_at_a_time)

    def wrong_host(self, request: Request) -> Response | None:
        """A refusal if the request names another host: a page elsewhere may have had its name point to this machine."""
        host = request.headers.get("host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if self.hosts is None or name.lower() in self.hosts:
            return None
        return error(421, f"this server does not answer under that name: use {self.hosts[0]}, or start it with --host.")

    async def refused(self, request: Request, problem: Exception) -> Response:
        status = getattr(problem, "status_code", 400)
        return error(status, SENTENCES.get(status, "the request cannot be answered."))

    async def failed(self, request: Request, problem: Exception) -> Response:
        """A mistake of ours. The server writes the traceback to its own screen."""
        return error(500, "something went wrong in the server; its window says what.")


async def read(request: Request, limits: Limits) -> bytes:
    """The body of a request. Raises Refused for one that is too long or too slow."""
    too_long = Refused(413, f"the request has more than {limits.body:,} bytes: send less at a time.")
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > limits.body:
        raise too_long
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise too_long
    except TimeoutError:
        raise Refused(408, f"the request took more than {limits.seconds:g} seconds to arrive.") from None
    except ClientDisconnect:
        raise Refused(400, "the connection ended before the request did.") from None
    return bytes(body)


def in_json(sentence: str) -> str:
    """A sentence of the library that names an option of the command line, with the name of the field instead."""
    for option, name in FIELDS.items():
        sentence = sentence.replace(option, name)
    return sentence


def error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": " ".join(sentence.split())}, status, {**HEADERS, **(headers or {})})
