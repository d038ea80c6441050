"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = (id) => JSON.parse(one(id).textContent);
  const SVG = ["svg", "use", "g", "path", "rect"];
  const make = (name, attributes = {}, ...children) => {
    const node = SVG.includes(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };
  document.documentElement.classList.add("on");

  // Light and dark.
  const root = document.documentElement, theme = one("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => (theme.textContent = isDark() ? "Light" : "Dark");
  theme.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; name(); });
  name();

  // The budget is a radio button, which works without this script; who draws anew listens to it.
  const budgets = all('input[name="b"]');
  const chosen = () => Math.max(0, budgets.findIndex((input) => input.checked));
  const listeners = [];
  budgets.forEach((input) => input.addEventListener("change", () => listeners.forEach((listener) => listener())));

  // Copying works for a file opened from disk, too.
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => {
    const area = make("textarea", { "aria-label": "copied text" });
    area.value = one(button.dataset.copy).textContent;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy"), before = button.textContent;
    area.remove();
    button.textContent = done ? "Copied" : "Not possible here";
    setTimeout(() => (button.textContent = before), 1500);
  }));

  // A header sorts the rows of every budget; floors and the unpruned model stay below.
  for (const header of all("th[data-sorts]")) {
    const button = make("button", { type: "button" }, ...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const table = header.closest("table"), column = header.cellIndex, down = header.getAttribute("aria-sort") !== "descending";
      all("th", table.tHead).forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      for (const body of table.tBodies) {
        const kind = (row) => (row.matches(".name") ? 0 : row.matches(".van") ? 3 : row.matches(".floor") ? 2 : 1);
        const value = (row) => Number(row.cells[column]?.dataset.v ?? 0);
        body.append(...[...body.rows].sort((a, b) => kind(a) - kind(b) || (down ? value(b) - value(a) : value(a) - value(b))));
      }
    });
  }

  // Pointing at a plot takes the nearest mark, and writes its numbers below.
  for (const card of all(".plots")) {
    const readout = card.querySelector(".readout");
    const texts = data(readout.id.replace("readout", "cells"));
    const show = (event) => {
      const plot = event.target.closest("svg.plot");
      const points = plot ? all(".pt", plot) : [];
      const place = (point) => { const box = point.querySelector("use").getBoundingClientRect(); return Math.hypot(box.x + box.width / 2 - event.clientX, box.y + box.height / 2 - event.clientY); };
      const nearest = points.map((point) => [place(point), point]).sort((a, b) => a[0] - b[0])[0];
      const hot = nearest && nearest[0] < 34 ? nearest[1] : null;
      const method = hot && texts[hot.dataset.i].method;
      all(".pt", card).forEach((point) => { point.classList.toggle("dim", Boolean(hot) && texts[point.dataset.i].method !== method); point.classList.toggle("hot", point === hot); });
      readout.textContent = hot ? `${texts[hot.dataset.i].text}.` : "";
      card.classList.toggle("pointing", Boolean(hot));
    };
    card.addEventListener("pointermove", show);
    card.addEventListener("pointerdown", show);
    card.addEventListener("pointerleave", show);
  }

  // Two strategies side by side.
  const ordinals = (text) => new Set(text.split(",").filter(Boolean).flatMap((run) => { const [a, b = a] = run.split("-").map(Number); return Array.from({ length: b - a + 1 }, (_, at) => a + at); }));
  function scene(sample, cell, at) {
    const [picture, width, height] = sample.frames[at];
    const svg = make("svg", { class: "scene", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `the picture with what ${cell.strategy} kept of it` }, make("use", { href: `#p${picture}`, width, height }));
    if (!sample.lattice) return svg;
    const [times, rows, columns, lead] = sample.lattice, t = sample.shown[at], first = t * (lead + rows * columns) + lead;
    const kept = cell.kept ? ordinals(cell.kept) : null;
    let path = "";
    for (let place = 0; kept && place < rows * columns; place++) if (!kept.has(first + place)) path += `M${place % columns},${Math.floor(place / columns)}h1v1h-1z`;
    const boxes = sample.evidence.filter(([, , , , t0, t1]) => t0 * times < t + 1 && t1 * times > t);
    const outline = (kind) => boxes.map(([x0, y0, x1, y1]) => make("rect", { class: kind, x: x0 * columns, y: y0 * rows, width: (x1 - x0) * columns, height: (y1 - y0) * rows }));
    svg.append(make("g", { transform: `scale(${width / columns} ${height / rows})` }, make("path", { class: "drop", d: path }), ...outline("evi under"), ...outline("evi")));
    return svg;
  }
  function steps(layers) {
    const counts = layers.flatMap(([count, length]) => Array(length).fill(count)), most = Math.max(1, ...counts), slot = 100 / counts.length;
    const bars = counts.map((count, at) => make("rect", { x: slot * (at + 0.06), y: 100 - (100 * count) / most, width: slot * 0.88, height: (100 * count) / most }));
    return bars.length ? [make("svg", { class: "steps", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": "visual tokens in each layer" }, ...bars), make("small", {}, "tokens in each layer, first to last")] : [];
  }
  function compare(section) {
    const source = data(section.dataset.source), questions = source.questions, live = section.querySelector(".live");
    const [a, b] = ["a", "b"].map((role) => section.querySelector(`[data-role="${role}"]`));
    const state = { sample: null, filter: null, task: "", words: "", most: 20 };
    const names = () => [source.names[a.value], source.names[b.value]];
    const budget = () => { const all = budgets.map((input) => input.nextElementSibling.textContent); return all.length ? all[chosen()] : source.budgets[0]; };
    const key = (strategy) => { const exact = `${strategy}\n${budget()}`, own = Object.keys(questions.answers).filter((name) => name.startsWith(`${strategy}\n`)); return exact in questions.answers ? exact : own.length === 1 ? own[0] : null; };
    const cell = (sample, strategy) => { const own = sample.cells.filter((one) => one.strategy === strategy); return own.find((one) => one.budget === budget()) || (own.length === 1 ? own[0] : null); };
    const example = () => source.samples.find((sample) => { const [x, y] = names().map((name) => cell(sample, name)); return x && y && x.right && !y.right; }) || source.samples[0];
    const answer = (right, text) => make("span", { class: right ? "yes" : "no" }, text || "(no answer)");

    function pictures() {
      if (!source.samples.length) return [];
      const sample = state.sample || example();
      const picks = source.samples.filter((one) => one.frames.length).map((one) => {
        const [picture, width, height] = one.frames[0];
        const button = make("button", { type: "button", "aria-pressed": String(one === sample), "aria-label": `Example ${source.samples.indexOf(one) + 1}, ${one.task}` }, make("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, make("use", { href: `#p${picture}`, width, height })));
        button.addEventListener("click", () => { state.sample = one; draw(); all(".picks button", live)[source.samples.indexOf(one)]?.focus(); });
        return button;
      });
      const panes = names().map((name) => [name, cell(sample, name)]).filter(([, own]) => own).map(([name, own]) => make("figure", { class: "pane" }, make("p", { class: "who2" }, name), make("div", { class: "frames" }, ...sample.frames.map((_, at) => scene(sample, own, at))), make("figcaption", {}, answer(own.right, `“${own.answer}”`), own.count === null ? " · how many visual tokens are left is unknown" : ` · ${own.count} visual tokens after the last layer`, ...steps(own.layers))));
      const asked = make("p", { class: "asked" }, sample.question, " ", make("small", {}, `${sample.task}, right answer: “${sample.target}”`));
      return [make("h3", {}, "What each one kept"), make("div", { class: "picks", role: "group", "aria-label": "Examples" }, ...picks), asked, make("div", { class: "panes" }, ...panes)];
    }
    function listed() {
      const keys = names().map(key);
      if (keys.includes(null)) return [];
      const [x, y] = keys.map((one) => questions.right[one]);
      return questions.asked.map(([task, text, target], at) => ({ task, text, target, sign: x[at] + y[at], answers: keys.map((one) => questions.answers[one][at]) }));
    }
    function start() { state.filter ??= listed().some((one) => one.sign === "10") ? "10" : ""; }
    function list() {
      const every = listed(), words = state.words.toLowerCase();
      const rows = every.filter((one) => (!state.filter || one.sign === state.filter) && (state.task === "" || one.task === Number(state.task)) && one.text.toLowerCase().includes(words));
      const items = rows.slice(0, state.most).map((one) => make("li", {}, make("span", { class: "q" }, one.text, make("small", {}, `${questions.tasks[one.task]}, right answer: “${questions.words[one.target]}”`)), ...one.answers.map((said, at) => make("span", { class: "a" }, make("small", {}, names()[at]), answer(one.sign[at] === "1", questions.words[said] ?? "–")))));
      const parts = [make("p", { class: "note", role: "status" }, `${rows.length.toLocaleString("en")} of ${every.length.toLocaleString("en")} questions${rows.length > state.most ? `, the first ${state.most}` : ""}`), make("ul", { class: "list" }, ...items)];
      if (rows.length > state.most) {
        const more = make("button", { type: "button" }, "Show more");
        more.addEventListener("click", () => { state.most += 50; refresh(); });
        parts.push(more);
      }
      return parts;
    }
    function refresh() { live.querySelector(".found").replaceChildren(...list()); }
    function counts() {
      const every = listed(), [x, y] = names();
      const count = (sign) => {
        const number = String(every.filter((one) => one.sign === sign).length);
        const button = make("button", { type: "button", "data-sign": sign, "aria-pressed": String(state.filter === sign), "aria-label": `${number}: ${x} ${sign[0] === "1" ? "right" : "wrong"}, ${y} ${sign[1] === "1" ? "right" : "wrong"}` }, number);
        button.addEventListener("click", () => { state.filter = state.filter === sign ? "" : sign; state.most = 20; all(".two button", live).forEach((one) => one.setAttribute("aria-pressed", String(one.dataset.sign === state.filter))); refresh(); });
        return make("td", {}, button);
      };
      const head = make("tr", {}, make("td"), ...["right", "wrong"].map((word) => make("th", { scope: "col" }, `${y} ${word}`)));
      const rows = ["1", "0"].map((sign) => make("tr", {}, make("th", { scope: "row" }, `${x} ${sign === "1" ? "right" : "wrong"}`), count(`${sign}1`), count(`${sign}0`)));
      return make("table", { class: "two" }, make("caption", { class: "unseen" }, "Questions by who answers them right; a number lists its questions"), make("thead", {}, head), make("tbody", {}, ...rows));
    }
    function filters() {
      const task = make("select", { "aria-label": "Task" }, make("option", { value: "" }, "all tasks"), ...questions.tasks.map((name, at) => make("option", { value: at }, name)));
      const search = make("input", { type: "search", placeholder: "words in the question", "aria-label": "Words in the question", autocomplete: "off" });
      task.value = state.task;
      search.value = state.words;
      task.addEventListener("input", () => { state.task = task.value; state.most = 20; refresh(); });
      search.addEventListener("input", () => { state.words = search.value; state.most = 20; refresh(); });
      return make("div", { class: "row" }, task, search);
    }
    function draw() {
      start();
      const text = source.texts[[...names()].sort().concat(budget()).join("\n")] || (a.value === b.value ? "Choose two different methods." : `At ${budget()}, these two did not both run.`);
      const found = make("div", { class: "found" }, ...list());
      const browse = [make("h3", {}, "Every question"), make("div", { class: "browse" }, counts(), make("div", {}, filters(), found))];
      live.replaceChildren(make("p", { class: "verdict", "aria-live": "polite" }, text), ...pictures(), ...(questions.asked.length ? browse : []));
    }
    [a, b].forEach((select) => select.addEventListener("input", () => { state.sample = state.filter = null; draw(); }));
    listeners.push(draw);
    draw();
  }
  all("section.compare").forEach(compare);
})();
