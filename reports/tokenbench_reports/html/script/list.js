  // The list of questions. Only the rows that can be seen exist, so that it may be as long as it likes.
  const ROW = 62, MARGIN = 6;
  function makeList(box, { open, describe }) {
    const space = make("div", { class: "space", role: "presentation" });
    box.append(space);
    let numbers = [], active = -1;
    const options = new Map();
    const fit = () => {
      const first = Math.max(0, Math.floor(box.scrollTop / ROW) - MARGIN), last = Math.min(numbers.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + MARGIN);
      for (const [place, node] of options) if (place < first || place >= last) { node.remove(); options.delete(place); }
      for (let place = first; place < last; place++) {
        if (options.has(place)) continue;
        const node = make("div", { role: "option", id: `q${place}`, "aria-setsize": numbers.length, "aria-posinset": place + 1, "aria-selected": String(place === active) }, ...describe(numbers[place], (...late) => node.replaceChildren(...late)));
        node.style.top = `${place * ROW}px`;
        node.addEventListener("click", () => { move(place); open(numbers[place]); });
        options.set(place, node);
        space.append(node);
      }
    };
    // Rows stand in the order of the list, which is the order in which they are read out.
    const sort = () => space.append(...[...options.keys()].sort((a, b) => a - b).map((place) => options.get(place)));
    function move(place) {
      if (!numbers.length) return;
      options.get(active)?.setAttribute("aria-selected", "false");
      active = Math.min(numbers.length - 1, Math.max(0, place));
      if (active * ROW < box.scrollTop) box.scrollTop = active * ROW;
      if ((active + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (active + 1) * ROW - box.clientHeight;
      fit();
      sort();
      options.get(active)?.setAttribute("aria-selected", "true");
      box.setAttribute("aria-activedescendant", `q${active}`);
    }
    function show(found, number) {
      numbers = found;
      options.forEach((node) => node.remove());
      options.clear();
      box.removeAttribute("aria-activedescendant");
      space.style.height = `${numbers.length * ROW}px`;
      box.hidden = !numbers.length;
      active = -1;
      const place = numbers.indexOf(number);
      if (place < 0) box.scrollTop = 0;
      fit();
      if (place >= 0) move(place);
    }
    box.addEventListener("scroll", () => { fit(); sort(); }, { passive: true });
    addEventListener("resize", fit);
    return { show, move, fit, step: (by) => move(active + by), page: () => Math.max(1, Math.floor(box.clientHeight / ROW) - 1), current: () => numbers[active] ?? null, place: () => active, count: () => numbers.length };
  }

