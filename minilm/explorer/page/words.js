// What a fine-tuned model says, which words decided, whether two texts belong together, and how a text is written.
const KINDS = { PER: "person", LOC: "place", ORG: "organisation", MISC: "other name" };

VIEWS.push({
  name: "answer",
  title: () => "Answer",
  draw(view, text) {
    const panel = el("div");
    if (view.classes) {
      panel.append(el("p", { class: "text" }, "“", own(text.text), "”", text.pair === null ? null : [" and “", own(text.pair), "”"]),
        barTable("What the model says", view.classes, view.classes[0][0], "class"));
    } else if (view.marks.length) {
      const line = el("p", { class: "text", dir: "auto" });
      const letters = Array.from(text.text); // offsets count characters as Python does
      let at = 0;
      for (const mark of view.marks) {
        line.append(letters.slice(at, mark.start).join(""), el("mark", {}, letters.slice(mark.start, mark.end).join(""), mark.kind === "word" ? null : el("small", {}, KINDS[mark.kind] || mark.kind)));
        at = mark.end;
      }
      line.append(letters.slice(at).join(""));
      panel.append(el("p", { class: "lead" }, "What the model found in the text is marked."), line);
    } else {
      panel.append(el("p", { class: "lead" }, view.per_token ? "The model found nothing in this text." : "The model says:"), view.per_token ? el("p", { class: "text" }, own(text.text)) : el("p", { class: "big" }, own(view.shown || view.label)));
    }
    return panel;
  },
});

const METHODS = {
  occlusion: "each word is hidden in turn; how much less sure is the model?",
  "gradient × input": "how steeply does the answer change with the vector of each word?",
  attention: "how much do the positions that the head reads attend to each word? (the same for every class)",
  "attention rollout": "attention followed back through all layers (the same for every class)",
};

VIEWS.push({
  name: "reasons",
  title: () => "Words that decided",
  draw(view) {
    const out = el("div");
    const draw = (c) => {
      const chosen = view.classes[c];
      const rows = chosen.methods.map((method) => {
        const largest = Math.max(...method.scores.map(Math.abs)) || 1;
        const line = el("p", { class: "decided", dir: "auto" });
        view.words.forEach((word, i) => {
          const share = method.scores[i] / largest;
          const span = el("span", { title: `${word}: ${share > 0 ? "+" : ""}${Math.round(100 * share)} of 100` }, styled(el("span", { class: share >= 0 ? "for" : "against" }), { opacity: String(0.75 * Math.abs(share)) }), word);
          line.append(i === view.first && i ? el("br") : "", span, " ");
        });
        const fall = method.curve.slice(1).reduce((sum, p) => sum + method.curve[0] - p, 0) / Math.max(1, method.curve.length - 1);
        return [el("h3", {}, method.name), el("p", { class: "small" }, METHODS[method.name] || ""), line,
          el("p", { class: "small" }, `Deletion test: the class falls by ${Math.round(100 * fall)} points on average when the words that this method names first are deleted one after the other.`)];
      });
      const series = chosen.methods.map((method) => ({ name: method.name, points: method.curve.map((p, j) => [j, p]) }));
      clear(out, rows.flat(), lineChart({ title: `Deletion test: how probable “${chosen.label}” is without the first words`, x: "words deleted", y: "", series, form: percent, zero: true }));
    };
    const controls = el("div", { class: "controls" }, menu("Explain the class", view.classes.map((c) => `${c.label} (${percent(c.p)})`), 0, draw));
    draw(0);
    return el("div", {}, el("p", { class: "lead" }, "Blue words speak for the class, orange words against it, in the opinion of four methods. They often disagree, so each is tested: if it names the right words, deleting them should change the model's mind."), controls, out);
  },
});

VIEWS.push({
  name: "pair",
  title: () => "Next sentence",
  draw(view, text) {
    const line = (first, second, p) => el("div", {}, el("p", { class: "text" }, own(first), " → ", own(second)), el("p", {}, el("span", { class: "big" }, percent(p)), " that the second follows the first"));
    return el("div", {}, el("p", { class: "lead" }, "While it was pretrained, the model also learned to say whether the second of two texts followed the first in a book, or was a random one."),
      el("h3", {}, "In this order"), line(text.text, text.pair, view.forward), el("h3", {}, "The other way round"), line(text.pair, text.text, view.backward));
  },
});

VIEWS.push({
  name: "writing",
  title: () => "Writing",
  draw(view, text) {
    const beside = el("div"), row = el("div", { class: "words" });
    const buttons = view.steps.map((step) => {
      const button = el("button", { type: "button", class: `word${step.joined ? " joined" : ""}` }, own(step.text));
      button.append(styled(el("span", { class: "sure", "aria-hidden": "true" }), { width: `${Math.max(2, 100 * step.p)}%` }));
      return button;
    });
    row.append(...buttons);
    const show = (n) => {
      const step = view.steps[n], rank = step.others.findIndex(([word]) => word === step.guess);
      clear(beside, barTable(`Token ${n + 1}: what could have stood here`, step.others, step.guess),
        el("p", {}, "“", own(step.text), `” was drawn, with ${percent(step.p)}`, rank === 0 ? ", the most probable token." : rank > 0 ? `, the ${nth(rank + 1)} most probable token.` : "; it is not among the tokens above."));
      announce(`${step.text}, ${percent(step.p)}`);
    };
    const lead = el("p", { class: "lead" }, "The model continues the text token by token. Each is drawn at random by its probability; choose one to see what else was possible.");
    if (!buttons.length) return el("div", {}, lead, el("p", {}, "The model wrote nothing: it ended the text at once."));
    choice(buttons, 0, show, "The tokens that were written")(row);
    return el("div", {}, lead, el("p", { class: "text" }, own(text.text), " …"), row, beside,
      el("p", { class: "small" }, `Drawn at temperature ${view.temperature} (the bars show the model's own probabilities, at temperature 1), seed ${view.seed}. The text ends because ${view.why}.`));
  },
});
