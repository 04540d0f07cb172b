// The board follows what happens: when studies change, and once a minute, for reports come without one. In a page that
// nobody sees nothing is asked.

import { fetchPart } from "./parts.js";

const LEAST_MS = 5000;
const EVERY_MS = 60000;
const board = document.getElementById("board");
let last = Date.now();
let waiting = 0;

async function refresh() {
  waiting = 0;
  if (document.hidden || board.contains(document.activeElement)) return;
  last = Date.now();
  const open = [...board.querySelectorAll("details")].map((one) => one.open);
  try {
    board.innerHTML = await fetchPart(board.dataset.from);
  } catch {
    return; // what stands there stays; the next look may be luckier
  }
  board.querySelectorAll("details").forEach((one, place) => (one.open = open[place] ?? one.open));
}

function soon() {
  waiting ||= setTimeout(refresh, Math.max(0, last + LEAST_MS - Date.now()));
}

if (board) {
  const events = new EventSource("/events/studies");
  events.addEventListener("studies", soon);
  addEventListener("pagehide", () => events.close());
  document.addEventListener("visibilitychange", soon);
  setInterval(soon, EVERY_MS);
}
