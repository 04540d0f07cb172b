// The ledger: the bar comes when rows are marked; an action in rounds goes on by itself.

const form = document.getElementById("marking");
const bar = document.getElementById("bulk");
const all = document.getElementById("mark-all");
const boxes = form ? [...form.querySelectorAll("[data-row] input[type=checkbox]")] : [];

function show() {
  const marked = boxes.filter((box) => box.checked);
  for (const box of boxes) box.closest("tr").classList.toggle("marked", box.checked);
  const everything = bar.querySelector('[name="scope"][value="all"]');
  document.getElementById("marked-number").textContent = marked.length || "";
  bar.hidden = !marked.length && !everything;
  for (const button of bar.querySelectorAll("button")) button.disabled = !marked.length && !everything?.checked;
  all.checked = marked.length === boxes.length;
  all.indeterminate = marked.length > 0 && marked.length < boxes.length;
}

if (bar && boxes.length) {
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  form.addEventListener("change", show);
  show();
}

const next = document.getElementById("go-on");
if (next) setTimeout(() => next.requestSubmit(), 200);
