// The dashboard: the numbers at its top every two seconds, the charts drawn by uPlot every half minute. In a page that nobody
// sees nothing is asked.

const NOW_EVERY_MS = 2000;
const CHARTS_EVERY_MS = 30000;
const RATE_OVER = 5;

const now = document.getElementById("now");
const charts = document.getElementById("charts");
const language = document.documentElement.lang;
const format = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
const edgeFormat = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });
const DAY_S = 86400;
const seen = [];

async function ask(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  return answer.json();
}

function show(name, value) {
  const place = now.querySelector(`[data-now="${name}"]`);
  const text = format.format(value);
  if (place.textContent !== text) place.textContent = text;
}

/** What has come a second since the first of the last looks; counters may begin anew, then it is nothing for a moment. */
function rate(name) {
  const [first, last] = [seen[0], seen.at(-1)];
  return last.at > first.at ? Math.max(0, last[name] - first[name]) / (last.at - first.at) : 0;
}

async function showNow() {
  const state = await ask("/system/now");
  if (seen.at(-1)?.at !== state.at) seen.push(state);
  while (seen.length > RATE_OVER) seen.shift();
  show("objects", rate("objects_in"));
  show("data", rate("bytes_in") / 1e6);
  for (const name of ["open", "arriving", "queued", "failed"]) show(name, state[name]);
}

// --- charts ---

const plots = new Map();

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A variable's value may be light-dark(...), which a canvas does not understand: let the browser resolve it. */
function resolved(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found || colour(name);
}

function draw(figure, data) {
  const place = figure.querySelector(".plot");
  const quiet = resolved("--quiet");
  const grid = { stroke: resolved("--line"), width: 1 };
  const axis = { stroke: quiet, grid, ticks: grid, font: "11px system-ui", size: 44 };
  const line = (index) => ({
    label: figure.getAttribute(`data-line-${index}`),
    stroke: resolved(`--line-${index}`),
    width: 1.5,
    dash: index ? [5, 3] : undefined,
    // One moment alone makes no line.
    points: { show: data[index + 1].filter((value) => value !== null).length < 3, size: 5 },
  });
  const series = [{}, ...data.slice(1).map((_, index) => line(index))];
  const times = (_plot, moments, _axis, _space, step) =>
    moments.map((moment) => (step >= DAY_S ? calendar : clock).format(new Date(moment * 1000)));
  const numbers = (_plot, values) => values.map((value) => edgeFormat.format(value));
  const wide = (_plot, shown) => 14 + 7 * Math.max(3, ...(shown ?? []).map((text) => text?.length ?? 0));
  const axes = [{ ...axis, size: 28, values: times }, { ...axis, values: numbers, size: wide }];
  const scales = { y: { range: (_, least, most) => [Math.min(0, least ?? 0), most > 0 ? most * 1.05 : 1] } };
  const size = { width: place.clientWidth, height: place.clientHeight };
  place.replaceChildren();
  const options = { ...size, series, axes, scales, legend: { show: false }, cursor: { drag: { setScale: false } } };
  return new window.uPlot(options, data, place);
}

async function showCharts() {
  const figures = await ask(`/system/figures?span=${charts.dataset.span}`);
  for (const figure of charts.querySelectorAll("[data-chart]")) {
    const lines = figures.charts[figure.dataset.chart];
    if (!lines.some((line) => line.some((value) => value !== null))) continue;
    const data = [figures.at, ...lines];
    const key = figure.dataset.chart;
    if (plots.has(key)) plots.get(key).setData(data);
    else plots.set(key, draw(figure, data));
  }
}

/** Colours and widths belong to the moment of drawing. */
function drawAnew() {
  for (const plot of plots.values()) plot.destroy();
  plots.clear();
  showCharts().catch(() => {});
}

// --- again and again ---

function every(milliseconds, work) {
  const step = async () => {
    if (!document.hidden) await work().catch(() => {}); // the server is away for a moment: the next look tells
    setTimeout(step, milliseconds);
  };
  step();
}

every(NOW_EVERY_MS, showNow);
if (window.uPlot) {
  every(CHARTS_EVERY_MS, showCharts);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (width !== innerWidth) drawAnew();
    width = innerWidth;
  });
  new MutationObserver(drawAnew).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAnew);
}
