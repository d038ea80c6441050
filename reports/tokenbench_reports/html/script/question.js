  // One question: what two methods kept of it, layer by layer, and what every method answered.
  const counted = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
  // What a cell keeps in a layer, counted from 1. Where the stages are not stored, it is known of layers with all tokens or the final ones.
  function keptIn(cell, runs, layer) {
    const [mask, count, tokens, , stages] = cell, counts = layerCounts(runs);
    if (count === null) return { text: "how many tokens are kept is unknown", kept: null };
    const now = counts[layer - 1] ?? count, some = (set) => ({ text: now >= tokens ? `all ${counted(tokens, "visual token")}` : `${counted(now, "visual token")} of ${tokens.toLocaleString("en")}`, kept: set ? unpack(set) : null });
    if (stages && layer < counts.length) return some(stages.filter(([first]) => first < layer).at(-1)?.[1]);
    if (now === count) return some(mask);
    if (now >= tokens) return some(null);
    return { text: `${counted(now, "visual token")} of ${tokens.toLocaleString("en")}; which ones is not stored, and those left after the last layer are shown`, kept: mask ? unpack(mask) : null };
  }
  async function framesOf(scene) {
    return Promise.all(scene.frames.map(async ([number, width, height]) => make("image", { href: await pictureOf(number), width, height, preserveAspectRatio: "none" })));
  }
  function pane(name, number, entry, said, pictures, layer) {
    const [, words, given, scores] = said, cell = entry?.cells[number] ?? null, sign = said.sign[number];
    const answer = given[number] < 0 ? "no answer is stored" : [answerNode(sign, words[given[number]] === null ? null : `“${words[given[number]]}”`), scores && scores[number] !== null ? ` score ${scores[number]}` : ""];
    const parts = [make("p", { class: "who2" }, name)];
    if (cell) {
      const runs = entry.layers[cell[3]] ?? [], { text, kept } = keptIn(cell, runs, layer);
      const label = `what ${name} keeps: ${text}`;
      const frames = entry.lattice || pictures.length ? entry.shown.map((_, at) => scene(entry, at, kept, pictures[at]?.cloneNode(), label)) : [];
      parts.push(make("div", { class: "frames" }, ...frames), make("figcaption", {}, make("span", { class: "said2" }, ...[answer].flat()), make("span", { class: "count2" }, text), ...steps(runs, layer - 1)));
    } else parts.push(make("figcaption", {}, make("span", { class: "said2" }, ...[answer].flat())));
    return make("figure", { class: "pane" }, ...parts);
  }
  function everyAnswer(model, said, entry, budget, pick) {
    const about = head.models[model], names = [...new Set(about.cells.map(([name]) => name))];
    const rows = names.map((name) => [name, cellOf(model, name, budget)]).filter(([, number]) => number >= 0).map(([name, number]) => {
      const button = make("button", { type: "button", "aria-label": `Compare with ${name}` }, name);
      button.addEventListener("click", () => pick(name));
      const [, words, given, scores] = said, cell = entry?.cells[number];
      const answer = given[number] < 0 ? "–" : answerNode(said.sign[number], words[given[number]]);
      const tokens = !entry ? "–" : !cell || cell[1] === null ? "unknown" : `${cell[1].toLocaleString("en")} of ${cell[2].toLocaleString("en")}`;
      return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, answer, scores && scores[number] !== null ? make("small", {}, ` ${scores[number]}`) : ""), make("td", {}, tokens));
    });
    const header = make("tr", {}, ...["Method", "Answer", "Tokens left"].map((text) => make("th", { scope: "col" }, text)));
    return make("table", { class: "all-said" }, make("caption", {}, `Every answer${budget ? ` at budget ${budget}` : ""}, and the visual tokens after the last layer`), make("thead", {}, header), make("tbody", {}, ...rows));
  }
  // Draws a question into a node. The promise is kept once everything is there, pictures included.
  async function drawQuestion(node, wish, item, at, { pick, layer, moved }) {
    const [task, key, short, signs] = item, about = head.models[wish.model];
    const [said, entry] = await Promise.all([answersOf(wish.model, at), sceneOf(wish.model, at)]);
    const pictures = entry ? await framesOf(entry) : [];
    said.sign = signs;
    const cells = [wish.a, wish.b].map((name) => [name, cellOf(wish.model, name, wish.budget)]);
    const depth = Math.max(1, ...cells.filter(([, number]) => number >= 0 && entry?.cells[number]).map(([, number]) => layerCounts(entry.layers[entry.cells[number][3]] ?? []).length));
    const panes = make("div", { class: "panes" }), now = make("output", {});
    const range = make("input", { type: "range", min: 1, max: depth, value: Math.min(layer(), depth), "aria-label": "Layer of the decoder" });
    const draw = () => {
      now.textContent = Number(range.value) === depth ? `layer ${depth}, the last one` : `layer ${range.value} of ${depth}`;
      panes.replaceChildren(...cells.map(([name, number]) => (number < 0 ? make("figure", { class: "pane" }, make("p", { class: "who2" }, name), make("figcaption", {}, "did not run at this budget")) : pane(name, number, entry, said, pictures, Number(range.value)))));
    };
    range.addEventListener("input", () => { moved(Number(range.value) === depth ? Infinity : Number(range.value)); draw(); });
    draw();
    const missing = !entry ? "Neither the picture nor the kept tokens of this question are stored with the report." : !pictures.length ? "The picture cannot be shown; the kept tokens stand in its place." : "";
    const where = entry && !entry.lattice ? "Where its visual tokens lie is not known." : "";
    const slider = entry && depth > 1 ? [make("label", { class: "layers" }, "Layer ", range, now)] : [];
    const note = [missing, where].filter(Boolean).join(" ");
    node.replaceChildren(
      make("h2", { tabindex: -1, class: "asked" }, said[4] || short),
      make("p", { class: "about" }, make("span", {}, about.tasks[task]), make("span", {}, rightAnswer(said[0])), make("code", {}, key)),
      ...slider, panes, ...(note ? [make("p", { class: "note" }, note)] : []),
      everyAnswer(wish.model, said, entry, wish.budget, pick),
    );
  }

