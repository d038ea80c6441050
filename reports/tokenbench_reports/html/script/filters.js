  // Which questions are shown: by who is right (x of method A, y of method B, v of the unpruned model), task and words.
  const HARD = 0.25;
  const SHOWS = [
    ["", () => "All", () => true],
    ["both", () => "Both right", (x, y) => x === "1" && y === "1"],
    ["only-a", (a) => `Only ${a} right`, (x, y) => x === "1" && y === "0"],
    ["only-b", (a, b) => `Only ${b} right`, (x, y) => x === "0" && y === "1"],
    ["neither", () => "Neither right", (x, y) => x === "0" && y === "0"],
    ["hard", () => "Hard", (x, y, v, hard) => hard],
    ["lost", (a, b, full) => `${a} wrong, ${full} right`, (x, y, v) => x === "0" && v === "1"],
    ["gained", (a, b, full) => `${a} right, ${full} wrong`, (x, y, v) => x === "1" && v === "0"],
  ];
  const looked = new WeakMap();
  // What does not depend on the filter: lower-case text, and whether at most a quarter of the cells are right.
  function lookAt(index) {
    if (!looked.has(index)) {
      looked.set(index, index.map(([, key, text, signs]) => {
        let right = 0, judged = 0;
        for (const sign of signs) { right += sign === "1"; judged += sign !== "-"; }
        return [`${text}\n${key}`.toLowerCase(), judged > 0 && right <= HARD * judged];
      }));
    }
    return looked.get(index);
  }
  // The numbers of the questions that a filter finds, and how many each kind would find.
  function filterQuestions(index, wish, a, b, full) {
    const about = lookAt(index), words = wish.find.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = SHOWS.map(() => 0), kind = SHOWS.findIndex(([name]) => name === wish.show), found = [];
    for (let at = 0; at < index.length; at++) {
      const [task, , , signs] = index[at], [text, hard] = about[at];
      if ((wish.task !== -1 && task !== wish.task) || !words.every((word) => text.includes(word))) continue;
      const x = signs[a], y = signs[b], v = signs[full];
      for (let show = 0; show < SHOWS.length; show++) {
        if (!SHOWS[show][2](x, y, v, hard)) continue;
        counts[show]++;
        if (show === kind) found.push(at);
      }
    }
    return { found, counts };
  }

