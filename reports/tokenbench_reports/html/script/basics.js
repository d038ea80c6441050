  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const data = (id) => JSON.parse(one(id).textContent);
  const SVG = ["svg", "use", "g", "path", "rect", "image"];
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

