"""`minilm serve RUN`: the explorer's page with a live model on this machine, and its answers as JSON."""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.explorer.answers import ENDPOINTS, served
from minilm.explorer.requests import Limits
from minilm.explorer.subject import open_subject
from minilm.files.notes import Notes, aside


@dataclass(frozen=True)
class ServeOptions:
    """Serve a model on this machine: a page that explores any text you type, and one address for each question
    (predict, fill-mask, generate, similar) that other programs can ask. Ctrl-C ends it."""

    run: tyro.conf.Positional[Path]
    """The folder of a model, or a published model by name."""
    port: int = 8000
    """Where it listens; 0 takes any that is free."""
    host: str = "127.0.0.1"
    """Who may ask: 127.0.0.1 means this machine alone, and 0.0.0.0 everybody on your network. There is no password."""
    threads: int | None = None
    """Threads of PyTorch; if not given, PyTorch chooses."""
    most_tokens: int = 200
    """The most tokens that one request may have written."""
    most_waiting: int = 16
    """The most requests at a time; others are told to come back."""

    def __post_init__(self) -> None:
        check_least(self, 0, "port")
        check_least(self, 1, "most_tokens", "most_waiting")
        check_most(self, {"port": 65_535, "most_tokens": 10_000, "most_waiting": 1_000})
        if self.threads is not None:
            check_least(self, 1, "threads")
            check_most(self, {"threads": 1024})


def serve(options: ServeOptions, say: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C. Raises InputError if the extra `serve` is not installed, if the port is taken, and as `open_subject`."""
    try:
        import uvicorn

        from minilm.explorer.service import LOCAL, Service
    except ImportError as missing:
        raise InputError(f"{missing.name} is not installed: pip install 'minilm[serve]'.") from None
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    limits = Limits(tokens=options.most_tokens, waiting=options.most_waiting)
    found = served(open_subject(options.run, Notes(aside if say is print else say)), limits)
    local = options.host in ("127.0.0.1", "localhost", "::1")
    service = Service(found, LOCAL if local else None)
    config = uvicorn.Config(service.app, log_level="warning", access_log=False, server_header=False)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listening = socket.create_server((options.host, options.port), family=family)
    except OSError as problem:
        why = problem.strerror or str(problem)
        raise InputError(
            f"nothing can listen at {options.host}:{options.port} ({why}): choose another --port or --host."
        ) from None
    with listening:
        say(found.subject.headline)
        host = f"[{options.host}]" if ":" in options.host else options.host
        say(
            f"The page is at http://{host}:{listening.getsockname()[1]}/ and /api lists the questions. Ctrl-C ends the server."
        )
        for name, endpoint in ENDPOINTS.items():
            if why := endpoint.cannot(found):
                say(f"    without /api/{name}: {why}")
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has ended the requests and passes the signal on
            say("The server has ended.")
