// What all views share: making elements, writing numbers, choosing with the keyboard. Text enters the page as text alone.
const DATA = JSON.parse(document.getElementById("data").textContent);
const VIEWS = []; // {name, title, draw(view, text) → element}, in the order of the tabs

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const own = (text) => el("bdi", { dir: "auto" }, text); // a reader's text, which may run from right to left

function percent(p) {
  if (p >= 1) return "100 %";
  if (p >= 0.9995) return "> 99.9 %";
  if (p >= 0.9895) return `${(100 * p).toFixed(1)} %`;
  if (p >= 0.0995) return `${Math.round(100 * p)} %`;
  if (p >= 0.00095) return `${(100 * p).toFixed(1)} %`;
  return p > 0 ? "< 0.1 %" : "0 %";
}
const number = (x) => (Math.abs(x) >= 1000 ? Math.round(x).toLocaleString("en") : String(Number(x.toPrecision(3)))).replace("-", "−");
function nth(n) {
  const end = { 1: "st", 2: "nd", 3: "rd" }[n % 10];
  return n.toLocaleString("en") + (end && ![11, 12, 13].includes(n % 100) ? end : "th");
}
function announce(text) { // for screen readers
  document.getElementById("live").textContent = text;
}
function bytes(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}
function styled(node, values) {
  Object.assign(node.style, values); // the page's policy forbids style attributes, and allows this
  return node;
}
const clear = (node, ...children) => { node.replaceChildren(...children.flat().filter(Boolean)); return node; };

// Buttons of which one is chosen: Tab goes to the group, the arrow keys move within it.
function choice(buttons, chosen, choose, label, columns = 1) {
  const able = buttons.filter((button) => !button.disabled);
  const set = (button, focus) => {
    for (const other of able) {
      other.setAttribute("aria-checked", String(other === button));
      other.tabIndex = other === button ? 0 : -1;
    }
    if (focus) button.focus();
    choose(buttons.indexOf(button));
  };
  able.forEach((button, place) => {
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => set(button, false));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
      const next = event.key === "Home" ? 0 : event.key === "End" ? able.length - 1 : step === undefined ? null : place + step;
      if (next === null) return;
      event.preventDefault();
      if (able[next]) set(able[next], true);
    });
  });
  if (able.length) set(able.includes(buttons[chosen]) ? buttons[chosen] : able[0], false);
  return (node) => filled(node, { role: "radiogroup", "aria-label": label }, []);
}

function menu(label, names, chosen, choose) {
  const select = el("select", { onchange: () => choose(select.selectedIndex) }, names.map((name) => el("option", {}, name)));
  select.selectedIndex = chosen;
  return el("label", {}, label, select);
}

// A table of words with their probabilities as bars. `real` is the word that really stands there.
function barTable(caption, rows, real, heading = "guess") {
  const body = rows.map(([word, p]) => el("tr", { class: word === real ? "real" : null },
    el("th", { scope: "row" }, own(word), word === real ? el("span", { class: "hidden" }, " (the real one)") : null),
    el("td", { class: "barcell", "aria-hidden": "true" }, styled(el("div", { class: "bar" }), { width: `${100 * p}%` })),
    el("td", { class: "number" }, percent(p))));
  const head = el("tr", { class: "hidden" }, el("th", { scope: "col" }, heading), el("th", {}), el("th", { scope: "col" }, "probability"));
  return el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, body));
}
const shownToken = (token) => (token.joined ? `…${token.text}` : token.text);
