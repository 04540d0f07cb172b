// The map: numbers, states and lines are looked at again every few seconds; what a box is connected with lights up.

import { fetchPart } from "./parts.js";

const AGAIN_MS = 3000;

// --- pointing ---

function connected(map, key) {
  const keys = new Set([key]);
  const paths = [...map.querySelectorAll(".lines path")];
  const walk = (from, here, there) => {
    for (const path of paths) {
      if (path.dataset[here] !== from) continue;
      path.classList.add("lit");
      keys.add(path.dataset[there]);
      walk(path.dataset[there], here, there);
    }
  };
  walk(key, "from", "to");
  walk(key, "to", "from");
  return keys;
}

function point(box) {
  const map = document.getElementById("map");
  for (const one of map.querySelectorAll(".lit")) one.classList.remove("lit");
  map.classList.toggle("pointed", Boolean(box));
  if (!box) return;
  const keys = connected(map, box.dataset.box);
  for (const one of map.querySelectorAll("[data-box]")) one.classList.toggle("lit", keys.has(one.dataset.box));
}

const boxOf = (event) => event.target.closest?.("[data-box]") ?? null;
document.addEventListener("mouseover", (event) => point(boxOf(event)));
document.addEventListener("focusin", (event) => point(boxOf(event)));
document.addEventListener("focusout", () => point(null));

// --- numbers ---

const shape = (map) => [...map.querySelectorAll("[data-box], .lines path")].map((one) => one.dataset.box ?? one.dataset.from + one.dataset.to).join();

function renew(map, fresh) {
  if (shape(map) !== shape(fresh)) {
    map.replaceWith(fresh);
    return;
  }
  for (const [selector, names] of [[".lines path", ["class", "stroke-width"]], ["[data-box]", ["class"]]]) {
    const now = map.querySelectorAll(selector);
    fresh.querySelectorAll(selector).forEach((one, place) => {
      const lit = now[place].classList.contains("lit");
      for (const name of names) now[place].setAttribute(name, one.getAttribute(name));
      now[place].classList.toggle("lit", lit);
    });
  }
  for (const one of fresh.querySelectorAll("[data-now]")) {
    const place = map.querySelector(`[data-now="${CSS.escape(one.dataset.now)}"]`);
    if (place && place.innerHTML !== one.innerHTML && !place.contains(document.activeElement)) place.replaceChildren(...one.childNodes);
  }
}

async function again() {
  try {
    if (!document.hidden) {
      const fresh = new DOMParser().parseFromString(await fetchPart("/routing"), "text/html");
      renew(document.getElementById("map"), fresh.getElementById("map"));
    }
  } catch {
    // The server is away for a moment: the next look tells.
  }
  setTimeout(again, AGAIN_MS);
}
setTimeout(again, AGAIN_MS);
