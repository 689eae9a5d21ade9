// Accuracy in each class and confusions, made when their part is first opened: a data set may have hundreds of classes.
"use strict";
{
  const heat = (share) => ({ class: "heat", "--share": share });

  const classes = (place, tables) => {
    for (const table of tables) {
      const side = table.seen ? "seen" : "unseen";
      const head = ["class", "images", ...table.methods].map((title) => zsl.make("th", { scope: "col" }, title));
      const bodies = table.classes.map((name, i) => zsl.make("tbody", {}, zsl.make("tr", {},
        zsl.make("th", { scope: "row" }, name), zsl.make("td", {}, String(table.images[i])),
        ...table.values[i].map((value) => (value === null ? zsl.make("td", {}, "n/a")
          : zsl.make("td", heat(value / 100), value.toFixed(1)))))));
      const grid = zsl.make("table", { class: "sortable" }, zsl.make("thead", {}, zsl.make("tr", {}, ...head)), ...bodies);
      place.append(zsl.make("h4", {}, `${table.title}: ${table.classes.length} ${side} classes`),
        zsl.make("div", { class: "scroll classes" }, zsl.sortable(grid)));
    }
  };

  const matrix = (below, run) => {
    const name = (k) => zsl.make("th", { scope: "col", class: run.seen[k] ? null : "unseen-class" }, run.classes[k]);
    const head = zsl.make("tr", {}, zsl.make("th", { scope: "col" }, "class \\ given to"), ...run.classes.map((_, k) => name(k)));
    const lines = run.tested.map((i) => {
      const total = run.counts[i].reduce((sum, count) => sum + count, 0);
      const cells = run.counts[i].map((count, k) => zsl.make("td", {
        class: i === k ? "heat right" : "heat", "--share": count / total, title: `${(100 * count / total).toFixed(1)} percent`,
      }, count ? String(count) : ""));
      return zsl.make("tr", {}, zsl.make("th", { scope: "row", class: run.seen[i] ? null : "unseen-class" }, run.classes[i]), ...cells);
    });
    below.append(zsl.make("div", { class: "scroll" },
      zsl.make("table", { class: "matrix" }, zsl.make("thead", {}, head), zsl.make("tbody", {}, ...lines))),
    zsl.make("p", {}, "Unseen classes are in italics; a frame marks what is right."));
  };

  const pairs = (below, run) => {
    const head = ["class", "given to", "images", "of", "percent"].map((title, k) => zsl.make("th", { scope: "col", class: k < 2 ? "left" : null }, title));
    const bodies = run.pairs.map(([from, to, count, total]) => zsl.make("tbody", {}, zsl.make("tr", {},
      zsl.make("th", { scope: "row" }, from), zsl.make("td", { class: "left" }, to), zsl.make("td", {}, String(count)),
      zsl.make("td", {}, String(total)), zsl.make("td", heat(count / total), (100 * count / total).toFixed(1)))));
    const grid = zsl.make("table", { class: "sortable" }, zsl.make("thead", {}, zsl.make("tr", {}, ...head)), ...bodies);
    below.append(zsl.make("p", {}, "The most confused pairs of classes."), zsl.make("div", { class: "scroll" }, zsl.sortable(grid)));
  };

  document.querySelectorAll("[data-section]").forEach((section) => {
    const own = zsl.data.sections[section.dataset.section];
    const once = (part, make) => section.querySelector(`[data-part=${part}]`)?.addEventListener("toggle", make, { once: true });
    once("classes", () => classes(section.querySelector("[data-classes]"), own.classes));
    once("confusions", () => zsl.chooser(section.querySelector("[data-confusions]"), own.confusions,
      (below, run) => (run.pairs ? pairs : matrix)(below, run)));
  });
}
