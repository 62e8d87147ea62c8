// The page itself: tabs, dark mode, the choice of a text, the question to a live model, printing.
const ORDER = ["guesses", "answer", "reasons", "writing", "attention", "pair", "positions", "training", "watched", "ladder", "film"];
let current = DATA.texts[0] || null;

function build(keep) {
  const tabs = document.getElementById("tabs"), panels = document.getElementById("panels");
  const found = ORDER.map((name) => VIEWS.find((view) => view.name === name))
    .map((view) => [view, (current && current.views[view.name]) || DATA.run.views[view.name]]).filter(([, data]) => data);
  const drawn = new Set();
  const buttons = found.map(([view, data]) => el("button", { type: "button", role: "tab", id: `tab-${view.name}`, "aria-controls": `panel-${view.name}` }, view.title(data)));
  const sheets = found.map(([view, data]) => el("section", { role: "tabpanel", id: `panel-${view.name}`, "aria-labelledby": `tab-${view.name}`, tabindex: "0", hidden: true }, el("h2", {}, view.title(data))));
  const draw = (i) => {
    if (drawn.has(i)) return;
    drawn.add(i);
    sheets[i].append(found[i][0].draw(found[i][1], current));
  };
  const show = (i, focus) => {
    buttons.forEach((button, b) => { button.setAttribute("aria-selected", String(b === i)); button.tabIndex = b === i ? 0 : -1; sheets[b].hidden = b !== i; });
    draw(i);
    if (focus) buttons[i].focus();
    tabs.scrollLeft = Math.max(buttons[i].offsetLeft + buttons[i].offsetWidth - tabs.offsetWidth - tabs.offsetLeft + 12, Math.min(tabs.scrollLeft, buttons[i].offsetLeft - tabs.offsetLeft));
    history.replaceState(null, "", `#${found[i][0].name}`);
  };
  buttons.forEach((button, i) => {
    button.addEventListener("click", () => show(i, false));
    button.addEventListener("keydown", (event) => {
      const next = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: buttons.length - 1 }[event.key];
      if (next !== undefined) { event.preventDefault(); show((next + buttons.length) % buttons.length, true); }
    });
  });
  clear(tabs, buttons);
  clear(panels, sheets);
  if (found.length) show(Math.max(0, found.findIndex(([view]) => view.name === keep)), false);
  else panels.append(el("p", { class: "lead" }, "Write a text above to see what the model makes of it."));
  build.all = () => sheets.forEach((_, i) => draw(i));
  const missing = [...(current ? current.absent : []), ...DATA.run.absent];
  clear(document.getElementById("absent"), missing.length ? el("details", {}, el("summary", {}, `Not shown for this model (${missing.length})`), el("dl", {}, missing.map(([title, why]) => [el("dt", {}, title), el("dd", {}, why)]).flat())) : null);
}
const chosenView = () => location.hash.slice(1);
window.addEventListener("beforeprint", () => build.all());

function ask() {
  const place = document.getElementById("ask");
  if (DATA.live) {
    const text = el("textarea", { rows: 2, id: "text", required: true, dir: "auto" }), pair = el("textarea", { rows: 1, id: "pair", dir: "auto" });
    const go = el("button", { type: "submit", class: "go" }, "Explore"), said = el("p", { class: "notice", hidden: true, role: "alert" });
    const pairLabel = el("label", {}, "A second text, if you want the model to read two", pair);
    const form = el("form", { onsubmit: async (event) => {
      event.preventDefault();
      go.disabled = true;
      said.hidden = true;
      try {
        const asked = { text: text.value, ...(pair.value.trim() ? { pair: pair.value } : {}) };
        const reply = await fetch("api/explore", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) });
        const found = await reply.json();
        if (!reply.ok) throw new Error(found.error);
        current = found;
        build(chosenView());
      } catch (error) {
        said.textContent = error.message;
        said.hidden = false;
      }
      go.disabled = false;
    } }, el("label", {}, "A text of yours", text), DATA.pairs ? pairLabel : null, go, said);
    if (current) text.value = current.text;
    text.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
    place.append(form);
  } else if (DATA.texts.length > 1) {
    const names = DATA.texts.map((one) => (one.pair === null ? one.text : `${one.text} | ${one.pair}`));
    place.append(el("div", { class: "choose" }, menu("The text", names, 0, (i) => { current = DATA.texts[i]; build(chosenView()); })));
  }
}

function theme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  const button = document.getElementById("theme");
  button.setAttribute("aria-pressed", String(dark));
}
const preferred = window.matchMedia("(prefers-color-scheme: dark)");
preferred.addEventListener("change", (event) => theme(event.matches));
document.getElementById("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme !== "dark"));
theme(preferred.matches);
ask();
build(chosenView());
