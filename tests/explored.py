"""Pages of the explorer, and what is put into them. Not a test file."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from minilm.explorer.document import data_of, page_of

ATTACKS = [
    "</script><img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]><svg onload=alert(1)>",
    '"><script>alert(1)</script>',
    "&lt;b&gt; &amp; \u2028 \u2029 ' ` {{ 7*7 }} {% x %} ${7*7}",
    "javascript:alert(1) \x00 \x1b[31m",
]


def page(subject, *texts, **how):
    return page_of(data_of(subject, texts, **how))


def lab(folder, film_of):
    """A record of the emergence lab with two measurements."""
    scores = {"previous-token score": [[0.1, 0.2]], "induction score": [[0.3, 0.1]], "loss, repeated": 2.0}
    point = scores | ({"film": film_of} if film_of else {})
    records = [{"arm": "two layers", "seed": 0, "curve": [{"step": 0} | point, {"step": 5} | point]}]
    (folder / "results.json").write_text(json.dumps({"records": records}), encoding="utf-8")


@contextmanager
def serving(service) -> Iterator[str]:
    """The address of a service that answers in a thread of its own, for the length of a `with`."""
    import uvicorn  # an extra, so not at the top

    server = uvicorn.Server(uvicorn.Config(service.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=60)
