// Pieces of pages: fetched from this server, which escapes what is in them, and put in place of what was there.

const SAID_MS = 6000;
let saidUntil = 0;

/** Tell the person something, for a while. */
export function say(text) {
  const said = document.getElementById("said");
  said.textContent = text;
  clearTimeout(saidUntil);
  saidUntil = setTimeout(() => (said.textContent = ""), SAID_MS);
}

/** The HTML of a piece. Fails with a sentence for people. */
export async function fetchPart(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { "x-fileroom-part": "1", ...options.headers } });
  const text = await answer.text();
  if (!answer.ok) {
    const told = new DOMParser().parseFromString(text, "text/html").querySelector("[role=alert] p");
    throw new Error(told?.textContent || `${answer.status} ${answer.statusText}`);
  }
  return text;
}
