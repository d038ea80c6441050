  // Every question: the view, its address, and its keys. The address is `#samples?a=…&b=…&budget=…&task=…&show=…&find=…&sample=TASK/KEY`.
  function browse(view) {
    const part = (name) => view.querySelector(`[data-part="${name}"]`);
    const [modelBox, aBox, bBox, budgetBox, taskBox, findBox, shows, status, listBox, article, body, place, keys] =
      ["model", "a", "b", "budget", "task", "find", "shows", "status", "list", "one", "body", "place", "keys"].map(part);
    const wish = { model: 0, a: "", b: "", budget: "", task: -1, show: "", find: "" };
    let index = [], numbers = [], sample = -1, layer = Infinity, turn = 0, note = "", reported = 0, kept = null;
    const about = () => head.models[wish.model];
    const strategies = () => [...new Set(about().cells.map(([name]) => name))];
    const nameOf = (number) => `${about().tasks[index[number][0]]}/${index[number][1]}`;
    const cellsNow = () => [wish.a, wish.b, head.full].map((name) => cellOf(wish.model, name, wish.budget));
    const list = makeList(listBox, { open: (number) => { openSample(number, true); }, describe });

    function describe(number, replace) {
      const [task, , text, signs] = index[number], [a, b] = cellsNow();
      const row = (said) => [
        make("span", { class: "q1" }, text),
        make("span", { class: "q2" }, make("span", { class: "task2" }, about().tasks[task]), ...[[wish.a, a], [wish.b, b]].map(([name, cell]) => make("span", { class: signs[cell] === "1" ? "yes" : signs[cell] === "0" ? "no" : "open2" }, make("span", { class: "who3" }, `${name} `), cell < 0 ? "did not run" : said ? (said[2][cell] < 0 ? "–" : (said[1][said[2][cell]] ?? "(answer unknown)") || "(no answer)") : signs[cell] === "1" ? "right" : signs[cell] === "0" ? "wrong" : "–"))),
      ];
      answersOf(wish.model, number).then((said) => replace(...row(said)), () => {});
      return row(null);
    }
    const option = (value, text, chosen) => { const node = make("option", { value }, text); node.selected = value === chosen; return node; };
    function fill() {
      const { tasks, budgets: own } = about();
      modelBox?.replaceChildren(...head.models.map((one, at) => option(String(at), one.name, String(wish.model))));
      for (const [box, name] of [[aBox, wish.a], [bBox, wish.b]]) box.replaceChildren(...strategies().map((one) => option(one, one, name)));
      budgetBox.replaceChildren(...own.map((one) => option(one, one, wish.budget)));
      budgetBox.parentNode.hidden = own.length < 2;
      taskBox.replaceChildren(option("-1", "all tasks", String(wish.task)), ...tasks.map((one, at) => option(String(at), one, String(wish.task))));
      taskBox.parentNode.hidden = tasks.length < 2;
      findBox.value = wish.find;
    }
    function refilter() {
      const started = performance.now(), [a, b, full] = cellsNow(), { found, counts } = filterQuestions(index, wish, a, b, full);
      numbers = found;
      list.show(numbers, sample);
      shows.replaceChildren(...SHOWS.map(([name, text], at) => {
        const button = make("button", { type: "button", "aria-pressed": String(wish.show === name), title: `key ${at + 1}` }, text(wish.a, wish.b, head.full), " ", make("b", {}, counts[at].toLocaleString("en")));
        button.addEventListener("click", () => choose({ show: name }));
        return button;
      }));
      const pressed = shows.querySelector('[aria-pressed="true"]');
      shows.scrollLeft += pressed.getBoundingClientRect().left - shows.getBoundingClientRect().left - 40;
      view.dataset.took = String(performance.now() - started);
      say();
    }
    function say() {
      const all = index.length.toLocaleString("en");
      status.textContent = [note, numbers.length ? `${numbers.length.toLocaleString("en")} of ${all} questions` : `No question matches. There are ${all} in all.`].filter(Boolean).join(" ");
      const at = numbers.indexOf(sample);
      place.textContent = at < 0 ? "not in the list" : `${(at + 1).toLocaleString("en")} of ${numbers.length.toLocaleString("en")}`;
    }
    function address() {
      return fragmentOf({ model: head.models.length > 1 ? about().name : "", a: wish.a, b: wish.b, budget: wish.budget, task: wish.task < 0 ? "" : about().tasks[wish.task], show: wish.show, find: wish.find, sample: sample < 0 ? "" : nameOf(sample) });
    }
    const remember = (push) => { if (push) history.pushState({ opened: true }, "", address()); else history.replaceState(history.state, "", address()); };

    function choose(changes) {
      note = "";
      Object.assign(wish, changes);
      const focused = shows.contains(document.activeElement);
      fill();
      refilter();
      if (focused) shows.querySelector('[aria-pressed="true"]')?.focus();
      if (sample >= 0) openSample(sample, false, false);
      else remember(false);
    }
    async function openSample(number, push, focus = true) {
      const own = ++turn;
      sample = number;
      view.classList.add("opened");
      article.hidden = false;
      if (numbers.includes(number)) list.move(numbers.indexOf(number));
      remember(push);
      say();
      body.setAttribute("aria-busy", "true");
      const fresh = make("div", {});
      try {
        await drawQuestion(fresh, wish, index[number], number, { pick: (name) => choose({ b: name }), layer: () => layer, moved: (to) => { layer = to; } });
      } catch (error) { fresh.replaceChildren(make("p", { class: "warn", role: "alert" }, error.message)); }
      if (own !== turn) return;
      body.replaceChildren(...fresh.childNodes);
      body.removeAttribute("aria-busy");
      if (focus) { body.querySelector("h2")?.focus({ preventScroll: true }); article.scrollTop = 0; if (getComputedStyle(listBox).display === "none" || listBox.offsetParent === null) scrollTo(0, 0); }
    }
    function close() {
      if (history.state?.opened) { kept = { ...wish }; history.back(); return; }  // the list keeps what was chosen at the question
      shut();
      remember(false);
    }
    function shut() {
      turn++;
      const before = sample;
      sample = -1;
      article.hidden = true;
      view.classList.remove("opened");
      list.fit();
      if (before >= 0 && numbers.includes(before)) list.move(numbers.indexOf(before));
      (listBox.hidden ? shows.querySelector('[aria-pressed="true"]') : listBox).focus({ preventScroll: true });
      say();
    }
    const neighbour = (by) => {
      const at = numbers.indexOf(sample), to = at < 0 ? 0 : at + by;
      if (numbers[to] !== undefined) openSample(numbers[to], false);
    };
    const next = (values, value, by) => values[(values.indexOf(value) + by + values.length) % values.length];

    async function read() {
      const [start, query] = location.hash.split(/\?(.*)/s), own = ++reported, stay = kept;
      kept = null;
      const here = start === "#samples";
      document.body.classList.toggle("browsing", here);
      view.hidden = !here;
      if (!here) { turn++; sample = -1; return; }
      const asked = new URLSearchParams(query || ""), text = (name) => asked.get(name) ?? "";
      const unknown = [], model = head.models.findIndex((one) => one.name === text("model"));
      if (text("model") && model < 0) unknown.push(`the model “${text("model")}”`);
      wish.model = Math.max(0, model);
      const names = strategies(), own2 = about().budgets, page = budgets.length ? budgets[chosen()].nextElementSibling.textContent : "";
      const known = (name, what, values, fallback) => { if (values.includes(text(name))) return text(name); if (text(name)) unknown.push(`the ${what} “${text(name)}”`); return fallback; };
      wish.a = known("a", "method", names, names[0]);
      wish.b = known("b", "method", names, names.find((name) => name !== wish.a) ?? wish.a);
      wish.budget = known("budget", "budget", own2, own2.includes(page) ? page : own2[0] ?? "");
      wish.task = about().tasks.indexOf(known("task", "task", about().tasks, ""));
      wish.show = known("show", "filter", SHOWS.map(([name]) => name), "");
      wish.find = text("find");
      Object.assign(wish, stay);
      fill();
      const before = sample;
      try { index = await indexOf(wish.model); } catch (error) { status.textContent = error.message; return; }
      if (own !== reported) return;
      sample = text("sample") ? index.findIndex((_, at) => nameOf(at) === text("sample")) : -1;
      if (text("sample") && sample < 0) unknown.push(`the question “${text("sample")}”`);
      note = unknown.length ? `This report does not have ${unknown.join(", ")}.` : "";
      refilter();
      part("notes").replaceChildren(...about().notes.map((one) => make("li", {}, one)));
      if (sample >= 0) openSample(sample, false);
      else { sample = before; shut(); if (stay) remember(false); }
    }

    [[modelBox, (value) => read.call(null, (location.hash = fragmentOf({ model: head.models[value].name })))], [aBox, (value) => choose({ a: value })], [bBox, (value) => choose({ b: value })], [budgetBox, (value) => choose({ budget: value })], [taskBox, (value) => choose({ task: Number(value) })], [findBox, (value) => choose({ find: value })]]
      .forEach(([box, act]) => box?.addEventListener("input", () => act(box.value)));
    view.querySelector("form").addEventListener("submit", (event) => { event.preventDefault(); listBox.focus(); });
    part("back").addEventListener("click", close);
    part("previous").addEventListener("click", () => neighbour(-1));
    part("next").addEventListener("click", () => neighbour(1));
    part("help").addEventListener("click", () => keys.showModal());
    part("done").addEventListener("click", () => keys.close());

    const swap = () => choose({ a: wish.b, b: wish.a });
    const moves = { j: 1, n: 1, ArrowDown: 1, k: -1, p: -1, ArrowUp: -1 };
    const jumps = { PageDown: () => list.page(), PageUp: () => -list.page(), Home: () => -list.count(), End: () => list.count() };
    const acts = {
      "?": () => keys.showModal(), "/": () => { findBox.focus(); findBox.select(); }, x: swap, v: () => choose({ b: head.full }),
      c: () => choose({ b: next(strategies().filter((name) => name !== wish.a), wish.b, 1) }), C: () => choose({ b: next(strategies().filter((name) => name !== wish.a), wish.b, -1) }),
      b: () => about().budgets.length && choose({ budget: next(about().budgets, wish.budget, 1) }), t: () => choose({ task: next([-1, ...about().tasks.keys()], wish.task, 1) }),
      ",": () => shift(-1), ".": () => shift(1), u: () => sample >= 0 && close(),
    };
    function shift(by) {
      const range = body.querySelector('input[type="range"]');
      if (!range) return;
      range.value = Number(range.value) + by;
      range.dispatchEvent(new Event("input"));
    }
    document.addEventListener("keydown", (event) => {
      if (view.hidden || keys.open || event.ctrlKey || event.metaKey || event.altKey) return;
      const { key, target } = event, typing = target.matches("input, select, textarea");
      const take = (act) => { event.preventDefault(); act(); };
      if (key === "Escape") return take(() => { if (typing && target === findBox) listBox.focus(); else if (sample >= 0) close(); else location.hash = "#main"; });
      if (target === findBox && key === "ArrowDown") return take(() => { listBox.focus(); list.move(Math.max(0, list.place())); });
      if (typing) return;
      const inList = target === listBox;
      if (inList && (key === "Enter" || key === " ") && list.current() !== null) return take(() => openSample(list.current(), sample < 0));
      if (inList && jumps[key]) return take(() => list.step(jumps[key]()));
      if (key.startsWith("Arrow") && !inList && !(key in moves && sample >= 0 && target.matches("h2, body"))) return;
      if (!part("letters").checked && !inList && !key.startsWith("Arrow")) return;
      if (moves[key]) return take(() => { if (sample >= 0 && !inList) neighbour(moves[key]); else { listBox.focus(); list.step(moves[key]); } });
      if ((key === "Enter" || key === "o") && target === document.body && list.current() !== null) return take(() => openSample(list.current(), sample < 0));
      if (/^[1-8]$/.test(key)) return take(() => choose({ show: SHOWS[Number(key) - 1][0] }));
      if (acts[key]) return take(acts[key]);
    });
    addEventListener("hashchange", read);
    if (location.hash.startsWith("#samples")) read();
  }
  if (head?.models.length) browse(one("samples"));
