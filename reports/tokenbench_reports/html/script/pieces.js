  // The data of all questions come in pieces, which stand in the page or are scripts beside it.
  const head = one("samples-head") ? data("samples-head") : null;
  const arrived = new Map(), wanted = new Map(), HELD = 60;
  window.tokenbenchPiece = (stamp, name, content) => { if (stamp === head.stamp) arrived.set(name, content); };
  function ask(name) {
    const inside = one(`piece-${name}`);
    if (inside) return Promise.resolve(JSON.parse(inside.textContent));
    return new Promise((resolve, reject) => {
      const script = make("script", { src: `${head.folder}/${name}.js?${head.stamp}` });
      const done = () => {
        script.remove();
        if (arrived.has(name)) resolve(arrived.get(name));
        else reject(new Error(`The file ${head.folder}/${name}.js beside this page is missing, or belongs to another report. Copy the folder ${head.folder} along with the page.`));
        arrived.delete(name);
      };
      script.addEventListener("load", done);
      script.addEventListener("error", done);
      document.head.append(script);
    });
  }
  function piece(name) {
    const found = wanted.get(name) || ask(name);
    wanted.delete(name);
    wanted.set(name, found);
    if (wanted.size > HELD) wanted.delete([...wanted.keys()].find((key) => !key.startsWith("index")));
    found.catch(() => wanted.delete(name));
    return found;
  }
  // The piece that holds an item, by the numbers of the first items of all pieces.
  function holding(starts, number) {
    let low = 0, high = starts.length;
    while (low + 1 < high) { const middle = (low + high) >> 1; if (starts[middle] <= number) low = middle; else high = middle; }
    return low;
  }
  async function itemOf(kind, starts, number) {
    if (!starts.length) return null;
    const at = holding(starts, number);
    return (await piece(`${kind}-${at}`))[number - starts[at]];
  }
  const answersOf = (model, number) => itemOf(`answers-${model}`, head.models[model].answers, number);
  const pictureOf = (number) => itemOf("pictures", head.pictures, number);
  async function sceneOf(model, number) {
    const starts = head.models[model].kept;
    if (!starts.length) return null;
    const found = (await piece(`scenes-${model}-${holding(starts, number)}`)).find(([own]) => own === number);
    return found ? found[1] : null;
  }
  // All questions of a model as [task, key, text, signs]: 1 is right, 0 is wrong, - is neither; a sign for every cell.
  const indexes = [];
  function indexOf(model) {
    indexes[model] ??= Promise.all(head.models[model].index.map((_, at) => piece(`index-${model}-${at}`))).then((parts) => parts.flat());
    indexes[model].catch(() => { indexes[model] = undefined; });
    return indexes[model];
  }
  // The number of a strategy's cell at a budget; a strategy without budgets has one for all.
  function cellOf(model, strategy, budget) {
    const own = head.models[model].cells.map(([name, at], number) => [name, at, number]).filter(([name]) => name === strategy);
    return (own.find(([, at]) => at === budget) || (own.length === 1 ? own[0] : [null, null, -1]))[2];
  }

