// One graph of what a service measures in one unit, drawn by uPlot.

import uPlot from "./vendor/uPlot.esm.js";
import { colour } from "./look.js";
import { BYTE_STEPS, axisTexts, valueText } from "./quantities.js";
import { dayText, hourText } from "./times.js";
import { hideTip, showTip } from "./tip.js";

const HEIGHT_PX = 180;
const LINES = 8;
const DAY_S = 86_400;
const TITLES = { s: "Time", B: "Bytes", "%": "Percent", "/s": "Rate per second", "": "Values" };

/** @typedef {{label: string, times: number[], avg: (number|null)[], min: (number|null)[], max: (number|null)[]}} Series */
/** @typedef {{unit: string, series: Series[], warn: number[], crit: number[], min: number|null, max: number|null}} Graph */

export function make(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** One line of names that strangers chose. */
const named = (label) => make("bdi", "", label.trim() || "(blank)");

/** Puts series on one axis of times. A series has nothing where others have a value alone. */
function align(series) {
  const times = [...new Set(series.flatMap((one) => one.times))].sort((a, b) => a - b);
  const place = new Map(times.map((at, index) => [at, index]));
  const spread = (one, values) => {
    const column = Array(times.length).fill(undefined);
    one.times.forEach((at, index) => (column[place.get(at)] = values[index]));
    return column;
  };
  return { times, spread };
}

function extent(graph) {
  let [low, high] = [Infinity, -Infinity];
  for (const one of graph.series) {
    for (const value of one.min) if (value !== null && value < low) low = value;
    for (const value of one.max) if (value !== null && value > high) high = value;
  }
  return [low, high];
}

/** From where to where the y axis goes: what was measured, and limits that are not far away. */
function yRange(graph) {
  let [low, high] = extent(graph);
  if (low > high) return [0, 1];
  if (graph.unit === "%") [low, high] = [Math.min(low, 0), high > 50 ? Math.max(high, 100) : high];
  else if (low >= 0 && low <= high / 2) low = 0;
  if (graph.max !== null && high <= graph.max && high > graph.max / 2) high = graph.max;
  const reach = (high - low || Math.abs(high) || 1) * 1.5;
  for (const limit of [...graph.warn, ...graph.crit]) {
    if (limit > high && limit <= high + reach) high = limit;
    if (limit < low && limit >= low - reach) low = limit;
  }
  if (low === high) {
    const room = Math.abs(high) || 1;
    return low >= 0 ? [0, high + room || 1] : [low - room, high + room];
  }
  const room = (high - low) * 0.06;
  const isWhole = graph.unit === "%" && high === 100;
  return [low === 0 ? 0 : low - room, isWhole ? high : high + room];
}

/** The places of values that have no neighbour to draw a line to. */
function lonely(values) {
  const known = values.flatMap((value, place) => (value === undefined ? [] : [place]));
  const has = (place) => typeof values[known[place]] === "number";
  return known.filter((_, place) => has(place) && !has(place - 1) && !has(place + 1));
}

/** A graph in its figure. */
export class Drawn {
  /** @param {Graph} graph @param {() => [number, number]} range */
  constructor(graph, range) {
    this.unit = graph.unit;
    this.names = JSON.stringify(graph.series.map((one) => one.label));
    this.range = range;
    this.caption = make("figcaption", "");
    this.plot = make("div", "plot");
    this.figure = make("figure", "panel graph", this.caption, this.plot);
    this.graph = graph;
  }

  /** Whether new figures fit into it. @param {Graph} graph */
  fits(graph) {
    const names = JSON.stringify(graph.series.map((one) => one.label));
    return graph.unit === this.unit && names === this.names;
  }

  /** @param {Graph} graph */
  feed(graph) {
    this.graph = graph;
    this.showCaption();
    this.uplot?.setData(this.columns());
  }

  columns() {
    const { series } = this.graph;
    const { times, spread } = align(series);
    const columns = [times, ...series.map((one) => spread(one, one.avg))];
    if (series.length === 1) {
      columns.push(spread(series[0], series[0].min), spread(series[0], series[0].max));
    }
    return columns;
  }

  showCaption() {
    const { unit, series } = this.graph;
    const only = series.length === 1 ? series[0] : null;
    const title = make("h3", "", only ? named(only.label) : (TITLES[unit] ?? unit));
    const items = [];
    if (only === null) {
      series.forEach((one, place) => {
        const swatch = make("span", `swatch line-${(place % LINES) + 1}`);
        items.push(make("li", "", swatch, named(one.label)));
      });
    }
    for (const kind of ["warn", "crit"]) {
      const limits = this.graph[kind].map((limit) => valueText(limit, unit)).join(", ");
      if (limits) items.push(make("li", `limit ${kind}`, make("span", "dash"), `${kind} ${limits}`));
    }
    this.caption.replaceChildren(title, make("ul", "graph-legend", ...items));
    const names = series.map((one) => one.label.trim()).join(", ");
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", `Graph of ${names}; its figures are in the table below`);
  }

  draw() {
    const width = this.plot.clientWidth;
    this.uplot?.destroy();
    this.uplot = new uPlot(this.options(width), this.columns(), this.plot);
  }

  resize() {
    const width = this.plot.clientWidth;
    if (this.uplot && width > 0 && width !== this.uplot.width) {
      this.uplot.setSize({ width, height: HEIGHT_PX });
    }
  }

  options(width) {
    const { series, unit } = this.graph;
    const paint = {
      text: colour("--quiet"),
      line: colour("--line"),
      panel: colour("--panel"),
      warn: colour("--warn"),
      crit: colour("--fail"),
    };
    const strokes = series.map((_, place) => colour(`--line-${(place % LINES) + 1}`));
    const points = {
      show: true,
      size: 4,
      filter: (u, index) => lonely(u.data[index]),
    };
    const drawn = series.map((one, place) => ({
      label: one.label,
      stroke: strokes[place],
      width: 1.5,
      points: { ...points, fill: strokes[place], stroke: strokes[place] },
    }));
    const hidden = { stroke: "transparent", width: 0, points: { show: false } };
    const only = series.length === 1;
    const axis = { stroke: paint.text, font: "11px system-ui, sans-serif" };
    const grid = { stroke: paint.line, width: 1 };
    return {
      width,
      height: HEIGHT_PX,
      legend: { show: false },
      cursor: {
        sync: { key: "service", setSeries: false },
        drag: { x: false, y: false, setScale: false },
        y: false,
        points: { size: 7, width: 2, fill: paint.panel },
      },
      scales: {
        x: { time: true, range: () => this.range() },
        y: { range: () => yRange(this.graph) },
      },
      series: [{}, ...drawn, ...(only ? [hidden, hidden] : [])],
      bands: only ? [{ series: [3, 2], fill: faint(strokes[0]) }] : [],
      axes: [
        {
          ...axis,
          grid: { show: false },
          ticks: { stroke: paint.line, width: 1, size: 4 },
          size: 28,
          gap: 4,
          space: 70,
          values: timeTexts,
        },
        {
          ...axis,
          grid,
          ticks: { show: false },
          gap: 6,
          space: 32,
          size: axisSize,
          ...(unit === "B" ? { incrs: BYTE_STEPS } : {}),
          values: (u, values, _axis, _space, step) => axisTexts(values, step, unit),
        },
      ],
      hooks: {
        draw: [(u) => this.drawLimits(u, paint)],
        setCursor: [(u) => this.tell(u)],
        ready: [
          (u) => {
            u.over.addEventListener("pointerenter", () => (this.isAt = true));
            u.over.addEventListener("pointerleave", () => {
              this.isAt = false;
              hideTip();
            });
          },
        ],
      },
    };
  }

  drawLimits(u, paint) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const kind of ["warn", "crit"]) {
      ctx.strokeStyle = paint[kind];
      for (const limit of this.graph[kind]) {
        const y = Math.round(u.valToPos(limit, "y", true));
        if (!(y >= bbox.top - 1 && y <= bbox.top + bbox.height + 1)) continue;
        ctx.beginPath();
        ctx.moveTo(bbox.left, y);
        ctx.lineTo(bbox.left + bbox.width, y);
        ctx.stroke();
      }
    }
    ctx.restore();
  }

  /** Says what the values are where the pointer is. */
  tell(u) {
    if (!this.isAt) return;
    const place = u.cursor.idx;
    if (place === null || place === undefined || u.cursor.left < 0) {
      hideTip();
      return;
    }
    const { series, unit } = this.graph;
    const rows = series.flatMap((one, index) => {
      const value = u.data[index + 1][place];
      if (typeof value !== "number") return [];
      const cell = make("td", "", valueText(value, unit));
      if (series.length === 1) {
        const [low, high] = [u.data[2][place], u.data[3][place]];
        if (low !== high) {
          const range = ` (${valueText(low, unit)} to ${valueText(high, unit)})`;
          cell.append(make("span", "range", range));
        }
      }
      const swatch = make("span", `swatch line-${(index % LINES) + 1}`);
      return [make("tr", "", make("th", "", make("span", "name", swatch, named(one.label))), cell)];
    });
    const box = u.over.getBoundingClientRect();
    const at = new Date(u.data[0][place] * 1000);
    const x = box.left + u.valToPos(u.data[0][place], "x");
    const y = box.top + u.cursor.top;
    const when = `${dayText(at)}, ${hourText(at)}`;
    showTip(x, y, when, rows.length ? make("table", "", ...rows) : "no report");
  }
}

/** The colour with little of it left. */
const faint = (text) => text.replace(/^rgb\(([^)]*)\)$/, "rgb($1 / 18%)").replaceAll(",", "");

function timeTexts(u, times, _axis, _space, step) {
  let before = "";
  return times.map((at) => {
    const date = new Date(at * 1000);
    const day = dayText(date);
    const isNew = day !== before;
    before = day;
    if (step >= DAY_S) return day;
    return isNew && hourText(date) === "00:00" ? day : hourText(date);
  });
}

/** As wide as the longest text, so that no label is cut. */
function axisSize(u, texts) {
  const longest = (texts ?? []).reduce((most, text) => Math.max(most, text.length), 0);
  return Math.max(36, Math.ceil(longest * 6.4) + 14);
}

