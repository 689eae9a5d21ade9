// Curves, losses and searches, each drawn when it first comes into view, in the colours of the page.
"use strict";
{
  const DASHES = [[], [7, 4], [2, 3]];
  const drawn = new Map(); // canvas -> [what draws it, the chart]
  const tip = document.getElementById("tip");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const visible = (given) => (given === "#000000" ? colour("--ink") : given);
  const faded = (given) => `${given}a0`;

  const draw = (canvas) => {
    const [config, before] = drawn.get(canvas);
    if (before) before.destroy();
    drawn.set(canvas, [config, new Chart(canvas, config())]);
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "300px" });

  /** Draws a chart when it comes into view, and again in other colours when the page changes them. */
  const chart = (canvas, config) => {
    drawn.set(canvas, [config, null]);
    watcher.observe(canvas);
  };
  const shown = (canvas) => canvas.getClientRects().length > 0;
  const redraw = () => [...drawn.keys()].filter((canvas) => canvas.isConnected && shown(canvas)).forEach(draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", redraw);
  window.addEventListener("afterprint", redraw);

  /** Shows what is below the pointer as text beside it. */
  const told = (text) => ({ chart: own, tooltip }) => {
    tip.hidden = tooltip.opacity === 0 || !tooltip.dataPoints?.length;
    if (tip.hidden) return;
    tip.textContent = text(tooltip.dataPoints[0]);
    const box = own.canvas.getBoundingClientRect();
    const left = box.left + tooltip.caretX + 14;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(4, box.top + tooltip.caretY - tip.offsetHeight - 10)}px`;
  };
  const axis = (title, more = {}) => ({
    title: { display: true, text: title, color: colour("--soft") },
    ticks: { color: colour("--soft"), maxRotation: 0 },
    grid: { color: colour("--grid") },
    border: { color: colour("--line") },
    ...more,
  });
  const options = (text, x, y, legend = false) => ({
    animation: false,
    maintainAspectRatio: false,
    parsing: false,
    interaction: { mode: "nearest", intersect: false, axis: "xy" },
    scales: { x, y },
    plugins: {
      legend: { display: legend, position: "bottom", labels: { color: colour("--ink"), boxWidth: 18, boxHeight: 2 } },
      tooltip: { enabled: false, external: told(text) },
    },
  });
  const short = (value) => (value === null || value === undefined ? "none" : Number(value.toPrecision(4)).toString());

  /** Seen-unseen curves of a data set, with a legend that hides and shows rows. */
  const curves = (section, own) => {
    const canvas = section.querySelector("[data-chart=curves]");
    if (!canvas) return;
    if (!own.curves.length) {
      canvas.closest("figure").replaceWith(zsl.make("p", {}, "No run here has a seen-unseen curve."));
      return;
    }
    const hidden = new Set();
    const ranked = [...own.curves].sort((a, b) => parseFloat(b.area) - parseFloat(a.area));
    const point = ([x, y, gamma]) => ({ x, y, gamma });
    const datasets = () => ranked.filter((row) => !hidden.has(row.place)).flatMap((row) => {
      const full = visible(row.colour);
      const lines = row.runs.map((run, i) => ({
        row, run, data: run.points.map(point), showLine: true, borderWidth: i ? 1 : 2, pointRadius: 0, pointHoverRadius: 4,
        borderColor: i ? faded(full) : full, backgroundColor: full, borderDash: DASHES[row.dash], order: 2,
      }));
      const marks = [["zero", "crossRot", 5], ["chosen", "circle", 4]].map(([name, pointStyle, pointRadius]) => ({
        row, name, data: row.runs.filter((run) => run[name]).map((run) => ({ ...point(run[name]), run })), showLine: false,
        pointStyle, pointRadius, pointHoverRadius: pointRadius + 2, borderWidth: 2, order: 1, borderColor: full,
        backgroundColor: name === "zero" ? full : colour("--paper"),
      }));
      return [...lines, ...marks];
    });
    const text = ({ dataset, raw }) => {
      const harmonic = raw.x + raw.y ? (2 * raw.x * raw.y) / (raw.x + raw.y) : 0;
      const run = dataset.run || raw.run;
      const gamma = raw.gamma === null ? (dataset.name === "chosen" ? "" : "below all gaps") : short(raw.gamma);
      return `${dataset.row.name}, seed ${run.seed}\nU->T ${raw.x.toFixed(1)}  S->T ${raw.y.toFixed(1)}  H ${harmonic.toFixed(1)}`
        + `\ngamma ${gamma}${dataset.name === "chosen" ? ", chosen on validation classes" : ""}\nAUSUC of this run ${run.area}`;
    };
    const x = () => axis("U->T, per-class top-1 in percent", { type: "linear", min: 0 });
    const y = () => axis("S->T, per-class top-1 in percent", { type: "linear", min: 0 });
    const config = () => ({ type: "scatter", data: { datasets: datasets() }, options: options(text, x(), y()) });
    chart(canvas, config);
    const legend = section.querySelector("[data-legend]");
    legend.append(zsl.make("li", { class: "head" }, zsl.make("span", {}, "method"), zsl.make("span", {}, "AUSUC · runs by seed")));
    for (const row of ranked) {
      const box = zsl.make("input", { type: "checkbox", checked: "" });
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(row.place);
        else hidden.add(row.place);
        draw(canvas);
      });
      const style = ["solid", "dashed", "dotted"][row.dash];
      const swatch = zsl.make("span", { class: "swatch" });
      swatch.style.borderTopStyle = style;
      swatch.style.borderTopColor = row.colour === "#000000" ? "var(--ink)" : row.colour;
      const links = row.runs.map((run) => zsl.make("a", { href: `#run-${run.run}`, title: `run ${run.run}` }, String(run.seed)));
      legend.append(zsl.make("li", {},
        zsl.make("label", {}, box, swatch, row.name), zsl.make("span", { class: "area" }, row.area),
        zsl.make("span", { class: "seeds" }, ...links.flatMap((link) => [link, " "]))));
    }
  };

  /** A choice of runs, and what is made of the chosen one; nothing is made before its part is open. */
  zsl.chooser = (place, runs, show) => {
    const select = zsl.make("select", {}, ...runs.map((run, i) => zsl.make("option", { value: i }, run.name)));
    const link = zsl.make("a", {});
    const below = zsl.make("div");
    const apply = () => {
      const run = runs[select.value];
      link.href = `#run-${run.run}`;
      link.textContent = `run ${run.run}`;
      below.replaceChildren();
      show(below, run);
    };
    select.addEventListener("change", apply);
    place.append(zsl.make("label", { class: "choice" }, "Run ", select, " ", link), below);
    apply();
  };

  const losses = (place, runs) => {
    const colours = zsl.data.colours;
    zsl.chooser(place, runs, (below, run) => {
      const canvas = zsl.make("canvas", { role: "img", "aria-label": `Losses of ${run.name}` });
      below.append(zsl.make("div", { class: "plot" }, canvas));
      chart(canvas, () => ({
        type: "scatter",
        data: { datasets: Object.entries(run.series).map(([label, points], i) => ({
          label, data: points.filter(([, value]) => value !== null).map(([x, y]) => ({ x, y })), showLine: true, pointRadius: points.length > 1 ? 0 : 3,
          borderWidth: 2, borderColor: visible(colours[i % colours.length]), backgroundColor: visible(colours[i % colours.length]),
          borderDash: DASHES[Math.floor(i / colours.length) % 3],
        })) },
        options: options(({ dataset, raw }) => `${dataset.label}\nepoch ${raw.x}: ${short(raw.y)}`,
          axis("epoch", { type: "linear" }), axis("mean loss", { type: "linear" }), true),
      }));
    });
  };

  /** A small chart for each hyper-parameter that a search varied. */
  const search = (place, own) => {
    own.names.forEach((name, i) => {
      const values = own.trials.map((trial) => trial.params[name]);
      const numeric = values.every((value) => value === null || typeof value === "number");
      const labels = numeric ? undefined : [...new Set(values.map(String))];
      const points = own.trials.map((trial) => ({
        x: numeric ? trial.params[name] : labels.indexOf(String(trial.params[name])), y: trial.value, trial,
      })).filter((one) => one.x !== null).sort((a, b) => a.x - b.x); // what is not parsed must be sorted, or the axis is cut off
      const text = ({ raw }) => [`${own.metric} ${short(raw.y)} (folds ${raw.trial.folds.map(short).join(", ")})`,
        ...Object.entries(raw.trial.params).map(([key, value]) => `${key} = ${typeof value === "number" ? short(value) : value}`)].join("\n");
      const ticks = { color: colour("--soft"), maxRotation: 0, maxTicksLimit: 6 };
      const kind = numeric ? { type: own.log[i] ? "logarithmic" : "linear" } : { type: "category", labels, offset: true };
      const canvas = zsl.make("canvas", { role: "img", "aria-label": `${own.metric} over ${name}` });
      place.append(zsl.make("div", { class: "plot small" }, canvas));
      const pale = points.map((one) => (one.trial.best ? 7 : 4));
      chart(canvas, () => ({
        type: "scatter",
        data: { datasets: [{
          data: points, pointRadius: pale, pointHoverRadius: 8, borderWidth: points.map((one) => (one.trial.best ? 3 : 1)),
          borderColor: points.map((one) => colour(one.trial.best ? "--warn" : "--accent")), backgroundColor: faded(colour("--accent")),
        }] },
        options: options(text, axis(name, { ...kind, ticks }), axis(own.metric, { type: "linear" })),
      }));
    });
  };

  document.querySelectorAll("[data-section]").forEach((section) => {
    const own = zsl.data.sections[section.dataset.section];
    curves(section, own);
    section.querySelectorAll("[data-search]").forEach((place) => search(place, own.searches[place.dataset.search]));
    const part = section.querySelector("[data-part=losses]");
    if (part && !own.losses.length) part.remove();
    else if (part) part.addEventListener("toggle", () => losses(part.querySelector("[data-losses]"), own.losses), { once: true });
  });
}
