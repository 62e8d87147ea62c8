"""The page in a real browser, from a file and without the network: every view is opened, by clicks and by keys."""

import pytest
from browser import Browser, chromium
from explored import ATTACKS, lab, page, serving

from minilm.explorer.subject import open_subject

if chromium() is None:
    pytest.skip(
        "no Chromium is installed (apt install chromium), and nothing else can show the page (2026-11-27)",
        allow_module_level=True,
    )

TABS = "[...document.querySelectorAll('[role=tab]')].map(tab => tab.id.slice(4))"
SEEN = "document.querySelector('[role=tabpanel]:not([hidden])').innerText"
TEXTS = {
    "book": ("the old hen was in the barn .", "a dog came ."),
    "zeitung": ("我们今天会见了客人。", "大家都来了。"),
    "writer": ("the old man", None),
    "bytes": ("An old man, 老人 😀", None),
    "lstm": ("the old man", None),
    "texts": ("a warm and funny film", None),
    "pairs": ("the old hen", "a dog"),
    "names": ("李鹏总理今天在北京会见了客人。", None),
}
SHOWS = {  # words that each view must have
    "guesses": "layer by layer",
    "answer": "model",
    "reasons": "Deletion test",
    "writing": "was drawn",
    "attention": "Layer 1, head 1",
    "pair": "The other way round",
    "positions": "The bias of each head",
    "training": "What was measured",
    "watched": "Step:",
    "ladder": "Every model on the same labels",
    "film": "Two heads of",
}


@pytest.fixture(scope="module")
def browser():
    with Browser() as found:
        yield found


@pytest.fixture
def opened(browser, tmp_path):
    """Open the page of a subject from a file; at the end, nothing may have gone wrong or been fetched."""

    def run(subject, *texts, width=1280, dark=False, **how):
        file = tmp_path / "page.html"
        file.write_text(page(subject, *texts, **how), encoding="utf-8")
        browser.visit(file.as_uri(), width=width, dark=dark)
        return browser

    browser.problems.clear()
    browser.requests.clear()
    yield run
    assert browser.problems == []
    assert all(url.startswith("file://") for url in browser.requests), browser.requests


def choose(browser, menus, number, option):
    """Choose an option of a menu, as a reader does."""
    menu = f"document.querySelectorAll('{menus}')[{number}]"
    browser.run(f"(() => {{ {menu}.selectedIndex = {option}; {menu}.dispatchEvent(new Event('change')) }})()")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", TEXTS)
def test_every_view_opens_and_fits(subjects, opened, name, dark):
    text, pair = TEXTS[name]
    browser = opened(subjects[name], text, pairs=[pair] if pair else (), width=400 if dark else 1280, dark=dark)
    names = browser.run(TABS)
    assert len(names) >= 3
    for view in names:
        browser.run(f"document.getElementById('tab-{view}').click()")
        assert SHOWS[view] in browser.run(SEEN), view
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), f"{view} is wider than the window"
    colour = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(18, 22, 28)") == dark


def test_the_film_and_the_ladder_open(subjects, opened, tmp_path):
    lab(tmp_path, [["100 0", "40 60"], ["100 0", "0 100"]])
    browser = opened(open_subject(tmp_path))
    assert browser.run(TABS) == ["film"] and SHOWS["film"] in browser.run(SEEN)
    move = "const slider = document.querySelector('input[type=range]'); slider.value = 0; slider.dispatchEvent(new Event('input'))"
    browser.run(f"(() => {{ {move} }})()")
    assert "Step 0: loss 2 nats" in browser.run(SEEN)


def test_every_control_of_the_attention_works(subjects, opened):
    browser = opened(subjects["book"], "the old hen", pairs=["a dog"])
    browser.run("document.getElementById('tab-attention').click()")
    heads = browser.run("document.querySelectorAll('.head').length")
    assert heads == 6
    browser.run("document.querySelectorAll('.head')[5].click()")
    assert "Layer 3, head 2" in browser.run(SEEN)
    for select, option, shows in (
        (1, 1, "the mean of all heads"),
        (0, 1, "Choose a token on the left"),
        (2, 1, "Arcs"),
    ):
        choose(browser, "#panel-attention select", select, option)
        assert shows in browser.run(SEEN)
    # only arcs from the first text to the second are left
    assert browser.run("document.querySelectorAll('#panel-attention .link').length") > 0
    browser.run("document.querySelectorAll('#panel-attention .place')[1].dispatchEvent(new MouseEvent('click'))")
    assert "attends to" in browser.run("document.querySelector('#panel-attention .readout').textContent")


def test_the_keyboard_reaches_everything(subjects, opened):
    browser = opened(subjects["book"], "the old hen was in the barn .")
    browser.run("document.getElementById('tab-guesses').focus()")
    browser.key("ArrowRight")
    assert browser.run("document.activeElement.id") == "tab-attention" and "Layer 1, head 1" in browser.run(SEEN)
    browser.run("document.querySelector('.head[tabindex=\"0\"]').focus()")
    browser.key("ArrowRight")
    browser.key("ArrowDown")
    assert "Layer 2, head 2" in browser.run(SEEN)
    browser.run("document.querySelector('#panel-attention svg[role=application]').focus()")
    browser.key("ArrowRight")
    assert "attends to" in browser.run("document.getElementById('live').textContent")
    browser.run("document.getElementById('tab-guesses').focus()")
    browser.key("Home")
    before = browser.run("document.querySelector('#panel-guesses caption').textContent")
    browser.run("document.querySelector('#panel-guesses .word[aria-checked=true]').focus()")
    browser.key("ArrowLeft")
    assert browser.run("document.querySelector('#panel-guesses caption').textContent") != before
    browser.run("document.getElementById('theme').click()")
    assert browser.run("document.documentElement.dataset.theme") == "dark"


def test_what_can_be_pressed_has_a_name(subjects, opened):
    browser = opened(subjects["texts"], "a warm and funny film")
    for view in browser.run(TABS):
        browser.run(f"document.getElementById('tab-{view}').click()")
    nameless = """[...document.querySelectorAll('button, select, input, svg[role], [role=button], [role=radiogroup]')]
        .filter(node => !(node.getAttribute('aria-label') || node.textContent.trim() || node.labels?.length || node.closest('button')))
        .map(node => node.outerHTML.slice(0, 80))"""
    assert browser.run(nameless) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_runs_as_a_script(subjects, opened, attack):
    """Also where the text is the folder's name, a pair, or a watched sentence."""
    book = subjects["book"]
    browser = opened(type(book)(book.folder, book.loaded, attack, attack), attack, pairs=[attack])
    for view in browser.run(TABS):
        browser.run(f"document.getElementById('tab-{view}').click()")
    assert browser.run("document.querySelectorAll('img, svg[onload], [onerror]').length") == 0
    assert browser.run("document.scripts.length") == 2
    assert browser.run("document.querySelector('h1').textContent") == attack.replace("\x00", "")


def test_the_policy_stops_a_script_that_got_in(subjects, opened, browser):
    """The second wall: even markup that reached the page would not run."""
    opened(subjects["book"], "the old hen")
    browser.run(
        "window.ran = false; document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"window.ran = true\">')"
    )
    browser.run("new Promise(done => setTimeout(done, 200))")
    assert browser.run("window.ran") is False
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()


def test_all_views_are_printed(subjects, opened):
    browser = opened(subjects["texts"], "a warm and funny film")
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    drawn = browser.run("[...document.querySelectorAll('[role=tabpanel]')].map(panel => panel.children.length)")
    assert len(drawn) == 4 and min(drawn) > 1
    assert browser.printed().count(b"/Type /Page\n") >= 2


def test_the_page_of_several_texts_changes_with_the_choice(subjects, opened):
    browser = opened(subjects["book"], "the old hen", "a young dog")
    tokens = "[...document.querySelectorAll('#panel-guesses .word')].map(word => word.textContent).join('')"
    before = browser.run(tokens)
    browser.run(
        "(() => { const m = document.querySelector('#ask select'); m.selectedIndex = 1; m.dispatchEvent(new Event('change')) })()"
    )
    assert before != browser.run(tokens) and "dog" in browser.run(tokens)


def test_the_live_page_asks_the_model_and_says_what_it_refuses(subjects):
    """`minilm serve`: a text is typed and explored; one that is too long gets its sentence; markup stays text."""
    pytest.importorskip("uvicorn", reason="the extra `serve` is not installed (2026-11-27)")
    from minilm.explorer.answers import served
    from minilm.explorer.service import Service

    with serving(Service(served(subjects["book"]))) as address, Browser(offline=False) as browser:
        browser.visit(f"{address}/")
        assert browser.run(TABS) == ["positions", "training", "watched"]
        ask = """(text, pair) => new Promise(done => {
            document.getElementById('text').value = text;
            document.getElementById('pair').value = pair;
            const go = document.querySelector('.go');
            new MutationObserver(() => { if (!go.disabled) done(); }).observe(go, { attributes: true });
            go.click();
        })"""
        browser.run(f"({ask})('</script><img src=x onerror=alert(1)> hen', 'a dog')")
        assert browser.run(TABS)[:3] == ["guesses", "attention", "pair"]
        browser.run("document.getElementById('tab-guesses').click()")
        assert SHOWS["guesses"] in browser.run(SEEN) and browser.run("document.images.length") == 0
        assert browser.problems == []
        browser.run(f"({ask})('hen '.repeat(500), '')")
        assert "shorten it" in browser.run("document.querySelector('.notice').innerText")
        assert [problem for problem in browser.problems if "400" not in problem] == []  # the console notes the refusal
