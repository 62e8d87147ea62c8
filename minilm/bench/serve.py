"""How soon `minilm serve` answers: p50 and p95 of each question over a real connection, for one client and for four."""

import http.client
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from minilm.bench.options import BenchOptions, Size
from minilm.bench.report import table
from minilm.errors import InputError
from minilm.explorer.answers import ENDPOINTS, Served, served
from minilm.explorer.subject import open_subject
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.gpt import GPT, GPTConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import save_model
from minilm.text import corpus
from minilm.text.prepare import prepare
from minilm.text.tokenizer import Tokenizer

CLIENTS = (1, 4)
LINES, WRITTEN = 10, 40  # lines that `similar` compares with, tokens that `generate` writes
WARM_UP = 5
NOTE = (
    "Untrained models of the quickstart's size answer sentences of film reviews. The clock runs in the client, from sending to "
    "having read the answer; clients and server share the processor."
)


class Question(NamedTuple):
    """A question, which model answers it, and what is asked, by the number of the request."""

    name: str
    model: str
    asked: Callable[[list[str], int], dict[str, Any]]


QUESTIONS = (
    Question("predict", "classifier", lambda texts, i: {"texts": [texts[i]]}),
    Question("fill-mask", "bert", lambda texts, i: {"text": f"{texts[i]} [MASK]"}),
    Question("similar", "bert", lambda texts, i: {"query": texts[i], "lines": texts[i + 1 : i + 1 + LINES]}),
    Question("explore", "bert", lambda texts, i: {"text": texts[i]}),
    Question("generate", "gpt", lambda texts, i: {"prompt": texts[i], "tokens": WRITTEN, "seed": i}),
)


def models(s: Size, tokenizer: Tokenizer, seed: int) -> dict[str, nn.Module]:
    """A pretrained BERT, a classifier and a GPT of the size that is measured, as they are before training."""
    sizes: dict[str, Any] = dict(width=s.width, layers=s.layers, heads=s.heads, feed_forward=4 * s.width)
    config = TransformerConfig(tokenizer.size, **sizes, max_length=s.length, positions="relative")
    out = {
        "bert": BertForPretraining(config),
        "classifier": Classifier(Bert(config), TextHeadConfig(("negative", "positive"))),
        "gpt": GPT(GPTConfig(tokenizer.size, **sizes, max_length=s.length)),
    }
    for model in out.values():
        initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    return out


@contextmanager
def running(model: Served) -> Iterator[int]:
    """The port of a server that runs meanwhile. Raises InputError if the extra `serve` is not installed."""
    try:
        import uvicorn

        from minilm.explorer.service import Service
    except ImportError as missing:
        raise InputError(f"{missing.name} is not installed: pip install 'minilm[serve]'.") from None
    server = uvicorn.Server(uvicorn.Config(Service(model).app, port=0, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start.")
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(connection: http.client.HTTPConnection, name: str, asked: dict) -> tuple[float, dict]:
    """The seconds until the answer was read, and the answer. Raises RuntimeError for one that is no answer."""
    body = json.dumps(asked)
    started = time.perf_counter()
    connection.request("POST", f"/api/{name}", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    data = reply.read()
    seconds = time.perf_counter() - started
    if reply.status != 200:
        raise RuntimeError(f"/api/{name} answered {reply.status}: {data[:200]!r}")
    return seconds, json.loads(data)


def latencies(
    port: int, question: Question, texts: list[str], requests: int, clients: int
) -> tuple[list[float], float]:
    """The seconds of every request, of all clients together, and those of the processor per request."""
    found: list[list[float]] = [[] for _ in range(clients)]
    wrong: list[Exception] = []

    def client(own: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            for i in range(own, requests, clients):
                found[own].append(ask(connection, question.name, question.asked(texts, i))[0])
        except Exception as error:  # a thread cannot raise it in another one
            wrong.append(error)
        finally:
            connection.close()

    started, threads = time.process_time(), [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return [seconds for each in found for seconds in each], (time.process_time() - started) / requests


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """p50 and p95 of each question. Raises RuntimeError if an answer over the wire is not the one that the model gives."""
    s = options.size
    tokenizer = prepare(options.corpus, options.cache, s.vocab_size, say=say).tokenizer
    room = s.length - 3  # for [CLS], [SEP] and a [MASK]
    everything = [example.text for example in corpus.labelled(options.texts)]
    fitting = [text for text, ids in zip(everything, tokenizer.ids(everything), strict=True) if 0 < len(ids) <= room]
    if len(fitting) < s.steps + LINES + 1:
        raise InputError(
            f"{options.texts} has {len(fitting)} texts that fit, and {s.steps} requests need more: lower --steps."
        )
    say(f"{s.steps} requests each. {NOTE}")
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        ready: dict[str, Served] = {}
        for name, model in models(s, tokenizer, options.seed).items():
            save_model(Path(folder) / name, model, tokenizer)
            ready[name] = served(open_subject(Path(folder) / name))
        for question in QUESTIONS:
            with running(ready[question.model]) as port:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
                for i in range(WARM_UP):
                    asked = question.asked(fitting, i)
                    _, answer = ask(connection, question.name, asked)
                    if answer != json.loads(json.dumps(ENDPOINTS[question.name].reply(ready[question.model], asked))):
                        raise RuntimeError(f"/api/{question.name} does not answer what the model says.")
                connection.close()
                for clients in CLIENTS:
                    seconds, cpu = latencies(port, question, fitting, s.steps, clients)
                    p50, p95 = np.percentile(seconds, [50, 95])
                    row = {"name": question.name, "clients": clients, "p50": float(p50), "p95": float(p95), "cpu": cpu}
                    rows.append(row | {"seconds": seconds})
    say(written(rows))
    return {"note": NOTE, "rows": rows}


def written(rows: list[dict]) -> str:
    """The table, in milliseconds."""
    return table(
        ("question", "clients", "p50 ms", "p95 ms", "processor, ms a request"),
        [(r["name"], str(r["clients"]), *(f"{1000 * r[name]:.1f}" for name in ("p50", "p95", "cpu"))) for r in rows],
    )
