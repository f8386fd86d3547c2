"use strict";

function cellValue(row, column) {
  const cell = row.cells[column];
  const text = (cell.dataset.value ?? cell.textContent).trim();
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a.localeCompare(b, undefined, { numeric: true });
}

function sortBy(table, heading, column) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  rows.sort((one, other) => (ascending ? 1 : -1) * compare(one[0], other[0]));
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table")) {
  const first = table.tBodies[0].rows[0];
  for (const cell of first ? first.cells : []) {
    if (cell.classList.contains("number")) table.tHead.rows[0].cells[cell.cellIndex].classList.add("number");
  }
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    heading.scope = "col";
    button.addEventListener("click", () => sortBy(table, heading, column));
  });
}

for (const form of document.querySelectorAll("form.choice")) {
  const selects = [...form.querySelectorAll("select")];
  const rows = [...document.getElementById(form.dataset.table).tBodies[0].rows];
  const choose = () => {
    for (const row of rows) row.hidden = selects.some((s) => s.value !== "" && row.dataset[s.dataset.column] !== s.value);
  };
  form.addEventListener("change", choose);
  choose();
}

const viewer = document.getElementById("viewer");
const frame = viewer.querySelector("div");
const enlarged = viewer.querySelector("img");
for (const button of document.querySelectorAll("button.zoom")) {
  button.addEventListener("click", () => {
    const picture = button.querySelector("img");
    enlarged.src = picture.src;
    enlarged.alt = picture.alt;
    frame.classList.remove("large");
    viewer.showModal();
  });
}
enlarged.addEventListener("click", (event) => {
  const box = enlarged.getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  if (frame.classList.toggle("large")) {
    frame.scrollLeft = x * frame.scrollWidth - frame.clientWidth / 2;
    frame.scrollTop = y * frame.scrollHeight - frame.clientHeight / 2;
  }
});

for (const button of document.querySelectorAll("button.copy")) {
  const text = document.getElementById(button.dataset.of);
  const said = button.parentElement.querySelector(".copied");
  button.addEventListener("click", async () => {
    // A page opened as a file may not write to the clipboard everywhere: then the text is selected for Ctrl-C.
    window.getSelection().selectAllChildren(text);
    try {
      await navigator.clipboard.writeText(text.textContent);
      said.textContent = "Copied.";
    } catch {
      said.textContent = "Selected: copy it with Ctrl-C.";
    }
  });
}

const contents = document.querySelector("nav details");
if (window.matchMedia("(max-width: 63.9rem)").matches) contents.open = false;
contents.addEventListener("click", (event) => {
  if (event.target.tagName === "A" && window.matchMedia("(max-width: 63.9rem)").matches) contents.open = false;
});

let closed = [];
window.addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("main details:not([open]):not(.aside)")];
  for (const part of closed) part.open = true;
});
window.addEventListener("afterprint", () => {
  for (const part of closed) part.open = false;
});
