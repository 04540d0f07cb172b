// Widths of the study list's columns: dragged by the edge of a heading, or by keys there; kept in this browser.

const KEPT = "fileroom.widths";
const WIDTH_MIN = 48;
const STEP = 16;
const results = document.getElementById("results");
const table = () => results.querySelector("table.studies");

const read = () => {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    return {};
  }
};
let widths = read();

const keyOf = (heading) => [...heading.classList].find((name) => name.startsWith("c-"));

function show() {
  const rules = Object.entries(widths)
    .filter(([key, width]) => /^c-[a-z_]+$/.test(key) && Number.isFinite(width))
    .map(([key, width]) => `.studies .${key} { width: ${width}px; min-width: ${width}px; max-width: ${width}px; }`);
  sheet.replaceSync(rules.join("\n"));
}

function keep(key, width) {
  if (width === null) delete widths[key];
  else widths[key] = Math.max(WIDTH_MIN, Math.round(width));
  show();
  try {
    localStorage.setItem(KEPT, JSON.stringify(widths));
  } catch {
    // A browser that keeps nothing shows the width until the page is left.
  }
}

// A style sheet made by script is no inline style: the content security policy allows it.
const sheet = new CSSStyleSheet();
document.adoptedStyleSheets.push(sheet);
show();

for (const heading of table()?.querySelectorAll("thead tr:first-child th[scope=col]") ?? []) {
  const edge = document.createElement("span");
  edge.className = "edge";
  edge.tabIndex = 0;
  edge.setAttribute("role", "separator");
  edge.setAttribute("aria-orientation", "vertical");
  edge.setAttribute("aria-label", heading.textContent.trim());
  heading.append(edge);
  const key = keyOf(heading);
  const tell = () => edge.setAttribute("aria-valuenow", Math.round(heading.getBoundingClientRect().width));
  tell();
  edge.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    edge.setPointerCapture(event.pointerId);
    const begin = event.clientX - heading.getBoundingClientRect().width;
    const move = (moved) => keep(key, moved.clientX - begin);
    edge.addEventListener("pointermove", move);
    const end = () => {
      edge.removeEventListener("pointermove", move);
      tell();
    };
    edge.addEventListener("lostpointercapture", end, { once: true });
  });
  edge.addEventListener("dblclick", () => keep(key, null));
  edge.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    keep(key, heading.getBoundingClientRect().width + by);
    tell();
  });
}
