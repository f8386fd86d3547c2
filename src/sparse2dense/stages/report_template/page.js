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

// Pictures side by side share one view: how much larger, and where the left upper corner of the picture lies in its pane.
for (const group of document.querySelectorAll(".compare")) {
  const images = [...group.querySelectorAll(".pane img")];
  const sets = [...group.querySelectorAll(".panes")];
  const output = group.querySelector("output");
  const select = group.querySelector("select");
  const view = { scale: 1, x: 0, y: 0 };

  const show = () => {
    for (const axis of ["x", "y"]) view[axis] = Math.min(0, Math.max(1 - view.scale, view[axis]));
    for (const image of images) {
      image.style.transform = `translate(${100 * view.x}%, ${100 * view.y}%) scale(${view.scale})`;
      image.parentElement.classList.toggle("near", view.scale > 1);
    }
    output.textContent = `${Math.round(10 * view.scale) / 10}×`;
  };
  const zoom = (factor, x = 0.5, y = 0.5) => {
    const scale = factor === 0 ? 1 : Math.min(16, Math.max(1, view.scale * factor));
    view.x = x - ((x - view.x) * scale) / view.scale;
    view.y = y - ((y - view.y) * scale) / view.scale;
    view.scale = scale;
    show();
  };
  const place = (event, pane) => {
    const box = pane.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const choose = () => {
    for (const set of sets) set.hidden = set.dataset.section !== select.value;
  };

  for (const button of group.querySelectorAll("button")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  select.addEventListener("change", choose);
  choose();
  const step = 0.1;
  const keys = {
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": () => zoom(0),
    ArrowLeft: () => (view.x += step), ArrowRight: () => (view.x -= step),
    ArrowUp: () => (view.y += step), ArrowDown: () => (view.y -= step),
  };
  group.addEventListener("keydown", (event) => {
    const arrow = event.key.startsWith("Arrow");
    // at full size arrows scroll the page, and in the list they choose a section
    if (event.target === select || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    if (arrow && view.scale === 1) return;
    event.preventDefault();
    keys[event.key]();
    show();
  });

  for (const pane of group.querySelectorAll(".pane")) {
    const held = new Map();
    pane.addEventListener("pointerdown", (event) => {
      pane.setPointerCapture(event.pointerId);
      held.set(event.pointerId, place(event, pane));
    });
    pane.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = place(event, pane);
      const other = [...held].find(([id]) => id !== event.pointerId);
      if (other) {
        const apart = (point) => Math.hypot(point[0] - other[1][0], point[1] - other[1][1]);
        if (apart(before) > 0) zoom(apart(now) / apart(before), (now[0] + other[1][0]) / 2, (now[1] + other[1][1]) / 2);
      } else {
        view.x += now[0] - before[0];
        view.y += now[1] - before[1];
        show();
      }
      held.set(event.pointerId, now);
    });
    for (const end of ["pointerup", "pointercancel"]) pane.addEventListener(end, (event) => held.delete(event.pointerId));
    pane.addEventListener("dblclick", (event) => zoom(view.scale < 8 ? 2 : 0, ...place(event, pane)));
    pane.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), ...place(event, pane));
    }, { passive: false });
  }
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
