// Attention: maps of every head, one of them large as a matrix or as arcs.
const LEVELS = 16, MANY = 40; // tokens, for which the large map gets the whole width

// One path for each of 16 strengths, so that a map of 100 × 100 weights is 16 elements and not 10,000.
function cells(weight, T, size, group = svg("g")) {
  const paths = Array.from({ length: LEVELS }, () => []);
  for (let t = 0; t < T; t++) {
    for (let s = 0; s < T; s++) {
      const level = Math.round((weight(t, s) / 255) ** 0.75 * LEVELS);
      if (level > 0) paths[level - 1].push(`M${(s * size).toFixed(2)} ${(t * size).toFixed(2)}h${size}v${size}h${-size}z`);
    }
  }
  paths.forEach((d, i) => { if (d.length) group.append(svg("path", { class: "weight", d: d.join(""), "fill-opacity": ((i + 1) / LEVELS).toFixed(3), "shape-rendering": "crispEdges" })); });
  return group;
}

function smallMap(weight, T, side, label) {
  return svg("svg", { width: side, height: side, viewBox: `0 0 ${side} ${side}`, role: "img", "aria-label": label },
    svg("rect", { class: "ground", width: side, height: side }), cells(weight, T, side / T));
}

function matrixOf(tokens, weight, readout) {
  const T = tokens.length, room = Math.min(T > MANY ? 1030 : 560, innerWidth - 70);
  const font = Math.max(8, Math.min(14, (room / (T + 4)) * 0.62));
  const longest = Math.max(...tokens.map((token) => [...token.text].reduce((w, c) => w + (c > "\u2e80" ? 1 : 0.64), 0)));
  const side = Math.min(150, Math.max(40, longest * font + 12)), size = Math.max(7.5, Math.min(30, (room - side) / T)), W = side + T * size + 4;
  const picture = svg("svg", { width: W, height: W, viewBox: `0 0 ${W} ${W}`, role: "application", tabindex: "0", "aria-label": "Attention matrix. A row is a token that looks, a column one that is looked at. Arrow keys read single weights." });
  picture.append(svg("rect", { class: "ground", x: side, y: side, width: T * size, height: T * size }), cells(weight, T, size, svg("g", { transform: `translate(${side} ${side})` })));
  const middle = (t) => side + (t + 0.5) * size;
  const cut = (word) => (longest * font + 12 > 150 && [...word].length > 16 ? `${[...word].slice(0, 15).join("")}…` : word);
  tokens.forEach((token, t) => {
    picture.append(svg("text", { x: side - 6, y: middle(t) + font / 3, "text-anchor": "end", "font-size": font }, cut(token.text)),
      svg("text", { x: 0, y: 0, "font-size": font, transform: `translate(${middle(t) + font / 3} ${side - 6}) rotate(-90)` }, cut(token.text)));
  });
  const cross = svg("path", { class: "cross" });
  picture.append(cross);
  let [row, column] = [0, 0];
  const read = (t, s, say) => {
    [row, column] = [Math.max(0, Math.min(T - 1, t)), Math.max(0, Math.min(T - 1, s))];
    cross.setAttribute("d", `M${side + column * size} ${side + row * size}h${size}v${size}h${-size}z`);
    clear(readout, "“", own(tokens[row].text), "” attends to “", own(tokens[column].text), `”: ${percent(weight(row, column) / 255)}`);
    if (say) announce(readout.textContent);
  };
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const s = Math.floor((event.clientX - box.left - side) / size), t = Math.floor((event.clientY - box.top - side) / size);
    if (s >= 0 && t >= 0 && s < T && t < T) read(t, s, false);
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (step) { event.preventDefault(); read(row + step[0], column + step[1], true); }
  });
  return picture;
}

function arcsOf(tokens, weight, readout) {
  const T = tokens.length, step = 24, W = Math.min(560, innerWidth - 70), left = Math.round(W * 0.3), right = W - left, H = T * step + 8;
  const picture = svg("svg", { width: W, height: H, viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": "Attention as arcs: left the tokens that look, right those that are looked at" });
  const y = (t) => t * step + 18, arcs = svg("g"), values = svg("g");
  const arc = (t, s) => `M${left + 6} ${y(t) - 4}C${(left + right) / 2} ${y(t) - 4} ${(left + right) / 2} ${y(s) - 4} ${right - 6} ${y(s) - 4}`;
  const draw = (only) => {
    clear(arcs); clear(values);
    for (let t = 0; t < T; t++) {
      if (only !== null && t !== only) continue;
      for (let s = 0; s < T; s++) {
        const w = weight(t, s) / 255;
        if (w < (only === null ? 0.05 : 0.01)) continue;
        arcs.append(svg("path", { class: "link", d: arc(t, s), "stroke-opacity": Math.min(1, 0.1 + 0.9 * w).toFixed(2), "stroke-width": (0.6 + 5 * w).toFixed(1) }));
        if (only !== null && w >= 0.03) values.append(svg("text", { class: "soft", x: W - 2, y: y(s), "text-anchor": "end", "font-size": 12 }, percent(w)));
      }
    }
  };
  picture.append(arcs, values);
  let places = [];
  const choose = (t, say) => {
    places.forEach((place, i) => { place.classList.toggle("on", i === t); place.tabIndex = i === (t ?? 0) ? 0 : -1; });
    draw(t);
    if (t === null) return clear(readout, "Arcs of 5 % and more. Choose a token on the left to see where it looks.");
    const best = tokens.map((token, s) => [token.text, weight(t, s) / 255]).sort((a, b) => b[1] - a[1]).slice(0, 4).filter(([, w]) => w >= 0.01);
    clear(readout, "“", own(tokens[t].text), "” attends to ", best.map(([word, w], i) => [i ? ", " : "", own(word), ` ${percent(w)}`]).flat());
    if (say) announce(readout.textContent);
  };
  const most = Math.floor(left / 9), short = (word) => ([...word].length > most ? `${[...word].slice(0, most - 1).join("")}…` : word);
  places = tokens.map((token, t) => svg("g", { class: "place", role: "button", "aria-label": `where ${token.text} looks`, tabindex: t ? "-1" : "0",
    onclick: () => choose(t, true), onfocus: () => choose(t, true),
    onkeydown: (event) => {
      const next = { ArrowDown: t + 1, ArrowUp: t - 1, Home: 0, End: T - 1 }[event.key];
      if (event.key === "Escape") choose(null, false);
      else if (next !== undefined && places[next]) { event.preventDefault(); places[next].focus(); }
    } },
    svg("rect", { class: "hit", x: 0, y: t * step + 2, width: left, height: step }), svg("text", { x: left, y: y(t), "text-anchor": "end", "font-size": 14 }, short(token.text))));
  picture.append(...places, ...tokens.map((token, s) => svg("text", { x: right, y: y(s), "font-size": 14 }, short(token.text))));
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const t = Math.floor((event.clientY - box.top - 2) / step);
    if ((event.clientX - box.left) / box.width * W < left && t >= 0 && t < T) choose(t, false);
  });
  choose(null, false);
  return picture;
}

VIEWS.push({
  name: "attention",
  title: () => "Attention",
  draw(view, text) {
    const tokens = text.tokens, T = tokens.length, layers = view.layers.map(bytes), H = view.heads;
    const state = { layer: 0, head: 0, arcs: false, part: 0, mean: false };
    const raw = (l, h) => (t, s) => layers[l][(h * T + t) * T + s];
    const mean = (l) => (t, s) => { let sum = 0; for (let h = 0; h < H; h++) sum += layers[l][(h * T + t) * T + s]; return sum / H; };
    const parts = [() => true, (t, s) => !tokens[t].second && tokens[s].second, (t, s) => tokens[t].second && !tokens[s].second, (t, s) => tokens[t].second === tokens[s].second];
    const big = el("div", { class: "scroll" }), readout = el("p", { class: "readout" }), title = el("h3");
    const draw = () => {
      const base = state.mean ? mean(state.layer) : raw(state.layer, state.head);
      const weight = (t, s) => (parts[state.part](t, s) ? base(t, s) : 0);
      title.textContent = `Layer ${state.layer + 1}, ${state.mean ? "the mean of all heads" : `head ${state.head + 1}`}`;
      clear(readout, state.arcs ? "" : "Point at a cell, or use the arrow keys. A row is a token that looks; a column, one that is looked at. Every row sums to 100 %.");
      clear(big, state.arcs ? arcsOf(tokens, weight, readout) : matrixOf(tokens, weight, readout));
    };
    const buttons = [], rows = layers.map((_, l) => el("div", { class: "row" }, el("span", {}, `layer ${l + 1}`), Array.from({ length: H }, (_, h) => {
      const button = el("button", { type: "button", class: "head", title: `layer ${l + 1}, head ${h + 1}`, "aria-label": `layer ${l + 1}, head ${h + 1}` }, smallMap(raw(l, h), T, H > 8 ? 58 : 74, ""));
      buttons.push(button);
      return button;
    })));
    const heads = el("div", { class: "heads" }, rows);
    const paired = tokens.some((token) => token.second);
    const controls = el("div", { class: "controls" },
      menu("Show it as", ["a matrix", "arcs"], 0, (i) => { state.arcs = i === 1; draw(); }),
      menu("Heads", ["the chosen head", "the mean of its layer"], 0, (i) => { state.mean = i === 1; draw(); }),
      paired ? menu("Which attention", ["everything", "from the first text to the second", "from the second text to the first", "within each text"], 0, (i) => { state.part = i; draw(); }) : null);
    choice(buttons, 0, (i) => { state.layer = Math.floor(i / H); state.head = i % H; draw(); }, "Layers and heads", H)(heads);
    return el("div", {}, el("p", { class: "lead" }, "Every head asks, for each token, where to look. These are all heads of the model on this text; choose one to see it large."), el("div", { class: "beside" }, heads, el("div", { class: T > MANY ? "large wide" : "large" }, controls, title, readout, big)));
  },
});
