  // A picture with what a cell kept of it. Kept tokens are one bit each, lowest bit first, in base64; no text means all.
  function unpack(text) {
    const bytes = atob(text);
    return (ordinal) => (bytes.charCodeAt(ordinal >> 3) >> (ordinal & 7)) & 1;
  }
  const symbol = (name, width, height) => make("use", { href: `#p${name}`, width, height });
  // `kept` answers whether a token is kept; null means that all are.
  function scene(sample, at, kept, picture, label) {
    const [, width, height] = sample.frames[at] || [null, 40 * (sample.lattice?.[2] ?? 1), 40 * (sample.lattice?.[1] ?? 1)];
    const svg = make("svg", { class: "scene", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, picture ?? make("rect", { class: "blank", width, height }));
    if (!sample.lattice) return svg;
    const [times, rows, columns, lead] = sample.lattice, t = sample.shown[at], first = t * (lead + rows * columns) + lead;
    let path = "";
    for (let place = 0; kept && place < rows * columns; place++) if (!kept(first + place)) path += `M${place % columns},${Math.floor(place / columns)}h1v1h-1z`;
    const boxes = sample.evidence.filter(([, , , , t0, t1]) => t0 * times < t + 1 && t1 * times > t);
    const outline = (kind) => boxes.map(([x0, y0, x1, y1]) => make("rect", { class: kind, x: x0 * columns, y: y0 * rows, width: (x1 - x0) * columns, height: (y1 - y0) * rows }));
    svg.append(make("g", { transform: `scale(${width / columns} ${height / rows})` }, make("path", { class: "drop", d: path }), ...outline("evi under"), ...outline("evi")));
    return svg;
  }
  const layerCounts = (runs) => runs.flatMap(([count, length]) => Array(length).fill(count));
  function steps(layers, now = -1) {
    const counts = layerCounts(layers), most = Math.max(1, ...counts), slot = 100 / counts.length;
    const bars = counts.map((count, at) => make("rect", { class: at === now ? "now" : null, x: slot * (at + 0.06), y: 100 - (100 * count) / most, width: slot * 0.88, height: (100 * count) / most }));
    return bars.length ? [make("svg", { class: "steps", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": "visual tokens in each layer" }, ...bars), make("small", {}, "tokens in each layer, first to last")] : [];
  }
  const answerNode = (sign, text) => make("span", { class: sign === "1" ? "yes" : sign === "0" ? "no" : "open2" }, text === null ? "(answer unknown)" : text || "(no answer)");
  const rightAnswer = (target) => (target ? `right answer: “${target}”` : "right answer unknown");

