"""The server: right answers, refusals in one sentence, and never a 500."""

import asyncio
import json
import random
import threading
import urllib.request

import pytest
import tiny
from explored import serving

pytest.importorskip("starlette", reason="the extra `serve` is not installed (2026-11-27)")
pytest.importorskip("httpx", reason="the extra `test` is not installed (2026-11-27)")

import httpx

from minilm.explorer.answers import ENDPOINTS, served
from minilm.explorer.requests import Limits
from minilm.explorer.service import Service, names_for
from minilm.jobs.predict import FillMaskOptions, PredictOptions, fill_mask, predict
from minilm.jobs.similar import SimilarOptions, similar
from minilm.training.writing import write

NAMES = ("book", "writer", "lstm", "texts", "pairs", "names")


@pytest.fixture(scope="session")
def services(subjects):
    return {name: Service(served(subjects[name])) for name in NAMES}


def asked(service, *requests, base="http://127.0.0.1:8000"):
    """The replies to requests, each (method, path, options), one after the other."""

    async def run():
        transport = httpx.ASGITransport(service.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return [await client.request(method, path, **options) for method, path, options in requests]

    return asyncio.run(run())


def post(service, name, data, **options):
    (reply,) = asked(service, ("POST", f"/api/{name}", {"json": data} | options))
    return reply


def test_the_page_is_the_explorer_with_a_box_to_write_in(services):
    (reply,) = asked(services["book"], ("GET", "/", {}))
    assert reply.status_code == 200 and reply.headers["content-type"] == "text/html; charset=utf-8"
    assert '"live":true' in reply.text and "connect-src &#39;self&#39;" in reply.text
    assert reply.headers["x-frame-options"] == "DENY" and reply.headers["x-content-type-options"] == "nosniff"


def test_about_says_which_questions_are_answered(services):
    for name, answered in {
        "book": {"fill-mask", "similar", "explore"},
        "writer": {"generate", "similar", "explore"},
        "texts": {"predict", "similar", "explore"},
    }.items():
        (reply,) = asked(services[name], ("GET", "/api", {}))
        assert {q for q, facts in reply.json()["questions"].items() if facts["answered"]} == answered


def test_fill_mask_is_the_jobs(runs, services):
    reply = post(services["book"], "fill-mask", {"text": "a [MASK] hen and [MASK] dog", "top": 3})
    ((first, second),) = fill_mask(
        FillMaskOptions(runs / "book", ("a [MASK] hen and [MASK] dog",), 3), say=lambda _: None
    )
    assert [[g["token"] for g in guesses] for guesses in reply.json()["masks"]] == [
        [w for w, _ in first],
        [w for w, _ in second],
    ]
    assert reply.json()["masks"][0][0]["probability"] == pytest.approx(first[0][1], rel=6e-3)


def test_predict_is_the_jobs(runs, services):
    reply = post(services["texts"], "predict", {"texts": ["a warm film", "dull"]})
    expected = predict(PredictOptions(runs / "texts", ("a warm film", "dull"), device="cpu"), say=lambda _: None)
    assert [p["label"] for p in reply.json()["predictions"]] == [p.label for p in expected]
    reply = post(services["names"], "predict", {"texts": ["李鹏在北京。"]})
    (one,) = predict(PredictOptions(runs / "names", ("李鹏在北京。",), device="cpu"), say=lambda _: None)
    assert reply.json()["predictions"][0].get("entities", []) == [e._asdict() for e in one.entities]
    assert post(services["pairs"], "predict", {"texts": ["a hen"], "pairs": ["a dog"]}).status_code == 200


@pytest.mark.parametrize("name", ["writer", "lstm"])
def test_generate_is_write(subjects, services, name):
    wanted = {"prompt": "the old", "tokens": 7, "temperature": 0.9, "top_k": 50, "top_p": 0.9, "seed": 5}
    reply = post(services[name], "generate", wanted)
    (expected,) = write(subjects[name].model, subjects[name].tokenizer, ["the old"], 7, 0.9, 50, 0.9, seed=5)
    assert reply.json()["text"] == expected.text and reply.json()["tokens"] == len(expected.written.ids)
    assert post(services[name], "generate", {}).status_code == 200


def test_similar_is_the_jobs(runs, services, tmp_path):
    lines = ["a young dog", "the hen was old", "rain on the sea", "a hen"]
    (tmp_path / "lines.txt").write_text("\n".join(lines), encoding="utf-8")
    reply = post(services["book"], "similar", {"query": "the old hen", "lines": lines, "top": 3})
    (expected,) = similar(
        SimilarOptions(("the old hen",), str(tmp_path / "lines.txt"), runs / "book", 3, device="cpu"),
        say=lambda _: None,
    )
    assert [hit["line"] for hit in reply.json()["hits"]] == [hit.line for hit in expected]
    assert [lines[hit["place"]] for hit in reply.json()["hits"]] == [hit.line for hit in expected]


def test_explore_is_what_the_page_shows(services):
    reply = post(services["book"], "explore", {"text": "the old hen", "pair": "a dog"})
    assert set(reply.json()["views"]) == {"guesses", "attention", "pair"}


def refusal(reply, status):
    """The sentence of a refusal."""
    assert reply.status_code == status, reply.text
    (sentence,) = reply.json().values()
    assert "\n" not in sentence and sentence.endswith((".", ")")) and "Traceback" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("service", "name", "data", "status", "says"),
    [
        ("book", "predict", {"texts": ["a"]}, 404, "was not fine-tuned"),
        ("book", "generate", {}, 404, "writes no texts"),
        ("texts", "fill-mask", {"text": "a [MASK]"}, 404, "guesses no hidden words"),
        ("book", "fill-mask", {"text": "a hen"}, 400, "has no [MASK]"),
        ("book", "fill-mask", {}, 400, 'the field "text" is missing'),
        ("book", "fill-mask", {"text": "a [MASK]", "n": 1}, 400, 'there is no field "n"'),
        ("book", "fill-mask", {"text": 7}, 400, '"text" must be a text in quotation marks, not a number'),
        ("book", "fill-mask", {"text": "a [MASK]", "top": 0}, 400, '"top" must be a whole number from 1 to 100, not 0'),
        ("book", "fill-mask", {"text": "a [MASK]", "top": True}, 400, "not true"),
        ("book", "fill-mask", {"text": "[MASK] " * 400}, 400, "the model takes 120: shorten it"),
        ("book", "fill-mask", {"text": "x" * 4001}, 400, "4,001 characters"),
        ("texts", "predict", {"texts": []}, 400, "0 texts"),
        ("texts", "predict", {"texts": ["a"] * 65}, 400, "65 texts"),
        ("texts", "predict", {"texts": ["a", " "]}, 400, '"texts[1]" has nothing that can be seen'),
        ("texts", "predict", {"texts": ["hen " * 200]}, 400, 'to be cut with "truncate": true'),
        ("texts", "predict", {"texts": ["a"], "pairs": ["b", "c"]}, 400, "texts and pairs differ in number (1 and 2)"),
        ("texts", "predict", {"texts": ["a"], "pairs": ["b"]}, 400, "pair"),
        ("names", "predict", {"texts": ["a"], "pairs": ["b"]}, 400, "tags single texts"),
        ("writer", "generate", {"tokens": 201}, 400, "from 1 to 200, not 201"),
        ("writer", "generate", {"temperature": 0.001}, 400, "at least 0.01"),
        ("writer", "generate", {"temperature": 10**400}, 400, '"temperature" must be a number from 0 to 5'),
        ("writer", "generate", {"top_p": 0}, 400, "top_p"),
        ("writer", "generate", {"seed": -1}, 400, "seed"),
        ("writer", "generate", {"prompt": "hen " * 100}, 400, "the model reads 24: shorten it"),
        ("writer", "explore", {"text": "a", "pair": "b"}, 400, "one text at a time"),
        ("book", "nothing", {}, 404, "GET /api lists the questions"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(services, service, name, data, status, says):
    assert says in refusal(post(services[service], name, data), status)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[1]", "must be a JSON object"),
        (b"null", "not null"),
        (b"\xff{}", "not UTF-8"),
        (b'{"text": NaN}', "contains NaN"),
        (b'{"text": "a", "text": "b"}', "has 'text' twice"),
        (b"[" * 60_000, "is not JSON"),
        (b'{"text": "\\ud800 [MASK]"}', '"text" contains half a character'),
        (b'{"\\ud800": 1}', "half a character"),
        (b'{"text": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(services, body, says):
    reply = post(
        services["book"], "fill-mask", None, content=body, headers={"content-type": "application/json"}, json=None
    )
    assert says in refusal(reply, 400)


def test_sizes_and_hosts_are_limited(services):
    service = services["book"]
    large = {"text": "[MASK]", "x": "y" * 70_000}
    assert "65,536 bytes" in refusal(post(service, "fill-mask", large), 413)

    async def drops():
        for _ in range(70):
            yield b"x" * 1000

    streamed = dict(content=drops(), headers={"content-type": "application/json"}, json=None)  # no length is announced
    assert "65,536 bytes" in refusal(post(service, "fill-mask", None, **streamed), 413)
    plain = dict(content=b"{}", headers={"content-type": "text/plain"}, json=None)  # what another site's page may send
    assert "as JSON" in refusal(post(service, "fill-mask", None, **plain), 415)
    for path in ("/", "/api"):
        assert "under that name" in refusal(*asked(service, ("GET", path, {}), base="http://evil.example"), 421)
    (reply,) = asked(service, ("POST", "/api/explore", {"json": {"text": "a"}}), base="http://localhost:1")
    assert reply.status_code == 200
    (reply,) = asked(service, ("GET", "/api/explore", {}))
    assert "does not take this method" in refusal(reply, 405)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", ("127.0.0.1", "localhost", "[::1]")),
        ("localhost", ("localhost", "127.0.0.1", "[::1]")),
        ("127.0.0.2", ("127.0.0.2", "127.0.0.1", "localhost", "[::1]")),
        ("::1", ("[::1]", "127.0.0.1", "localhost")),
        ("0.0.0.0", None),
        ("192.168.1.7", None),
        ("::", None),
        ("somewhere.example", None),
    ],
)
def test_a_server_for_this_machine_alone_answers_only_under_its_names(host, names):
    assert names_for(host) == names


def test_more_than_a_few_have_to_come_back(subjects):
    service = Service(served(subjects["book"], Limits(waiting=3)))

    async def run():
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await asyncio.gather(*(client.post("/api/explore", json={"text": "the old hen"}) for _ in range(9)))

    replies = asyncio.run(run())
    assert [r.status_code for r in replies].count(200) == 3
    busy = [r for r in replies if r.status_code == 429]
    assert len(busy) == 6 and all(r.headers["retry-after"] == "1" for r in busy)
    assert service.busy == 0 and post(service, "explore", {"text": "a"}).status_code == 200


def test_a_request_that_never_arrives_is_given_up(subjects):
    service = Service(served(subjects["book"], Limits(seconds=0.05)))

    async def slow():
        yield b"{"
        await asyncio.sleep(30)

    reply = post(service, "explore", None, content=slow(), headers={"content-type": "application/json"}, json=None)
    assert "0.05 seconds" in refusal(reply, 408) and service.busy == 0


class Bad:
    """Requests as they should not be: right ones with something wrong, and heaps of nonsense. The seed gives the same ones."""

    TEXTS = ["", " ", "a hen", "[MASK]", "[MASK] " * 50, "x" * 5000, "\x00", "\u202e\u200b", "😀" * 300, "\ud800", "</script>",
             "[CLS] [SEP] [PAD]", "שלום", "李" * 200,
             "\r\n\t", "NaN", "a" * 3999, "\ufeff", "{{x}}", "%00", "e\u0301" * 100]  # fmt: skip
    VALUES = [
        None,
        True,
        False,
        0,
        -1,
        1,
        2**63,
        -(10**30),
        1.5,
        1e308,
        -0.0,
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        "5",
        ["a"] * 70,
    ]
    FIELDS = ["text", "texts", "pair", "pairs", "top", "prompt", "tokens", "temperature", "top_k", "top_p", "seed", "query",
              "lines", "truncate", "model", "__class__", ""]  # fmt: skip

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self):
        r = self.random
        kind = r.randrange(4)
        if kind == 0:
            return r.choice(self.VALUES)
        if kind == 1:
            return [r.choice(self.TEXTS) for _ in range(r.randrange(5))]
        return r.choice(self.TEXTS)

    def body(self):
        r = self.random
        if r.random() < 0.15:
            return bytes(r.randrange(256) for _ in range(r.randrange(60)))
        data = {r.choice(self.FIELDS): self.value() for _ in range(r.randrange(5))}
        text = json.dumps(data)
        if r.random() < 0.15:
            cut = r.randrange(len(text))
            text = text[:cut] + r.choice(["", "{", "\\", "NaN", "\x00"]) + text[cut + 1 :]
        return text.encode("utf-8", "surrogatepass")

    def request(self):
        r = self.random
        name = r.choice([*ENDPOINTS, "nothing", "../api", "%2e%2e", "explore/"])
        method = r.choice(["POST"] * 9 + ["GET", "PUT", "DELETE", "PATCH"])
        kind = r.choice(
            ["application/json"] * 9 + ["text/plain", "", "application/json; charset=utf-16", "APPLICATION/JSON"]
        )
        return method, f"/api/{name}", {"content": self.body(), "headers": {"content-type": kind}}


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_bad_requests_get_no_500(services, name):
    """200 requests for each of six kinds of models. Some happen to be right, and most are not."""
    bad = Bad(name)
    replies = asked(services[name], *(bad.request() for _ in range(200)))
    statuses = {reply.status_code for reply in replies}
    assert statuses <= {200, 400, 404, 405, 415, 307}, statuses
    for reply in replies:
        if reply.status_code >= 400:
            refusal(reply, reply.status_code)
    assert [reply.status_code for reply in replies].count(400) > 20
    assert (
        post(services[name], "explore", {"text": "a hen"} | ({"pair": "a"} if name == "pairs" else {})).status_code
        == 200
    )


def test_a_mistake_of_ours_is_a_500_without_its_traceback(subjects, monkeypatch):
    """So that the test above could see one."""
    service = Service(served(subjects["book"]))
    endpoint = ENDPOINTS["explore"]

    def broken(served, text):
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(ENDPOINTS, "explore", endpoint._replace(answer=broken))
    reply = post(service, "explore", {"text": "a"})
    assert "secret" not in refusal(reply, 500) and service.busy == 0


def test_the_server_answers_over_a_real_connection(subjects):
    """Two clients at once, and the weights and hooks of one answer do not disturb the other."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed (2026-11-27)")
    found: dict[str, list] = {"the old hen": [], "a dog came .": []}

    def ask(text):
        for _ in range(5):
            data = json.dumps({"text": text}).encode()
            request = urllib.request.Request(f"{address}/api/explore", data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as reply:
                found[text].append(json.load(reply)["views"])

    with serving(Service(served(subjects["book"]))) as address:
        askers = [threading.Thread(target=ask, args=(text,)) for text in found]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
    for views in found.values():
        assert len(views) == 5 and all(each == views[0] for each in views)


def test_the_command_says_what_is_wrong(runs, tmp_path, capsys, monkeypatch):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert tiny.command("serve", runs / "book", "--port", taken.getsockname()[1]) == 2
    assert "choose another --port" in capsys.readouterr().err
    (tmp_path / "results.json").write_text("{}", encoding="utf-8")
    assert tiny.command("serve", tmp_path) == 2
    assert "holds an experiment and no model" in capsys.readouterr().err
    assert tiny.command("serve", tmp_path / "nowhere") == 2
    assert "there is no folder" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert tiny.command("serve", runs / "book") == 2
    assert "pip install 'minilm[serve]'" in capsys.readouterr().err
