// Tables that are sorted by a click on a heading, and filtered; links that open the run they lead to.
"use strict";
const zsl = { data: JSON.parse(document.getElementById("data").textContent) };

/** Returns a new element with attributes and children; texts are texts, never markup. */
zsl.make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) made.style.setProperty(name, value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
};

/** Lets a table be sorted: numbers largest first, texts from A; what has no number comes last. */
zsl.sortable = (table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = zsl.make("button", { type: "button" }, ...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const texts = [...table.tBodies].map((body) => body.rows[0].cells[column].textContent.trim());
      const numeric = texts.filter((text) => !Number.isNaN(parseFloat(text))).length > texts.length / 2;
      const now = head.getAttribute("aria-sort");
      const up = now ? now === "descending" : !numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const bodies = [...table.tBodies].map((body, i) => ({ body, text: texts[i], number: parseFloat(texts[i]) }));
      bodies.sort((a, b) => {
        if (!numeric) return (up ? 1 : -1) * a.text.localeCompare(b.text);
        if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
        return (up ? 1 : -1) * (a.number - b.number);
      });
      table.append(...bodies.map((one) => one.body));
    });
  });
  return table;
};

/** Shows the rows of a leaderboard that have the text and the values chosen above it. */
const filtered = (form, table) => {
  const apply = () => {
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
    let shown = 0;
    for (const body of table.tBodies) {
      const text = body.textContent.toLowerCase();
      const kept = words.every((word) => text.includes(word)) && chosen.every((one) => body.dataset[one.name] === one.value);
      body.hidden = !kept;
      shown += kept;
    }
    table.classList.toggle("hide-published", form.elements.published ? !form.elements.published.checked : false);
    form.querySelector("output").textContent = shown === table.tBodies.length ? "" : `${shown} of ${table.tBodies.length} rows`;
  };
  form.hidden = table.tBodies.length < 2;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
};

/** Opens what a link to a run leads to. */
const opened = () => {
  const target = location.hash.length > 1 ? document.getElementById(decodeURIComponent(location.hash.slice(1))) : null;
  for (let outer = target; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
  if (target) target.scrollIntoView();
};

document.querySelectorAll("table.sortable").forEach(zsl.sortable);
document.querySelectorAll("[data-filters]").forEach((form) => filtered(form, form.parentElement.querySelector("table.board")));
window.addEventListener("hashchange", opened);
opened();
