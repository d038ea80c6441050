"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = (id) => JSON.parse(one(id).textContent);
  const make = (name, attributes = {}, ...children) => {
    const svg = ["svg", "g", "path", "line", "circle", "rect", "text", "title"].includes(name);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  const digits = (value, places = 1) => value.toFixed(places).replace("-", "−");

  // What needs this script is shown only now.
  all(".scripted, .bar, .tools[hidden], [data-copy-from]").forEach((node) => (node.hidden = false));

  one("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  // One budget and one model at a time; print and pages without script show all.
  const state = {};
  const listeners = [];
  for (const group of all("[data-switch]")) {
    const kind = group.dataset.switch;
    const choose = (value) => {
      state[kind] = value;
      all("button", group).forEach((button) => button.setAttribute("aria-pressed", button.value === value));
      all(`main [data-${kind}]`).forEach((panel) => (panel.hidden = panel.dataset[kind] !== value));
      listeners.forEach((listener) => listener());
    };
    all("button", group).forEach((button) => button.addEventListener("click", () => choose(button.value)));
    choose(all("button", group)[0].value);
  }

  // Tables: sort by a header, filter by a word or a value, copy what is shown.
  const textOf = (cell) => (cell.querySelector(".text") || cell).textContent.trim();
  function sortable(table) {
    const headers = all("thead th", table);
    headers.forEach((header, column) => {
      header.firstElementChild.addEventListener("click", () => {
        const down = header.getAttribute("aria-sort") !== "descending";
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        const key = (row) => { const cell = row.cells[column]; return "sort" in cell.dataset ? Number(cell.dataset.sort) : textOf(cell); };
        const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
        const rows = all("tbody tr", table).sort((a, b) => (down ? compare(key(b), key(a)) : compare(key(a), key(b))));
        table.tBodies[0].append(...rows);
      });
    });
    const tools = document.querySelector(`.tools[data-for="${table.id}"]`);
    const filter = () => {
      const words = tools.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = all("select", tools).filter((select) => select.value);
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !(words.every((word) => text.includes(word)) && chosen.every((select) => textOf(row.cells[select.dataset.column]) === select.value));
        shown += !row.hidden;
      }
      tools.querySelector(".count").textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
    };
    all("input, select", tools).forEach((control) => control.addEventListener("input", filter));
    all("[data-copy]", tools).forEach((button) => button.addEventListener("click", () => copy(written(table, button.dataset.copy), button)));
  }
  function written(table, form) {
    const rows = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(textOf));
    const keys = Number(table.dataset.keys);
    if (form === "CSV") return rows.map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",")).join("\n");
    if (form === "Markdown") {
      const lines = rows.map((row) => `| ${row.map((cell) => cell.replace(/[\\|*_<`]/g, "\\$&")).join(" | ")} |`);
      return [lines[0], `|${rows[0].map((_, at) => (at < keys ? " :--- |" : " ---: |")).join("")}`, ...lines.slice(1)].join("\n");
    }
    const special = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "−": "$-$", "≠": "$\\ne$", "×": "$\\times$", "–": "--" };
    const tex = (cell) => cell.replace(/[\\~^−≠×–&%$#_{}]/g, (sign) => special[sign] || `\\${sign}`);
    const lines = rows.map((row) => `${row.map(tex).join(" & ")} \\\\`);
    return [`\\begin{tabular}{${rows[0].map((_, at) => (at < keys ? "l" : "r")).join("")}}`, "\\toprule", lines[0], "\\midrule", ...lines.slice(1), "\\bottomrule", "\\end{tabular}"].join("\n");
  }
  function copy(text, button) {
    const area = make("textarea", { "aria-label": "copied text" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy"); // works for a file opened from disk, too
    area.remove();
    const before = button.textContent;
    button.textContent = done ? "copied" : "not possible";
    setTimeout(() => (button.textContent = before), 1200);
  }
  all("table.sortable").forEach(sortable);
  all("[data-copy-from]").forEach((button) => button.addEventListener("click", () => copy(one(button.dataset.copyFrom).textContent, button)));

  // Accuracy and cost. Everything is placed in per cent, so that it fits any width.
  const SHAPES = ["M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z", "M-4.5,-4.5h9v9h-9z", "M0,-6L5.5,4.5H-5.5z", "M0,-6.2L6.2,0 0,6.2 -6.2,0z", "M0,6L5.5,-4.5H-5.5z", "M-2,-6h4v4h4v4h-4v4h-4v-4h-4v-4h4z", "M-6,-3L-3,-6 0,-3 3,-6 6,-3 3,0 6,3 3,6 0,3 -3,6 -6,3 -3,0z"];
  const NAMES = { realised_tokens: "visual tokens", flops: "FLOPs", cache_bytes: "KV cache" };
  function plot(box) {
    const number = box.id.slice(4);
    const points = data(box.dataset.points);
    const strategies = [...new Set(points.map((point) => point.strategy))];
    const off = new Set();
    const look = (name) => { const at = strategies.indexOf(name); return { shape: SHAPES[at % SHAPES.length], colour: `k${at % 8}` }; };
    const controls = ["axis", "tolerance", "whiskers"].map((id) => one(id + number));
    const legend = one(`legend${number}`);
    for (const name of strategies) {
      const { shape, colour } = look(name);
      const button = make("button", { type: "button", "aria-pressed": "true" }, make("svg", { viewBox: "-7 -7 14 14", "aria-hidden": "true" }, make("path", { d: shape, class: colour })), name);
      button.addEventListener("click", () => {
        off.has(name) ? off.delete(name) : off.add(name);
        button.setAttribute("aria-pressed", !off.has(name));
        draw();
      });
      legend.append(button);
    }
    function draw() {
      const axis = controls[0].value, tolerance = 1 + Number(controls[1].value) / 100;
      const shown = points.filter((point) => !off.has(point.strategy) && point.cost[axis] !== null);
      const cost = (point) => point.cost[axis];
      const better = (a, b) => cost(a) <= cost(b) * tolerance && (a.value[0] > b.value[0] || (a.value[0] === b.value[0] && cost(a) * tolerance < cost(b)));
      const front = new Set(shown.filter((point) => !shown.some((other) => better(other, point))));
      const highest = Math.max(105, ...shown.map((point) => point.value[2] ?? point.value[0]));
      const lowest = Math.max(0, Math.floor((Math.min(90, ...shown.map((point) => point.value[1] ?? point.value[0])) - 3) / 10) * 10);
      const right = Math.max(105, ...shown.map((point) => cost(point) * 1.03));
      const x = (value) => `${((100 * value) / right).toFixed(2)}%`;
      const y = (value) => `${((100 * (highest - value)) / (highest - lowest)).toFixed(2)}%`;
      const svg = make("svg", { role: "group", "aria-label": `Retention against ${NAMES[axis]}, ${shown.length} cells` });
      const step = highest - lowest > 60 ? 20 : 10;
      for (let level = Math.ceil(lowest / step) * step; level <= highest; level += step)
        svg.append(make("line", { class: level === 100 ? "hundred" : "rule", x1: 0, x2: "100%", y1: y(level), y2: y(level) }), make("text", { class: "end", x: -8, y: y(level), dy: 4 }, String(level)));
      for (let share = 0; share <= right; share += 20) svg.append(make("text", { class: "middle", x: x(share), y: "100%", dy: 20 }, `${share} %`));
      svg.append(make("text", { class: "middle", x: "50%", y: "100%", dy: 40 }, `${NAMES[axis]}, share of vanilla`), make("text", { x: -44, y: -4 }, "retention %"));
      for (const name of strategies) {
        const own = shown.filter((point) => point.strategy === name).sort((a, b) => cost(a) - cost(b));
        own.slice(1).forEach((to, at) => svg.append(make("line", { class: `link ${look(name).colour}`, x1: x(cost(own[at])), y1: y(own[at].value[0]), x2: x(cost(to)), y2: y(to.value[0]) })));
        if (controls[2].checked) own.filter((point) => point.value[1] !== null).forEach((point) => svg.append(make("line", { class: `whisker ${look(name).colour}`, x1: x(cost(point)), x2: x(cost(point)), y1: y(Math.max(lowest, point.value[1])), y2: y(point.value[2]) })));
      }
      const edge = [...front].sort((a, b) => cost(a) - cost(b) || b.value[0] - a.value[0]);
      let level = -Infinity;
      const stairs = edge.filter((point) => point.value[0] > level && (level = point.value[0], true));
      stairs.slice(1).forEach((to, at) => {
        const from = stairs[at];
        svg.append(make("line", { class: "step", x1: x(cost(from)), x2: x(cost(to)), y1: y(from.value[0]), y2: y(from.value[0]) }), make("line", { class: "step", x1: x(cost(to)), x2: x(cost(to)), y1: y(from.value[0]), y2: y(to.value[0]) }));
      });
      const marks = [...shown].sort((a, b) => front.has(a) - front.has(b));
      for (const point of marks) {
        const { shape, colour } = look(point.strategy);
        const range = point.value[1] === null ? "" : ` [${digits(point.value[1])}, ${digits(point.value[2])}]`;
        const text = `${point.strategy} at ${point.budget}: retention ${digits(point.value[0])}${range} %, ${NAMES[axis]} ${digits(cost(point))} %${front.has(point) ? ", on the front" : ""}`;
        const mark = make("svg", { class: "mark", x: x(cost(point)), y: y(point.value[0]), tabindex: 0, role: "img", "aria-label": text }, make("path", { d: shape, class: colour }), make("title", {}, text));
        if (front.has(point)) mark.append(make("circle", { class: "ring", r: 9 }));
        for (const event of ["focus", "mouseenter"]) mark.addEventListener(event, () => (one(`readout${number}`).textContent = text));
        svg.append(mark);
      }
      box.replaceChildren(svg);
      const { width, height } = svg.getBoundingClientRect();
      const placed = [];
      for (const point of edge.reverse()) { // a name only where there is room for it
        const left = (cost(point) / right) * width, top = ((highest - point.value[0]) / (highest - lowest)) * height, wide = 7 * (point.strategy.length + point.budget.length + 1);
        const flip = left + wide + 12 > width;
        const start = flip ? left - wide - 12 : left + 12;
        if (wide > width / 2 || placed.some((other) => Math.abs(other.top - top) < 15 && start < other.end && other.start < start + wide)) continue;
        placed.push({ top, start, end: start + wide });
        svg.append(make("text", { class: flip ? "name end" : "name", x: x(cost(point)), y: y(point.value[0]), dx: flip ? -12 : 12, dy: 4, "aria-hidden": "true" }, `${point.strategy} ${point.budget}`));
      }
    }
    controls.forEach((control) => control.addEventListener("input", draw));
    new ResizeObserver(draw).observe(box);
    addEventListener("beforeprint", draw);
  }
  all(".plot").forEach(plot);

  // Samples with what each strategy kept of them.
  function gallery(box) {
    const number = box.id.slice(7);
    const samples = data(box.dataset.samples);
    const [picks, shown] = [box.querySelector(".picks"), box.querySelector(".shown")];
    const [flips, boxes] = [one(`flips${number}`), one(`boxes${number}`)];
    let current = 0;
    const kind = (cell, vanilla) => (vanilla.right && !cell.right ? "spoilt" : !vanilla.right && cell.right ? "mended" : "");
    const keptOf = (text) => new Set(text.split(",").filter(Boolean).flatMap((run) => { const [a, b = a] = run.split("-").map(Number); return Array.from({ length: b - a + 1 }, (_, at) => a + at); }));
    function frame(sample, cell, at) {
      const node = make("div", { class: "frame" }, make("img", { src: sample.frames[at], alt: `the picture with what ${cell.strategy} kept` }));
      if (!sample.lattice) return node;
      const [times, height, width, lead] = sample.lattice, each = lead + height * width, t = sample.shown[at];
      const overlay = make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
      if (cell.strategy !== "vanilla") {
        const kept = keptOf(cell.kept);
        let path = "";
        for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) if (!kept.has(t * each + lead + y * width + x)) path += `M${x},${y}h1v1h-1z`;
        overlay.append(make("path", { class: "drop", d: path }));
      }
      if (boxes.checked) for (const [x0, y0, x1, y1, t0, t1] of sample.evidence) if (t0 * times < t + 1 && t1 * times > t) overlay.append(make("rect", { class: "evidence", x: x0 * width, y: y0 * height, width: (x1 - x0) * width, height: (y1 - y0) * height }));
      node.append(overlay);
      return node;
    }
    function draw() {
      const sample = samples[current];
      all("button", picks).forEach((button, at) => button.setAttribute("aria-pressed", at === current));
      const vanilla = sample.cells.find((cell) => cell.strategy === "vanilla");
      const budget = state.budget;
      const here = sample.cells.filter((cell) => cell === vanilla || !budget || cell.budget === budget || !sample.cells.some((other) => other.strategy === cell.strategy && other.budget === budget));
      const order = { spoilt: 0, mended: 1, "": 2 };
      const chosen = here.filter((cell) => cell === vanilla || !flips.value || kind(cell, vanilla) === flips.value);
      chosen.sort((a, b) => (b === vanilla) - (a === vanilla) || order[kind(a, vanilla)] - order[kind(b, vanilla)]);
      const figures = chosen.map((cell) => {
        const word = kind(cell, vanilla);
        const caption = make("figcaption", {}, make("b", {}, `${cell.strategy}${cell === vanilla ? "" : ` ${cell.budget}`}`), make("span", { class: word }, `${cell.right ? "✓" : "✗"} “${cell.answer}”${word ? ` ${word}` : ""}`), make("small", { class: "dim" }, ` ${cell.count} tokens`));
        return make("figure", {}, make("div", { class: "frames" }, ...sample.frames.map((_, at) => frame(sample, cell, at))), caption);
      });
      shown.replaceChildren(make("blockquote", { tabindex: 0 }, sample.question, make("br"), make("small", { class: "dim" }, `right: “${sample.target}” · ${sample.task}, ${sample.sample}`)), make("div", { class: "grid" }, ...figures));
      if (!sample.lattice) shown.append(make("p", { class: "note" }, "Where on the picture the tokens lie is not known for this model."));
    }
    samples.forEach((sample, at) => {
      const vanilla = sample.cells.find((cell) => cell.strategy === "vanilla");
      const spoilt = sample.cells.filter((cell) => kind(cell, vanilla) === "spoilt").length;
      const mended = sample.cells.filter((cell) => kind(cell, vanilla) === "mended").length;
      const text = [spoilt && `${spoilt} spoilt`, mended && `${mended} mended`].filter(Boolean).join(", ") || "no flips";
      const button = make("button", { type: "button" }, ...(sample.frames.length ? [make("img", { src: sample.frames[0], alt: "" })] : []), make("span", {}, sample.task, make("br"), make("small", {}, text)));
      button.addEventListener("click", () => { current = at; draw(); });
      picks.append(button);
    });
    [flips, boxes].forEach((control) => control.addEventListener("input", draw));
    listeners.push(draw);
    draw();
  }
  all(".gallery").forEach(gallery);
})();
