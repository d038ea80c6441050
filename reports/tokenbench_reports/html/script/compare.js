  // Two strategies side by side: the sentence, examples, and counts that lead to the questions.
  const fragmentOf = (wish) => {
    const named = Object.entries(wish).filter(([, value]) => value);
    return `#samples?${new URLSearchParams(named).toString().replaceAll("+", "%20")}`;
  };
  function compare(section, model) {
    const source = data(section.dataset.source), live = section.querySelector(".live");
    const [a, b] = ["a", "b"].map((role) => section.querySelector(`[data-role="${role}"]`));
    const state = { sample: null, index: null };
    const names = () => [source.names[a.value], source.names[b.value]];
    const budget = () => { const all = budgets.map((input) => input.nextElementSibling.textContent); return all.length ? all[chosen()] : source.budgets[0]; };
    const cell = (sample, strategy) => { const own = sample.cells.filter((one) => one.strategy === strategy); return own.find((one) => one.budget === budget()) || (own.length === 1 ? own[0] : null); };
    const example = () => source.samples.find((sample) => { const [x, y] = names().map((name) => cell(sample, name)); return x && y && x.right && !y.right; }) || source.samples[0];

    function pictures() {
      if (!source.samples.length) return [];
      const sample = state.sample || example();
      const picks = source.samples.filter((one) => one.frames.length).map((one) => {
        const [picture, width, height] = one.frames[0];
        const button = make("button", { type: "button", "aria-pressed": String(one === sample), "aria-label": `Example ${source.samples.indexOf(one) + 1}, ${one.task}` }, make("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, symbol(picture, width, height)));
        button.addEventListener("click", () => { state.sample = one; draw(); all(".picks button", live)[source.samples.indexOf(one)]?.focus(); });
        return button;
      });
      const panes = names().map((name) => [name, cell(sample, name)]).filter(([, own]) => own).map(([name, own]) => {
        const kept = own.kept ? unpack(own.kept) : null;
        const frames = sample.frames.map(([picture, width, height], at) => scene(sample, at, kept, symbol(picture, width, height), `the picture with what ${name} kept of it`));
        const count = own.count === null ? "how many tokens it kept is unknown" : `${own.count} visual tokens after the last layer`;
        return make("figure", { class: "pane" }, make("p", { class: "who2" }, name), make("div", { class: "frames" }, ...frames), make("figcaption", {}, answerNode(own.right ? "1" : "0", own.answer === null ? null : `“${own.answer}”`), ` · ${count}`, ...steps(own.layers)));
      });
      const asked = make("p", { class: "asked" }, sample.question, " ", make("small", {}, `${sample.task}, ${rightAnswer(sample.target)}`));
      return [make("h3", {}, "What each one kept"), make("div", { class: "picks", role: "group", "aria-label": "Examples" }, ...picks), asked, make("div", { class: "panes" }, ...panes)];
    }
    function counts() {
      const [x, y] = names(), [first, second] = names().map((name) => cellOf(model, name, budget()));
      if (first < 0 || second < 0) return [];
      const wish = { model: head.models.length > 1 ? head.models[model].name : "", a: x, b: y, budget: budget() };
      const count = (sign, show) => {
        const number = state.index ? String(state.index.filter(([, , , signs]) => signs[first] + signs[second] === sign).length) : "…";
        return make("td", {}, make("a", { href: fragmentOf({ ...wish, show }), "aria-label": `${number}: ${x} ${sign[0] === "1" ? "right" : "wrong"}, ${y} ${sign[1] === "1" ? "right" : "wrong"}` }, number));
      };
      const header = make("tr", {}, make("td"), ...["right", "wrong"].map((word) => make("th", { scope: "col" }, `${y} ${word}`)));
      const rows = [["1", "both", "only-a"], ["0", "only-b", "neither"]].map(([sign, ...shows]) => make("tr", {}, make("th", { scope: "row" }, `${x} ${sign === "1" ? "right" : "wrong"}`), count(`${sign}1`, shows[0]), count(`${sign}0`, shows[1])));
      const table = make("table", { class: "two" }, make("caption", { class: "unseen" }, "Questions by who answers them right; a number leads to its questions"), make("thead", {}, header), make("tbody", {}, ...rows));
      const browse = make("a", { class: "button", href: fragmentOf(wish) }, `Browse all ${head.models[model].count.toLocaleString("en")} questions`);
      return [make("h3", {}, "Every question"), make("div", { class: "browse" }, table, make("p", {}, browse, make("small", {}, "with filters, the answers of every method, and what each one kept")))];
    }
    function draw() {
      const text = source.texts[[...names()].sort().concat(budget()).join("\n")] || (a.value === b.value ? "Choose two different methods." : `At ${budget()}, at least one of the two did not run.`);
      live.replaceChildren(make("p", { class: "verdict", "aria-live": "polite" }, text), ...pictures(), ...(head?.models[model]?.count ? counts() : []));
    }
    [a, b].forEach((select) => select.addEventListener("input", () => { state.sample = null; draw(); }));
    listeners.push(draw);
    draw();
    if (!head?.models[model]?.count) return;
    const count = () => indexOf(model).then((index) => { state.index = index; draw(); }, () => {});
    if (!head.folder) count();
    else new IntersectionObserver((seen, watcher) => { if (seen.some((one) => one.isIntersecting)) { watcher.disconnect(); count(); } }, { rootMargin: "800px" }).observe(section);
  }
  all("section.compare").forEach((section) => compare(section, Number(section.dataset.model)));

