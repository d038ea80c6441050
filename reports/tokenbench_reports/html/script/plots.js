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

