// Lines over steps or distances, with a value that can be read by pointer and by arrow keys, and the numbers as a table.
const DASHES = ["", "7 4", "2 3", "9 3 2 3", "12 4", "1 5"];

function ticks(low, high, most = 5) {
  const raw = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw * 0.999);
  const out = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) out.push(Number(at.toPrecision(12)));
  return out;
}

// series: [{name, points: [[x, y], …], kind}]; kinds share a colour. Returns a figure with `mark(x)`, which draws a line there.
function lineChart({ title, x, y, series, form = number, zero = false, height = 260, at = (v) => `${x} ${number(v)}` }) {
  const W = Math.max(320, Math.min(720, innerWidth - 60)), left = 56, right = 30, top = 10, bottom = 44;
  const all = series.flatMap((s) => s.points);
  const xs = [...new Set(all.map((p) => p[0]))].sort((a, b) => a - b);
  let [low, high] = [Math.min(...all.map((p) => p[1]), zero ? 0 : Infinity), Math.max(...all.map((p) => p[1]))];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const pad = (high - low) * 0.05;
  [low, high] = [zero && low === 0 ? 0 : low - pad, high + pad];
  const px = (v) => left + ((v - xs[0]) / (xs[xs.length - 1] - xs[0] || 1)) * (W - left - right);
  const py = (v) => top + (1 - (v - low) / (high - low)) * (height - top - bottom);
  const kinds = [...new Set(series.map((s) => s.kind ?? s.name))];
  const kindOf = (s) => kinds.indexOf(s.kind ?? s.name) % 6;
  const picture = svg("svg", { viewBox: `0 0 ${W} ${height}`, class: "chart", role: "img", tabindex: "0",
    "aria-label": `${title}. ${series.slice(0, 4).map((s) => `${s.name}: from ${form(s.points[0][1])} to ${form(s.points[s.points.length - 1][1])}`).join("; ")}. Arrow keys read single values.` });
  for (const at of ticks(low, high)) {
    picture.append(svg("path", { class: "axis", d: `M${left} ${py(at)}H${W - right}` }),
      svg("text", { class: "soft", x: left - 8, y: py(at) + 4, "text-anchor": "end", "font-size": 13 }, form(at)));
  }
  for (const at of ticks(xs[0], xs[xs.length - 1], W > 500 ? 6 : 4)) {
    picture.append(svg("text", { class: "soft", x: px(at), y: height - bottom + 20, "text-anchor": "middle", "font-size": 13 }, number(at)));
  }
  picture.append(svg("text", { class: "soft", x: (left + W - right) / 2, y: height - 6, "text-anchor": "middle", "font-size": 13 }, x));
  for (const s of series) {
    const d = s.points.map((p, i) => `${i ? "L" : "M"}${px(p[0]).toFixed(1)} ${py(p[1]).toFixed(1)}`).join("");
    picture.append(svg("path", { class: `series s${kindOf(s)}`, d, "stroke-dasharray": DASHES[kindOf(s)] }));
  }
  const cursor = svg("path", { class: "cursor" }), readout = el("p", { class: "readout" });
  picture.append(cursor);
  let place = xs.length - 1;
  const read = (i, say) => {
    place = Math.max(0, Math.min(xs.length - 1, i));
    const found = series.map((s) => [s.name, s.points.find((p) => p[0] === xs[place])]).filter(([, p]) => p);
    readout.textContent = `${at(xs[place])}: ${found.slice(0, 6).map(([name, p]) => (series.length > 1 ? `${name} ` : "") + form(p[1])).join(" · ")}${y ? ` ${y}` : ""}`;
    if (say !== null) cursor.setAttribute("d", `M${px(xs[place])} ${top}V${height - bottom}`);
    if (say) announce(readout.textContent);
  };
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const from = ((event.clientX - box.left) / box.width) * W;
    read(xs.reduce((best, v, i) => (Math.abs(px(v) - from) < Math.abs(px(xs[best]) - from) ? i : best), 0), false);
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -xs.length, End: xs.length }[event.key];
    if (step) { event.preventDefault(); read(place + step, true); }
  });
  read(place, null);
  const legend = kinds.length > 1 ? el("ul", { class: "legend" }, kinds.map((kind, i) => el("li", {},
    svg("svg", { width: 34, height: 10, "aria-hidden": "true" }, svg("path", { class: `series s${i % 6}`, d: "M0 5H34", "stroke-dasharray": DASHES[i % 6] })), kind))) : null;
  const head = el("tr", {}, el("th", { scope: "col" }, x), series.map((s) => el("th", { scope: "col" }, s.name)));
  const rows = xs.map((v) => el("tr", {}, el("th", { scope: "row" }, number(v)), series.map((s) => {
    const p = s.points.find((q) => q[0] === v);
    return el("td", {}, p ? form(p[1]) : "–");
  })));
  const table = el("details", {}, el("summary", {}, "The numbers"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), el("tbody", {}, rows))));
  const figure = el("figure", {}, el("figcaption", {}, title), picture, legend, readout, table);
  figure.mark = (v) => read(xs.indexOf(v), false);
  return figure;
}
