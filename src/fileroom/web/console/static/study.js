// The page of a study: choosing series, the quick look (images made by the server), attributes.

import { isTyping } from "./frame.js";
import { fetchPart, say } from "./parts.js";

const stage = document.getElementById("stage");
const series = document.getElementById("series");

// --- the quick look: the server draws each frame; here they are only asked for, kept and exchanged ---

const KEPT_MAX = 150;
const AHEAD = 4;
const PIXELS_PER_FRAME = 12; // of a finger's way
let look = null;

class Look {
  constructor(film) {
    this.film = film;
    this.image = film.querySelector("#frame");
    this.slider = document.getElementById("position");
    this.where = document.getElementById("where");
    this.shownWindow = document.getElementById("window");
    this.frames = [];
    this.at = 0;
    this.window = null;
    this.usualWindow = null;
    this.kept = new Map();
    this.asked = "";
    this.large = Math.max(film.dataset.rows, film.dataset.columns) > 1024;
  }

  async open() {
    let told;
    try {
      told = JSON.parse(await fetchPart(this.film.dataset.look));
    } catch (error) {
      say(error.message);
      return;
    }
    for (const [uid, count] of told.instances) {
      for (let number = 1; number <= count; number++) this.frames.push([uid, number]);
    }
    this.usualWindow = told.window;
    const first = this.frames.findIndex(([uid]) => uid === this.film.dataset.instance);
    const count = told.instances.find(([uid]) => uid === this.film.dataset.instance)?.[1] ?? 1;
    this.at = Math.max(0, first) + Math.floor((count - 1) / 2);
    this.slider.max = this.frames.length;
    this.slider.hidden = this.frames.length < 2;
    this.slider.addEventListener("input", () => this.go(this.slider.value - 1));
    this.show();
  }

  address(at) {
    const [uid, number] = this.frames[at];
    const wishes = new URLSearchParams();
    if (this.large) wishes.set("viewport", "1024,1024");
    if (this.window) wishes.set("window", `${this.window.map((value) => value.toFixed(2)).join(",")},linear`);
    const question = wishes.toString();
    return `${this.film.dataset.root}${uid}/frames/${number}/rendered${question ? `?${question}` : ""}`;
  }

  ask(at) {
    const address = this.address(at);
    let image = this.kept.get(address);
    if (!image) {
      image = new Image();
      image.src = address;
      this.kept.set(address, image);
      if (this.kept.size > KEPT_MAX) this.kept.delete(this.kept.keys().next().value);
    }
    return image;
  }

  go(to) {
    const next = Math.min(Math.max(Number(to), 0), this.frames.length - 1);
    if (next === this.at || !this.frames.length) return;
    this.forward = next >= this.at;
    this.at = next;
    this.show();
  }

  async show() {
    if (!this.frames.length) return;
    const image = this.ask(this.at);
    this.asked = image.src;
    this.slider.value = this.at + 1;
    this.where.textContent = `${this.at + 1} / ${this.frames.length}`;
    const window = this.window ?? this.usualWindow;
    this.shownWindow.textContent = window ? `C ${Math.round(window[0])}  W ${Math.round(window[1])}` : "";
    try {
      await image.decode();
    } catch {
      if (this.asked === image.src) this.where.textContent = `${this.at + 1} / ${this.frames.length} –`;
      this.kept.delete(image.src);
      return;
    }
    if (this.asked !== image.src) return; // The person is further on already.
    this.image.src = image.src;
    for (let step = 1; step <= AHEAD; step++) {
      const next = this.at + (this.forward === false ? -step : step);
      if (this.frames[next]) this.ask(next);
    }
  }

  async showWindow() {
    // One picture at a time is asked for while the pointer moves; the last one wins.
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    const image = this.ask(this.at);
    this.asked = image.src;
    this.shownWindow.textContent = `C ${Math.round(this.window[0])}  W ${Math.round(this.window[1])}`;
    await image.decode().catch(() => {});
    if (this.asked === image.src) this.image.src = image.src;
    this.busy = false;
    if (this.again) {
      this.again = false;
      this.showWindow();
    }
  }

  drag(event) {
    if (event.pointerType === "touch") {
      const start = this.at;
      this.follow(event, (_dx, dy) => this.go(start - Math.round(dy / PIXELS_PER_FRAME)));
    } else if (event.button === 0 && this.usualWindow) {
      const [center, width] = this.window ?? this.usualWindow;
      const step = Math.max(this.usualWindow[1] / 300, 0.01);
      this.follow(event, (dx, dy) => {
        this.window = [center + dy * step, Math.max(width + dx * step, step)];
        this.showWindow();
      });
    }
  }

  follow(start, act) {
    start.preventDefault();
    this.film.focus({ preventScroll: true });
    this.film.setPointerCapture(start.pointerId);
    const move = (event) => act(event.clientX - start.clientX, event.clientY - start.clientY);
    this.film.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) {
      this.film.addEventListener(end, () => this.film.removeEventListener("pointermove", move), { once: true });
    }
  }

  reset() {
    this.window = null;
    this.show();
  }
}

function openLook() {
  const film = document.getElementById("film");
  look = film ? new Look(film) : null;
  if (!look) return;
  let turned = 0;
  film.addEventListener("wheel", (event) => {
    event.preventDefault();
    turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * 40;
    const steps = Math.trunc(turned / 40);
    turned -= steps * 40;
    look.go(look.at + steps);
  }, { passive: false });
  film.addEventListener("pointerdown", (event) => look.drag(event));
  film.addEventListener("dblclick", () => look.reset());
  look.open();
}

// --- attributes: fetched when somebody opens them, for the image that is shown ---

async function openAttributes(details) {
  const uid = look?.frames[look.at]?.[0];
  const link = details.querySelector("a");
  const address = uid ? `${details.dataset.from}${uid}/attributes` : link?.href;
  if (!address) return;
  try {
    details.querySelector("summary ~ *")?.remove();
    const body = document.createElement("div");
    body.innerHTML = await fetchPart(address);
    details.append(body);
  } catch (error) {
    say(error.message);
  }
}

function filterRows(within) {
  const words = within.querySelector(".filter-rows").value.trim().toLowerCase();
  const onlyChanged = within.querySelector(".only-changed")?.checked ?? false;
  for (const row of within.querySelectorAll(".attribute-table tbody tr")) {
    const fits = !words || row.textContent.toLowerCase().includes(words);
    row.hidden = !fits || (onlyChanged && row.classList.contains("none"));
  }
}

for (const kind of ["input", "change"]) {
  document.addEventListener(kind, (event) => {
    if (event.target.matches(".filter-rows, .only-changed")) filterRows(event.target.closest("details, main"));
  });
}
document.addEventListener("toggle", (event) => {
  if (event.target.id === "attributes" && event.target.open) openAttributes(event.target);
}, true);

// --- choosing a series: only the stage is exchanged ---

async function chooseSeries(link) {
  try {
    const html = await fetchPart(link.href);
    stage.innerHTML = html;
    series.querySelector("[aria-current]")?.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    link.scrollIntoView({ block: "nearest", inline: "nearest" });
    history.replaceState(null, "", link.href);
    openLook();
  } catch (error) {
    say(error.message);
  }
}

series?.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-series]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  chooseSeries(link);
});

// --- keys ---

const STEPS = { ArrowDown: 1, ArrowUp: -1, ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key in STEPS && look && (document.activeElement === look.film || event.key.startsWith("Arrow"))) {
    look.go(look.at + STEPS[event.key]);
  } else if (event.key === "Home" && look) look.go(0);
  else if (event.key === "End" && look) look.go(look.frames.length - 1);
  else if (event.key === "r" && look) look.reset();
  else if (event.key === "v") document.getElementById("viewer")?.click();
  else if (event.key === "a") {
    const details = document.getElementById("attributes");
    if (!details) return;
    details.open = true;
    setTimeout(() => details.querySelector(".filter-rows")?.focus(), 150);
  } else if (event.key === "j" || event.key === "k") {
    const links = [...series.querySelectorAll("a[data-series]")];
    const now = links.findIndex((link) => link.hasAttribute("aria-current"));
    const next = links[now + (event.key === "j" ? 1 : -1)];
    if (next) chooseSeries(next);
  } else return;
  event.preventDefault();
});

openLook();
