/* Charts that follow along: draws over what the server drew, in the same place, and adds samples as they come.
 *
 * Without this script the page is complete but for exact values on hover, and for the newest ones.
 */

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { Connection } from "./connection.js";

const POLL_MS = 10_000;
const SLOW_POLL_MS = 300_000;
/** Of rates, then of memory, in the language of the page. */
const UNITS = (document.querySelector("[data-charts]")?.dataset.units ?? "B/s KiB/s MiB/s GiB/s MiB GiB").split(" ");
const LARGEST_RATE = 3;
const lang = document.documentElement.lang || "en";
const number = (digits) => new Intl.NumberFormat(lang, { maximumFractionDigits: digits });
const few = number(1);
const exactly = number(3);
const moment = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "medium" });

/** A value with its unit, as the server writes it. */
export function measured(value, unit, digits = few) {
  if (value === null || value === undefined) return "–";
  if (unit === "percent") return `${digits.format(value)} %`;
  if (unit === "cores") return number(2).format(value);
  if (unit === "mib") return value < 1024 ? `${digits.format(value)} ${UNITS[4]}` : `${digits.format(value / 1024)} ${UNITS[5]}`;
  let step = 0;
  for (; value >= 1000 && step < LARGEST_RATE; step += 1) value /= 1024;
  return `${digits.format(value)} ${UNITS[step]}`;
}

/** A round number not below the value, in the unit in which it is shown; as the server finds it. */
function edge(value, unit) {
  let scale = 1;
  while (unit === "bytes" && value / scale >= 1000 && scale < 1024 ** LARGEST_RATE) scale *= 1024;
  const shown = value / scale;
  const magnitude = shown > 0 ? 10 ** Math.floor(Math.log10(shown)) : 1;
  const round = [1, 2, 5, 10].map((step) => step * magnitude).find((step) => step >= shown * 0.999999);
  return (unit === "bytes" && round >= 1000 ? 1024 : round) * scale;
}

/** The colour behind a custom property, resolved for the theme that is shown. */
function colours() {
  const probe = document.createElement("span");
  document.body.append(probe);
  const found = (name) => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const chosen = {
    lines: [found("--accent"), found("--brand")],
    areas: [found("--chart-area-0"), found("--chart-area-1")],
    grid: found("--line"),
    bands: Object.fromEntries(
      ["provisioning", "staging", "running", "stopping", "repairing", "terminated", "suspending", "suspended"].map(
        (state) => [state.toUpperCase(), found(`--${state}-soft`)],
      ),
    ),
  };
  probe.remove();
  return chosen;
}

/** One picture: uPlot in the place of the server's drawing, without axes of its own, so that nothing moves. */
class Picture {
  #box;
  #place;
  #values;
  #plot = null;
  #chart;
  #data;
  #texts;

  constructor(box, texts) {
    this.#box = box;
    this.#texts = texts;
    this.#values = box.querySelector("[data-values]");
    this.#place = box.querySelector("[data-plot]");
    this.#place.setAttribute("aria-label", this.#place.querySelector("svg").getAttribute("aria-label"));
    this.#place.setAttribute("role", "img");
    this.#place.tabIndex = 0;
    this.#place.addEventListener("keydown", (event) => this.#key(event));
    this.#place.addEventListener("blur", () => this.#plot?.setCursor({ left: -10, top: -10 }));
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(this.#place);
  }

  show(data, chart) {
    this.#data = data;
    this.#chart = chart;
    const columns = [data.times, ...chart.series.flatMap(({ mean, low, high }) => [mean, low, high])];
    const known = columns.slice(1).flat().filter((value) => value !== null);
    chart.top = edge(known.reduce((most, value) => Math.max(most, value), chart.least), chart.unit);
    this.#box.querySelector("[data-empty]").hidden = known.length > 0;
    this.#box.querySelector(".chart__top").textContent = measured(chart.top, chart.unit);
    for (const series of chart.series) {
      const latest = series.mean.findLast((value) => value !== null) ?? null;
      this.#box.querySelector(`[data-latest="${series.name}"]`).textContent = measured(latest, chart.unit);
    }
    const [from, to] = this.#box.querySelectorAll(".chart__times time");
    from.textContent = moment.format(data.begin * 1000);
    to.textContent = moment.format(data.end * 1000);
    if (this.#plot) this.#plot.setData(columns);
    else this.draw(columns);
  }

  /** Draw anew: the first time, and in other colours. */
  draw(columns = this.#plot?.data) {
    if (!columns) return;
    this.#plot?.destroy();
    const paint = colours();
    const hidden = { show: true, stroke: "transparent", width: 0, points: { show: false } };
    const series = this.#chart.series.flatMap((_, index) => [
      { stroke: paint.lines[index], width: 1.75, dash: index ? [5, 4] : [], points: { size: 3 } },
      hidden,
      hidden,
    ]);
    const bands = this.#chart.series.map((_, index) => ({
      series: [3 * index + 3, 3 * index + 2],
      fill: paint.areas[index],
    }));
    const drawn = this.#place.querySelector("svg");
    this.#plot = new uPlot(
      {
        ...this.#size(),
        padding: [2, 0, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: {
          x: { time: true, range: () => [this.#data.begin, this.#data.end] },
          y: { range: () => [0, this.#chart.top] },
        },
        axes: [{ show: false }, { show: false }],
        series: [{}, ...series],
        bands,
        hooks: {
          drawClear: [(plot) => this.#drawBehind(plot, paint)],
          setCursor: [(plot) => (this.#values.textContent = plot.cursor.idx == null ? "" : this.#words(plot.cursor.idx))],
        },
      },
      columns,
      this.#place,
    );
    drawn?.remove(); // only now: whatever fails above leaves the server's drawing
  }

  #size() {
    return { width: this.#place.clientWidth, height: this.#place.clientHeight };
  }

  /** The states of the VM, and three lines to measure by. */
  #drawBehind({ ctx: pen, bbox, valToPos }, paint) {
    pen.save();
    for (const [begin, end, state] of this.#data.bands) {
      const left = valToPos(begin, "x", true);
      pen.globalAlpha = state === "RUNNING" ? 0.45 : 0.75;
      pen.fillStyle = paint.bands[state];
      pen.fillRect(left, bbox.top, Math.max(1, valToPos(end, "x", true) - left), bbox.height);
    }
    pen.globalAlpha = 1;
    pen.fillStyle = paint.grid;
    for (const part of [0.25, 0.5, 0.75]) pen.fillRect(bbox.left, Math.round(bbox.top + bbox.height * part), bbox.width, 1);
    pen.restore();
  }

  #key(event) {
    const last = this.#data.times.length - 1;
    const at = this.#plot.cursor.idx;
    const moves = { ArrowLeft: (at ?? last + 1) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: last };
    if (event.key === "Escape") this.#plot.setCursor({ left: -10, top: -10 });
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(last, moves[event.key]));
    this.#plot.setCursor({ left: this.#plot.valToPos(this.#data.times[index], "x"), top: 1 });
  }

  /** What is known of a point: "27 Nov 2026, 20:15:00 · CPU: 12.3 % (4 % – 37 %) · State: Running". */
  #words(index) {
    const at = this.#data.times[index];
    const { unit, series } = this.#chart;
    const words = [moment.format(at * 1000)];
    for (const { label, low, mean, high } of series) {
      if (mean[index] === null) words.push(`${label}: ${this.#texts.unknown}`);
      else if (low[index] === high[index]) words.push(`${label}: ${measured(mean[index], unit, exactly)}`);
      else {
        const range = `${measured(low[index], unit, exactly)} – ${measured(high[index], unit, exactly)}`;
        words.push(`${label}: ${measured(mean[index], unit, exactly)} (${range})`);
      }
    }
    const band = this.#data.bands.findLast(([begin, end]) => begin <= at && at <= end);
    if (band) words.push(`${this.#texts.state}: ${this.#data.states[band[2]] ?? band[2]}`);
    return words.join(" · ");
  }
}

/** The page: its pictures, and where their newest values come from. */
class Charts {
  #root;
  #data;
  #pictures = new Map();
  #status;
  #parts = new Map(); // of a project, by moment and host
  #live = false;

  constructor(root, data) {
    this.#root = root;
    this.#data = data;
    this.#status = root.querySelector("[data-charts-status]");
    const texts = { unknown: root.dataset.textUnknown, state: root.dataset.textState };
    for (const box of root.querySelectorAll("[data-chart]")) {
      this.#pictures.set(box.dataset.chart, new Picture(box, texts));
    }
    this.#show();
  }

  start() {
    const redraw = () => this.#pictures.forEach((picture) => picture.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    if (this.#data.step > 10 || !["live", "hour"].includes(this.#data.span)) {
      setInterval(() => this.#fetch(), SLOW_POLL_MS);
      return;
    }
    const url = new URL(this.#root.dataset.socket, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const connection = new Connection(url, {
      message: (message) => this.#hear(message, connection),
      lost: () => this.#setLive(false),
    });
    connection.open();
    // While nothing is pushed, the page asks.
    setInterval(() => this.#live || this.#fetch(), POLL_MS);
    this.#setLive(false);
  }

  #hear(message, connection) {
    if (message.type === "hello") connection.welcomed();
    if (message.type === "hello" || message.type === "heartbeat") this.#setLive(message.live);
    if (message.type === "usage") this.#add(message);
  }

  #setLive(live) {
    this.#live = live;
    this.#status.textContent = live ? this.#root.dataset.textLive : this.#root.dataset.textOff;
  }

  /** A sample; what several hosts say of the same ten seconds is added. */
  #add({ at, part, values }) {
    const { times, step, charts } = this.#data;
    const slot = Math.floor(at / step) * step;
    if (!this.#parts.has(slot)) this.#parts.set(slot, new Map());
    const parts = this.#parts.get(slot).set(part, values);
    for (const old of this.#parts.keys()) if (old < slot - 60) this.#parts.delete(old);
    const sum = values.map((_, index) => {
      const known = [...parts.values()].map((one) => one[index]).filter((value) => value !== null);
      return known.length ? known.reduce((a, b) => a + b, 0) : null;
    });
    const again = parts.size > 1 && times.length && Math.floor(times.at(-1) / step) * step === slot;
    if (!again && times.length && at <= times.at(-1)) return;
    if (!again && times.length && at - times.at(-1) > 2.5 * step) this.#push(times.at(-1) + step, null);
    if (again) this.#pop();
    this.#push(at, sum);
    this.#data.end = Math.max(this.#data.end, at);
    this.#data.begin = this.#data.end - (this.#data.span === "live" ? 600 : 3600);
    while (times.length && times[0] < this.#data.begin) {
      times.shift();
      for (const { series } of charts) for (const one of series) for (const w of ["low", "mean", "high"]) one[w].shift();
    }
    const band = this.#data.bands.at(-1);
    if (band && this.#data.end - band[1] <= 3 * step) band[1] = this.#data.end;
    this.#show();
  }

  #push(at, sum) {
    this.#data.times.push(at);
    let index = 0;
    for (const { series, scale } of this.#data.charts) {
      for (const one of series) {
        const value = sum?.[index] ?? null;
        for (const which of ["low", "mean", "high"]) one[which].push(value === null ? null : value * scale);
        index += 1;
      }
    }
  }

  #pop() {
    this.#data.times.pop();
    for (const { series } of this.#data.charts) for (const one of series) for (const w of ["low", "mean", "high"]) one[w].pop();
  }

  async #fetch() {
    if (document.visibilityState !== "visible") return;
    const url = new URL(location.href);
    url.searchParams.set("as", "json");
    try {
      const response = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
      if (!response.ok) return;
      this.#data = await response.json();
      this.#show();
    } catch {
      // The next time, perhaps.
    }
  }

  #show() {
    for (const chart of this.#data.charts) this.#pictures.get(chart.name)?.show(this.#data, chart);
  }
}

const root = document.querySelector("[data-charts]");
const data = document.getElementById("charts-data");
if (root && data) new Charts(root, JSON.parse(data.textContent)).start();
