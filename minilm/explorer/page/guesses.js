// Hidden words (or the words that come next): what the model guesses at each place, after every layer.
const SIGNS = { "[CLS]": "stands before every text", "[SEP]": "ends every text", "[MASK]": "hides a word", "[UNK]": "a word that the vocabulary does not have" };
const SHOWN = 4; // guesses of each layer
function wordRow(tokens, make) {
  const row = el("div", { class: "words" });
  const buttons = tokens.map((token, t) => make(token, t));
  buttons.forEach((button, t) => {
    if (t && tokens[t].second && !tokens[t - 1].second) row.append(el("span", { class: "break" }));
    row.append(button);
  });
  return [row, buttons];
}

function lensTable(place, realWord) {
  const layers = place.best.length;
  const name = (l) => (layers === 1 ? "the model" : l === 0 ? "before layer 1" : l === layers - 1 ? `layer ${l}: the answer` : `after layer ${l}`);
  const rows = place.best.map((best, l) => el("tr", {}, el("th", { scope: "row" }, name(l)),
    best.slice(0, SHOWN).map(([word, p]) => el("td", {}, el("span", { class: `cell${word === realWord ? " real" : ""}`, title: `${word}: ${percent(p)}` },
      styled(el("span", { class: "tint" }), { opacity: String(0.06 + 0.5 * p) }), own(word), el("small", {}, percent(p))))),
    place.rank ? el("td", { class: "number" }, nth(place.rank[l])) : null));
  const head = el("tr", {}, el("th", { scope: "col" }, "the state …"), el("th", { scope: "col", colspan: Math.min(SHOWN, place.best[0].length) }, "read by the vocabulary"),
    place.rank ? el("th", { scope: "col" }, "real word is") : null);
  return el("div", { class: "scroll" }, el("table", { class: "lens" }, el("caption", {}, "How the guess comes about, layer by layer"), el("thead", {}, head), el("tbody", {}, rows)));
}

VIEWS.push({
  name: "guesses",
  title: (view) => (view.next ? "What comes next" : "Hidden words"),
  draw(view, text) {
    const panel = el("div"), best = el("div"), lens = el("div");
    const last = (place) => (place.truth ? place.truth[place.truth.length - 1] : null);
    const [row, buttons] = wordRow(text.tokens, (token, t) => {
      const place = view.places[t];
      const button = el("button", { type: "button", class: `word${token.joined ? " joined" : ""}${token.special ? " special" : ""}`, disabled: !place, title: SIGNS[token.text] }, own(token.text));
      if (place && place.truth) button.append(styled(el("span", { class: "sure", "aria-hidden": "true" }), { width: `${Math.max(2, 100 * last(place))}%` }));
      return button;
    });
    const show = (t) => {
      const place = view.places[t], answer = place.best[place.best.length - 1];
      const token = view.next ? text.tokens[t + 1] : text.tokens[t];
      const real = place.truth && token ? shownToken(token) : null;
      const caption = view.next ? ["After “", own(text.tokens[t].text), "” the model expects"] : ["With “", own(text.tokens[t].text), "” hidden, the model guesses"];
      const sentence = real ? ["The text has “", own(token.text), `”: ${percent(last(place))}, ${place.rank[place.rank.length - 1] === 1 ? "the first" : `the ${nth(place.rank[place.rank.length - 1])}`} guess.`] : ["Nobody knows what belongs here."];
      clear(best, barTable("", answer, real), el("p", {}, sentence));
      best.querySelector("caption").append(...caption);
      clear(lens, lensTable(place, real), el("p", { class: "small" }, place.best.length > 1
        ? "Only the last row is what the model says. The rows above read the unfinished states with the same output head (the “logit lens”), which was trained for the last row alone: a way of looking, and no proof of what the model thinks there."
        : "An LSTM has one state, which is read once."));
      announce(`${text.tokens[t].text}: ${answer.slice(0, 3).map(([w, p]) => `${w} ${percent(p)}`).join(", ")}`);
    };
    const mask = text.tokens.findIndex((token, t) => view.places[t] && token.text === "[MASK]");
    const places = Object.keys(view.places).map(Number);
    const first = mask >= 0 ? mask : view.next ? places[places.length - 1] : interesting(text.tokens, places, (t) => last(view.places[t]) || 0);
    choice(buttons, first, show, view.next ? "The tokens of the text" : "The word to hide")(row);
    const lead = view.next
      ? "Choose a token. The model has read the text up to there; below is what it expects next. The green line shows how much of its belief went to what really follows."
      : "Choose a word. The model reads the text with this word hidden, and guesses it. The green line shows how sure it was of the real word.";
    panel.append(el("p", { class: "lead" }, lead), row, el("div", { class: "two" }, best, lens));
    return panel;
  },
});

// Where to begin: a real word of some length that the model guesses well, if it guesses any.
function interesting(tokens, places, last) {
  const longest = Math.max(...places.map((t) => Math.min(4, [...tokens[t].text].length)));
  const able = places.filter((t) => [...tokens[t].text].length >= longest);
  return able.reduce((best, t) => (last(t) > last(best) ? t : best), able[0]);
}
