// What belongs to the folder and not to a text: positions, curves, watched words, the ladder, the film.
function slider(label, count, show, words) {
  const input = el("input", { type: "range", min: 0, max: count - 1, value: count - 1, step: 1 });
  const out = el("output", {});
  const update = () => { const i = Number(input.value); out.textContent = words(i); input.setAttribute("aria-valuetext", words(i)); show(i); };
  input.addEventListener("input", update);
  let timer = null;
  const play = el("button", { type: "button" }, "Play");
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(input.value) === count - 1) input.value = 0;
    play.textContent = "Stop";
    update();
    timer = setInterval(() => {
      input.value = Number(input.value) + 1;
      update();
      if (Number(input.value) === count - 1) stop();
    }, 350);
  });
  update();
  return el("div", {}, el("label", {}, `${label}: `, out, input), play);
}

VIEWS.push({
  name: "positions",
  title: () => "Positions",
  draw(view) {
    const series = view.heads.map((values, h) => ({ name: `head ${h + 1}`, points: values.map((b, i) => [view.offsets[i], b]) }));
    return el("div", {}, el("p", { class: "lead" }, "This model does not know where in the text a token stands, only how far before or after another. Each head has learned what to add to the score of a token at each distance: a peak at −1 is a head that looks at the token before."),
      lineChart({ title: "The bias of each head by relative position, shared by all layers", x: "tokens before (−) and after the one that looks", y: "", series, at: (v) => (v < 0 ? `${-v} before` : v > 0 ? `${v} after` : "the token itself") }));
  },
});

VIEWS.push({
  name: "training",
  title: () => "Training",
  draw(view) {
    return el("div", {}, el("p", { class: "lead" }, `What was measured while the model was trained${view.minutes === null ? "" : `, in ${view.minutes} minutes`}.`),
      view.curves.map((curve) => lineChart({ title: curve.title, x: "step", y: curve.unit === "share" ? "" : curve.unit, form: curve.unit === "share" ? percent : number, series: [{ name: curve.title, points: curve.points }] })));
  },
});

VIEWS.push({
  name: "watched",
  title: () => "Watched words",
  draw(view) {
    const out = el("div");
    const show = (i) => clear(out, view.frames[i].map((row) => el("div", { class: "two" }, el("p", { class: "text" }, own(row.text)),
      barTable("", row.guesses.map(([word, p]) => [word.startsWith("##") ? `…${word.slice(2)}` : word, p]), null))));
    const move = slider("Step", view.steps.length, show, (i) => view.steps[i].toLocaleString("en"));
    return el("div", {}, el("p", { class: "lead" }, "What the model guessed for the hidden words of these sentences, from its first step to its last. Move the slider."), move, out);
  },
});

VIEWS.push({
  name: "ladder",
  title: () => "Ladder",
  draw(view) {
    const all = view.rows.flatMap((row) => row.scores), low = Math.min(...all), high = Math.max(...all), W = 300;
    const x = (s) => 8 + ((s - low) / (high - low || 1)) * (W - 16);
    const mean = (scores) => scores.reduce((a, b) => a + b, 0) / scores.length;
    const rows = view.rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row.model), el("td", { class: "number" }, row.labels.toLocaleString("en")), el("td", { class: "number" }, mean(row.scores).toFixed(3)),
      el("td", {}, svg("svg", { viewBox: `0 0 ${W} 18`, class: "fit seeds", role: "img", "aria-label": `seeds: ${row.scores.map((s) => s.toFixed(3)).join(", ")}` }, svg("path", { class: "axis", d: `M8 9H${W - 8}` }),
        row.scores.map((s) => svg("circle", { class: "dot s0", cx: x(s), cy: 9, r: 4, "fill-opacity": 0.75 }))))));
    const head = el("tr", {}, el("th", { scope: "col" }, "model"), el("th", { scope: "col" }, "labels"), el("th", { scope: "col" }, view.score), el("th", { scope: "col" }, `each seed, from ${low.toFixed(3)} to ${high.toFixed(3)}`));
    return el("div", {}, el("p", { class: "lead" }, "Every model on the same labels and the same unseen test set. The dots are single seeds: where they overlap, the order of two rows is luck."), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
  },
});

VIEWS.push({
  name: "film",
  title: () => "Emergence",
  draw(view) {
    const series = view.curves.map((curve) => ({ name: `${curve.arm}, seed ${curve.seed}`, kind: curve.arm, points: curve.points }));
    const chart = lineChart({ title: "Loss on what repeats, for every model", x: "step", y: "nats", series, zero: true });
    const panel = el("div", {}, el("p", { class: "lead" }, "Small models learn to continue rows of symbols that repeat. What comes next can only be looked up: find where the symbol stood before, and see what followed it."), chart);
    if (view.frames.length) {
      const maps = el("div", { class: "maps" }), names = ["Layer 1: the head that looks most at the place before", "Layer 2: the head that looks most at what followed last time"];
      const show = (i) => {
        const frame = view.frames[i];
        clear(maps, frame.maps.map((rows, h) => el("figure", {}, el("figcaption", {}, names[h] || `Head ${h + 1}`), smallMap((t, s) => 2.55 * rows[t][s], rows.length, 320, `attention at step ${frame.step}`))),
          el("p", { class: "readout" }, `Step ${frame.step.toLocaleString("en")}: loss ${number(frame.loss)} nats · best previous-token head ${percent(frame.scores["previous-token score"])} · best induction head ${percent(frame.scores["induction score"])}`));
        chart.mark(frame.step);
      };
      panel.append(el("h3", {}, `Two heads of “${view.arm}”`), slider("Step", view.frames.length, show, (i) => view.frames[i].step.toLocaleString("en")), maps);
    }
    return panel;
  },
});
