"use strict";
// Sorts tables, and draws the charts whose data the page holds. Text is only ever set as text.

const NARROW = 560;
const MARGIN = { left: 72, right: 14, top: 12, bottom: 46 };
const NEAR = 40;  // pixels within which a mark is pointed at
const ZOOM = 1.6;
const MOST_RINGS = 12;
let charts = 0;

function make(tag, properties = {}, ...children) {
  const { data, ...others } = properties;
  const element = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(data ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function shape(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// As `tick_text` of the pictures: 0.03, 1000, 2·10⁻⁵.
function short(value, digits = 4) {
  if (value === 0) return "0";
  const rounded = Number(value.toPrecision(digits));
  if (Math.abs(value) > 1e-4 && Math.abs(value) < 1e5) return String(rounded).replace("-", "−");
  const [factor, power] = rounded.toExponential().split("e");
  const raised = "10" + power.replace("+", "").replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]);
  return (factor === "1" ? raised : `${factor}·${raised}`).replace("-", "−");
}

function roundSteps(low, high, most, least = 0) {
  const rough = Math.max((high - low) / most, least);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let at = Math.ceil(low / step); at * step <= high * (1 + 1e-9); at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

// Round numbers from low to high: on a logarithmic axis 1, 2, 5, 10, … or only powers of ten.
function roundNumbers(low, high, { log, whole }, most) {
  if (!log || high / low < 8) return roundSteps(low, high, most, whole ? 1 : 0);
  const found = [];
  const decades = Math.log10(high / low);
  const factors = decades < most / 2 ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / most));
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    if (power % every === 0) found.push(...factors.map((each) => Number(`${each}e${power}`)));
  }
  return found.filter((each) => each >= low && each <= high);
}

// The marks of one table: which are ticked, and which one is pointed at.
class Board {
  constructor(ticked, names) {
    Object.assign(this, { ticked: new Set(ticked), names, pointed: null, charts: [], rows: new Map(), boxes: new Map() });
  }

  point(mark) {
    if (mark === this.pointed) return;
    this.rows.get(this.pointed)?.classList.remove("pointed");
    this.rows.get(mark)?.classList.add("pointed");
    this.pointed = mark;
    for (const chart of this.charts) chart.light(mark);
  }

  tick(marks) {
    this.ticked = new Set(marks);
    for (const [mark, box] of this.boxes) box.checked = this.ticked.has(mark);
    for (const chart of this.charts) chart.draw();
  }

  toggle(mark) {
    const marks = new Set(this.ticked);
    if (!marks.delete(mark)) marks.add(mark);
    this.tick(marks);
  }

  // The chart whose lines are chosen by ticks, if any.
  get choosing() { return this.charts.find((each) => each.data.byMark); }

  isDrawn(mark) { return !this.choosing || this.ticked.has(mark); }

  // Let the rows of the table stand for the marks; a first column of boxes has their colours.
  join(table) {
    const { choosing } = this;
    if (choosing) table.tHead.rows[0].prepend(make("th", { scope: "col", className: "tick", textContent: "drawn" }));
    Array.from(table.tBodies[0].rows).forEach((row, mark) => {
      this.rows.set(mark, row);
      row.addEventListener("pointerenter", () => this.point(mark));
      row.addEventListener("pointerleave", () => this.point(null));
      if (!choosing) return;
      const box = make("input", { type: "checkbox", checked: this.ticked.has(mark), data: { "aria-label": `Draw ${this.names[mark]}` } });
      const swatch = make("span", { className: "swatch" });
      swatch.style.borderColor = choosing.colourOf(mark);
      box.addEventListener("change", () => this.toggle(mark));
      row.prepend(make("td", { className: "tick" }, box, swatch));
      row.addEventListener("focusin", () => this.point(mark));
      row.addEventListener("focusout", () => this.point(null));
      this.boxes.set(mark, box);
    });
  }
}

class Chart {
  constructor(holder, data, board) {
    Object.assign(this, { holder, data, board, hidden: new Set(), view: null, spots: [], at: null, id: `chart-${++charts}` });
    this.across = 0;
    this.up = data.isMap ? { key: 1 } : { metric: 0 };
    board.charts.push(this);
  }

  build() {
    const { data } = this;
    this.svg = shape("svg", { role: "img", "aria-labelledby": `${this.id}-title ${this.id}-about` });
    this.tip = make("div", { className: "tip", data: { role: "status" } });
    this.frame = make("div", { className: "frame", tabIndex: 0, data: { role: "group", "aria-label": data.title, "aria-describedby": `${this.id}-keys` } }, this.svg);
    this.legend = make("div", { className: "controls legend", data: { role: "group", "aria-label": `${data.title}: what is shown` } });
    const ticks = this.board.choosing ? ["; a click ticks its row", ", Enter ticks"] : ["", ""];
    const help = `Point at a mark for its values${ticks[0]}. Drag to zoom, double click to see all. Keys: arrows go from mark to mark${ticks[1]}, + and − zoom, Shift with arrows moves, 0 shows all.`;
    this.holder.append(
      make("h4", { textContent: data.title }),
      this.choices(), this.legend, this.frame, this.tip,
      make("p", { className: "note", id: `${this.id}-keys`, textContent: help }),
    );
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("blur", () => this.leave());
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerleave", () => { if (!this.drag) this.leave(); });
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    new ResizeObserver(() => { if (this.frame.clientWidth !== this.width) this.draw(); }).observe(this.frame);
    this.svg.addEventListener("dblclick", () => this.zoomTo(null));
  }

  choices() {
    const { data, board } = this;
    const controls = make("div", { className: "controls" });
    const choose = (label, options, start, change) => {
      const select = make("select", {}, ...options.map(([text, value]) => make("option", { textContent: text, value, selected: value === start })));
      select.addEventListener("change", () => { change(select.value); this.view = null; this.draw(); });
      controls.append(make("label", {}, `${label} `, select));
    };
    const keys = data.across.map((each, at) => [each.scale.label, `key-${at}`]).filter((_, at) => data.across[at].isKey);
    const metrics = data.up.map((each, at) => [each.scale.label, `metric-${at}`]);
    const upward = data.shares.length && keys.length > 1 ? [...metrics, ...keys] : metrics;
    if (upward.length > 1) {
      choose("up", upward, data.isMap ? "key-1" : "metric-0", (value) => {
        const [kind, at] = value.split("-");
        this.up = { [kind]: Number(at) };
      });
    }
    if (data.across.length > 1) choose("across", data.across.map((each, at) => [each.scale.label, String(at)]), "0", (value) => { this.across = Number(value); });
    const button = (text, label, act) => {
      const made = make("button", { type: "button", textContent: text, data: { "aria-label": `${data.title}: ${label}` } });
      made.addEventListener("click", act);
      controls.append(made);
    };
    button("+", "zoom in", () => this.zoom(1 / ZOOM));
    button("−", "zoom out", () => this.zoom(ZOOM));
    button("reset zoom", "reset zoom", () => this.zoomTo(null));
    if (board.choosing) {
      button("all", "tick all", () => board.tick(data.names.keys()));
      button("none", "tick none", () => board.tick([]));
      if (data.best.length) button("best", "tick the best and what is not distinguishable from it", () => board.tick(data.best));
    }
    return controls;
  }

  colourOf(mark) {
    const { shares, names } = this.data;
    if (names.length === 1) return null;
    if (!shares.length) return `var(--series-${mark % 6})`;
    return shares[mark] === null ? "var(--ramp-none)" : `color-mix(in oklab, var(--ramp-high) ${Math.round(100 * shares[mark])}%, var(--ramp-low))`;
  }

  // What is drawn: lines of points, each with its place, mark, texts and colour.
  lines() {
    const { data } = this;
    const across = data.across[this.across];
    if (this.up.key !== undefined) {
      const up = data.across[this.up.key];
      const points = data.names.map((_, m) => ({ x: across.places[m], y: up.places[m], m, colour: this.colourOf(m), big: true, text: this.valuesOf(m) }));
      return [{ points, joined: false, group: "" }];
    }
    const found = [];
    const { groups } = data.up[this.up.metric];
    for (const [index, group] of groups.entries()) {
      if (this.hidden.has(group.name)) continue;
      const said = (value, low, high) => `${group.name}: ${short(value)}` + (low !== undefined && low !== high ? ` [${short(low)}, ${short(high)}]` : "");
      for (const line of group.lines) {
        const one = typeof line.m === "number";
        if (one && !this.board.isDrawn(line.m)) continue;
        const xs = data.epochs ? data.xs[line.x] : line.m.map((m) => across.places[m] + (data.dodge ? 0.12 * (index - (groups.length - 1) / 2) : 0));
        const colour = (data.byMark ? this.colourOf(line.m) : null) ?? `var(--${group.colour})`;
        const points = line.y.map((y, at) => ({
          x: xs[at], y, m: one ? line.m : line.m[at], low: line.low?.[at], high: line.high?.[at], colour, small: one,
          text: (line.name ? `${line.name}, ` : "") + (data.epochs ? `epoch ${xs[at]}\n` : "") + said(y, line.low?.[at], line.high?.[at]),
        })).filter((point) => point.y !== null).sort((a, b) => a.x - b.x);
        found.push({ points, joined: data.epochs ? true : across.joined, colour, dash: group.dash, run: one, m: one ? line.m : null, group: group.name });
      }
      const dots = group.dots.filter(([, y]) => y !== null).map(([m, y, name]) => ({ x: across.places[m], y, m, colour: `var(--${group.colour})`, tiny: true, text: `${name}: ${said(y)}` }));
      if (dots.length) found.push({ points: dots, joined: false, group: group.name });
    }
    return found;
  }

  valuesOf(mark) {
    const { groups } = this.data.up[0];
    const values = groups.flatMap((group) => group.lines.flatMap((line) => line.m.flatMap((m, at) => (m === mark ? [`${group.name} ${this.data.up[0].scale.label}: ${short(line.y[at])}` + (line.low[at] === line.high[at] ? "" : ` [${short(line.low[at])}, ${short(line.high[at])}]`)] : []))));
    return values.join("\n") || "no value";
  }

  scales() {
    const { data } = this;
    const x = data.epochs ?? data.across[this.across].scale;
    const y = this.up.key === undefined ? data.up[this.up.metric].scale : data.across[this.up.key].scale;
    const range = (scale, room) => {
      const [low, high] = [scale.low, scale.high].map((each) => (scale.log ? Math.log(each) : each));
      const extra = high > low ? room * (high - low) : 0.1 * Math.abs(low) || 0.5;
      return [low - extra, high + extra];
    };
    const padded = this.up.key === undefined;
    const whole = range(x, data.epochs ? 0 : 0.02);
    const [x0, x1] = this.view?.x ?? (x.falls ? whole.reverse() : whole);
    const [y0, y1] = this.view?.y ?? range(y, padded ? 0.05 : 0.03);
    const { width, height } = this;
    const left = MARGIN.left, right = width - MARGIN.right, bottom = height - MARGIN.bottom;
    const on = (scale) => (value) => (scale.log ? Math.log(value) : value);
    return {
      x, y, range: { x: [x0, x1], y: [y0, y1] },
      px: (value) => left + ((on(x)(value) - x0) / (x1 - x0)) * (right - left),
      py: (value) => bottom - ((on(y)(value) - y0) / (y1 - y0)) * (bottom - MARGIN.top),
      fromX: (place) => x0 + ((place - left) / (right - left)) * (x1 - x0),
      fromY: (place) => y0 + ((bottom - place) / (bottom - MARGIN.top)) * (y1 - y0),
    };
  }

  draw() {
    this.width = Math.max(280, Math.round(this.frame.clientWidth) || 640);
    this.height = this.width < NARROW ? 300 : 400;
    const { width, height, data, svg } = this;
    const scales = (this.now = this.scales());
    const lines = this.lines();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    const about = `${scales.y.label} over ${scales.x.label}; ${lines.length} lines or sets of points. The tables hold the same values.`;
    const inside = { x: MARGIN.left, y: MARGIN.top, width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
    const items = shape("g", { "clip-path": `url(#${this.id}-clip)` });
    this.spots = [];
    this.lit = new Map();
    for (const line of lines) this.drawLine(items, line, scales);
    if (this.up.key === undefined && !data.epochs) this.drawLost(items, scales);
    this.items = items;
    this.over = shape("g", { "clip-path": `url(#${this.id}-clip)` });
    svg.replaceChildren(
      shape("title", { id: `${this.id}-title` }, data.title), shape("desc", { id: `${this.id}-about` }, about),
      shape("defs", {}, shape("clipPath", { id: `${this.id}-clip` }, shape("rect", inside))),
      ...this.axes(scales, inside), items, this.over,
    );
    this.drawLegend();
    this.light(this.board.pointed);
  }

  keep(mark, element) {
    if (!this.lit.has(mark)) this.lit.set(mark, []);
    this.lit.get(mark).push(element);
    element.classList.add("item");
    return element;
  }

  drawLine(items, line, { px, py, range, x: scaleX, y: scaleY }) {
    const room = (pixels, values) => pixels / new Set(values).size / 2.2;
    const apart = Math.min(room(this.height, line.points.map((each) => each.y)), room(this.width, line.points.map((each) => each.x)));
    const large = Math.min(9, Math.max(4, apart));
    const places = line.points.map((point) => [px(point.x), py(point.y)]);
    if (line.joined && places.length) {
      const path = shape("path", { class: line.run ? "line run" : "line", d: `M${places.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}` });
      path.style.stroke = line.colour;
      if (line.dash) path.style.strokeDasharray = line.dash === "dash" ? "6 3" : "7 3 2 3";
      items.append(line.m === null ? path : this.keep(line.m, path));
    }
    const inside = (value, log, ends) => { const at = log ? Math.log(value) : value; return at >= Math.min(...ends) && at <= Math.max(...ends); };
    line.points.forEach((point, at) => {
      if (!inside(point.x, scaleX.log, range.x) || !inside(point.y, scaleY.log, range.y)) return;
      const [x, y] = places[at];
      this.spots.push({ x, y, point, line });
      if (point.small) return;
      const group = this.keep(point.m, shape("g", {}));
      if (point.low !== undefined && point.low !== point.high) {
        const bar = shape("line", { class: "bar", x1: x, x2: x, y1: py(point.low), y2: py(point.high) });
        bar.style.stroke = point.colour;
        group.append(bar);
      }
      const off = !this.board.isDrawn(point.m) && !point.tiny;
      const radius = point.tiny ? 2 : point.big ? (off ? 0.65 : 1) * large : 4.5;
      const mark = shape("circle", { class: point.tiny ? "mark dot" : "mark", cx: x, cy: y, r: radius });
      mark.style.fill = off && !point.big ? "var(--paper)" : point.colour;
      if (!point.tiny) mark.style.stroke = point.colour;
      group.append(mark);
      if (!point.tiny && this.isBest(point, line)) group.append(shape("circle", { class: "best", cx: x, cy: y, r: point.big ? large + 3 : 8 }));
      items.append(group);
    });
  }

  isBest(point, line) {
    const { best, ringed } = this.data;
    const shown = best.length > MOST_RINGS ? best.slice(0, 1) : best;
    return shown.includes(point.m) && (point.big || (this.up.metric === 0 && line.group === ringed));
  }

  drawLost(items, { px }) {
    for (const [mark, text] of this.data.lost) {
      const x = px(this.data.across[this.across].places[mark]), y = MARGIN.top + 9;
      items.append(this.keep(mark, shape("path", { class: "lost", d: `M${x - 4},${y - 4}l8,8m0,-8l-8,8` })));
      this.spots.push({ x, y, point: { m: mark, text }, line: { group: "" } });
    }
  }

  axes({ x, y, range, px, py }, inside) {
    const bottom = inside.y + inside.height, right = inside.x + inside.width;
    const ticks = (scale, ends, most) => {
      const [low, high] = [Math.min(...ends), Math.max(...ends)];
      const back = (at) => (scale.log ? Math.exp(at) : at);
      const given = scale.ticks.filter(([at]) => at >= back(low) && at <= back(high));
      if (scale.floor === null) return given;
      return [...given, ...roundNumbers(back(low), back(high), scale, most).filter((each) => each >= scale.floor).map((each) => [each, short(each)])];
    };
    const found = [];
    let last = -Infinity;
    const across = ticks(x, range.x, inside.width / 60).map(([at, text]) => [px(at), text]).sort((a, b) => a[0] - b[0]);
    for (const [at, text] of across) {
      found.push(shape("line", { class: "axis", x1: at, x2: at, y1: bottom, y2: bottom + 4 }));
      const cut = text.length > 18 ? `${text.slice(0, 17)}…` : text, half = 3.4 * cut.length;
      if (at - half < last + 6) continue;
      last = at + half;
      found.push(shape("text", { x: at, y: bottom + 17, "text-anchor": "middle" }, cut));
    }
    last = Infinity;
    for (const [at, text] of ticks(y, range.y, inside.height / 45).map(([place, text]) => [py(place), text]).sort((a, b) => b[0] - a[0])) {
      found.push(shape("line", { class: "grid", x1: inside.x, x2: right, y1: at, y2: at }));
      if (at > last - 13) continue;
      last = at;
      found.push(shape("text", { x: inside.x - 6, y: at + 4, "text-anchor": "end" }, text.length > 8 ? `${text.slice(0, 7)}…` : text));
    }
    if (y.rule !== null) found.push(shape("line", { class: "axis", x1: inside.x, x2: right, y1: py(y.rule), y2: py(y.rule) }));
    const middle = inside.y + inside.height / 2;
    return [
      ...found,
      shape("path", { class: "axis", fill: "none", d: `M${inside.x},${inside.y}V${bottom}H${right}` }),
      shape("text", { class: "label", x: inside.x + inside.width / 2, y: bottom + 36, "text-anchor": "middle" }, x.label),
      shape("text", { class: "label", x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y.label),
    ];
  }

  drawLegend() {
    const isMap = this.up.key !== undefined;
    const groups = isMap ? [] : this.data.up[this.up.metric].groups;
    const known = `${isMap}\n${groups.map((group) => group.name).join("\n")}`;
    if (this.known === known) return;
    this.known = known;
    if (isMap) {
      this.legend.replaceChildren(`${this.data.shade}: worse `, make("span", { className: "ramp" }), " better");
      return;
    }
    this.legend.replaceChildren(...groups.map((group) => {
      const line = shape("line", { x1: 0, x2: 28, y1: 5, y2: 5, "stroke-width": 3 });
      line.style.stroke = this.data.byMark ? "currentColor" : `var(--${group.colour})`;
      if (group.dash) line.style.strokeDasharray = group.dash === "dash" ? "6 3" : "7 3 2 3";
      const button = make("button", { type: "button", data: { "aria-pressed": String(!this.hidden.has(group.name)) } }, shape("svg", { viewBox: "0 0 28 10", "aria-hidden": "true" }, line), group.name);
      button.addEventListener("click", () => {
        if (!this.hidden.delete(group.name)) this.hidden.add(group.name);
        button.setAttribute("aria-pressed", String(!this.hidden.has(group.name)));
        this.draw();
      });
      return button;
    }));
  }

  // Let one mark stand out.
  light(mark) {
    if (!this.items) return;
    for (const element of this.items.querySelectorAll(".lit")) element.classList.remove("lit");
    const lit = mark === null ? [] : this.lit.get(mark) ?? [];
    for (const element of lit) element.classList.add("lit");
    this.items.classList.toggle("dim", lit.length > 0 && this.data.names.length > 1);
    if (mark === null || this.at?.point.m !== mark) this.say(null);
  }

  say(spot) {
    this.at = spot;
    this.over?.replaceChildren(...(spot ? [shape("circle", { class: "pointed", cx: spot.x, cy: spot.y, r: 7 })] : []));
    if (!spot) { this.tip.textContent = ""; return; }
    const name = this.data.names[spot.point.m];
    this.tip.textContent = this.data.names.length > 1 || !this.data.epochs ? `${name}\n${spot.point.text}` : spot.point.text;
    const ratio = this.frame.clientWidth / this.width;
    const left = this.frame.offsetLeft + spot.x * ratio + 14, top = this.frame.offsetTop + spot.y * ratio + 10;
    const most = this.holder.clientWidth - this.tip.offsetWidth - 4;
    this.tip.style.left = `${Math.max(0, left > most ? left - this.tip.offsetWidth - 28 : left)}px`;
    this.tip.style.top = `${Math.min(top, this.holder.clientHeight - this.tip.offsetHeight - 4)}px`;
  }

  show(spot) {
    this.at = spot;
    this.board.point(spot?.point.m ?? null);
    this.light(this.board.pointed);
    this.say(spot);
  }

  leave() { this.show(null); }

  place(event) {
    const box = this.svg.getBoundingClientRect();
    const ratio = this.width / box.width;
    return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
  }

  nearest(x, y) {
    let best = null, least = NEAR ** 2;
    for (const spot of this.spots) {
      const distance = (spot.x - x) ** 2 + (spot.y - y) ** 2;
      if (distance < least) [best, least] = [spot, distance];
    }
    return best;
  }

  move(event) {
    const [x, y] = this.place(event);
    if (!this.drag) { this.show(this.nearest(x, y)); return; }
    this.drag.to = [x, y];
    const [[x0, y0], [x1, y1]] = [this.drag.from, this.drag.to];
    this.over.replaceChildren(shape("rect", { class: "chosen", x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0), height: Math.abs(y1 - y0) }));
  }

  press(event) {
    if (event.button !== 0 || event.pointerType === "touch") return;
    this.drag = { from: this.place(event), to: this.place(event) };
    this.svg.setPointerCapture(event.pointerId);
  }

  release(event) {
    const drag = this.drag;
    this.drag = null;
    const [[x0, y0], [x1, y1]] = drag ? [drag.from, drag.to] : [this.place(event), this.place(event)];
    if (Math.abs(x1 - x0) < 8 || Math.abs(y1 - y0) < 8) {
      const spot = this.nearest(x1, y1);
      this.show(spot);
      if (spot && this.board.boxes.size) this.board.toggle(spot.point.m);
      return;
    }
    const { fromX, fromY } = this.now;
    this.zoomTo({ x: [fromX(Math.min(x0, x1)), fromX(Math.max(x0, x1))], y: [fromY(Math.max(y0, y1)), fromY(Math.min(y0, y1))] });
  }

  // Not so near that neighbouring numbers look the same, nor so far that nothing is left to see.
  zoomTo(view) {
    if (!this.view) this.whole = this.now.range;
    const width = ([low, high]) => high - low;
    const fits = (side) => {
      const share = width(view[side]) / width(this.whole[side]);
      return share > 1e-6 && share < 1e3;
    };
    if (view && !["x", "y"].every(fits)) return;
    this.view = view; this.at = null; this.tip.textContent = ""; this.draw();
  }

  zoom(factor) {
    const { range, fromX, fromY } = this.now;
    const centre = this.at ? { x: fromX(this.at.x), y: fromY(this.at.y) } : { x: (range.x[0] + range.x[1]) / 2, y: (range.y[0] + range.y[1]) / 2 };
    const zoomed = (side) => range[side].map((end) => centre[side] + factor * (end - centre[side]));
    this.zoomTo({ x: zoomed("x"), y: zoomed("y") });
  }

  pan(x, y) {
    const { range } = this.now;
    const moved = (side, by) => range[side].map((end) => end + 0.2 * by * (range[side][1] - range[side][0]));
    this.zoomTo({ x: moved("x", x), y: moved("y", y) });
  }

  key(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [0, 0];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (x || y) {
      if (event.shiftKey) this.pan(x, y);
      else this.step(x, y);
    } else if (event.key === "+" || event.key === "=") this.zoom(1 / ZOOM);
    else if (event.key === "-") this.zoom(ZOOM);
    else if (event.key === "0" || event.key === "Escape") this.zoomTo(null);
    else if ((event.key === "Enter" || event.key === " ") && this.at && this.board.boxes.size) {
      const { point } = this.at;
      this.board.toggle(point.m);
      this.show(this.spots.find((each) => each.point.m === point.m && each.point.text === point.text) ?? null);
    } else return;
    event.preventDefault();
  }

  // The next point of the line, or the nearest of the line above or below.
  step(x, y) {
    if (!this.spots.length) return;
    if (!this.at) { this.show(this.spots[0]); return; }
    const lines = [...new Set(this.spots.map((spot) => spot.line))];
    const here = lines.indexOf(this.at.line);
    const line = lines[(here + y + lines.length) % lines.length];
    const spots = this.spots.filter((spot) => spot.line === line).sort((a, b) => a.x - b.x || a.y - b.y);
    if (y) {
      this.show(spots.reduce((best, spot) => (Math.abs(spot.x - this.at.x) < Math.abs(best.x - this.at.x) ? spot : best)));
      return;
    }
    const at = spots.findIndex((spot) => spot.point.x === this.at.point.x && spot.point.y === this.at.point.y && spot.point.m === this.at.point.m);
    this.show(spots[Math.min(Math.max(at + x, 0), spots.length - 1)]);
  }
}

function sortable(table) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    if (head.className === "tick") return;
    const button = make("button", { type: "button", textContent: head.textContent });
    head.dataset.title = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const falls = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
      const rows = Array.from(body.rows, (row) => {
        const cell = row.cells[column];
        return { row, value: cell.dataset.value === undefined ? null : Number(cell.dataset.value), text: cell.textContent };
      });
      rows.sort((a, b) => {
        if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
        const order = a.value === null ? a.text.localeCompare(b.text, "en", { numeric: true }) : a.value - b.value;
        return falls ? -order : order;
      });
      body.append(...rows.map((each) => each.row));
    });
  });
}

for (const article of document.querySelectorAll("article")) {
  const boards = new Map();
  const section = article.querySelector(".charts");
  if (section) section.hidden = false;
  for (const holder of article.querySelectorAll(".chart")) {
    const data = JSON.parse(holder.querySelector("script").textContent);
    if (!boards.has(data.space)) boards.set(data.space, new Board(data.ticked, data.names));
    new Chart(holder, data, boards.get(data.space));
  }
  for (const [space, board] of boards) {
    for (const chart of board.charts) chart.build();
    const table = article.querySelector(`table[data-space="${space}"]`);
    if (table) board.join(table);
    for (const chart of board.charts) chart.draw();
  }
}
document.querySelectorAll("table").forEach(sortable);
