/* Brings the sense map and the word explorer of a page to life; their data stand in the page itself. */
(() => {
  "use strict";
  const ROWS = 200; // of the table, more make a page slow

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const percent = (share) => `${Math.round(100 * share)}%`;

  function wrapped(text, width) {
    const lines = [""];
    for (const word of text.split(" ")) {
      const last = lines[lines.length - 1];
      if (last && last.length + word.length + 1 > width) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    return lines.map(escaped).join("<br>");
  }

  function paint(box) {
    const style = getComputedStyle(box);
    const root = getComputedStyle(document.documentElement);
    return { ink: style.color, ground: root.getPropertyValue("--pst-color-surface").trim() || "#fff" };
  }

  function senseMap(box, number) {
    const data = JSON.parse(box.querySelector("script").textContent);
    const methods = Object.keys(data.scores);
    const names = data.words.map((word) => word[0]);
    const points = data.word.map((word, i) => ({
      word, i, isSense: data.kind[i] === 1, found: true,
      search: [names[word], ...data.text[i]].join("\n").toLowerCase(),
      title: data.kind[i] === 1 ? `sense ${data.sense[i]}, ${percent(data.share[i])}`
        : data.sense[i] ? `context, nearest to sense ${data.sense[i]}` : "context",
    }));
    const state = { method: methods[0], context: true, sense: true };

    const choice = make("fieldset", {}, make("legend", {}, "Map"));
    for (const method of methods) {
      const radio = make("input", { type: "radio", name: `dskd-map-${number}`, value: method });
      radio.checked = method === state.method;
      radio.addEventListener("change", () => { state.method = method; draw(); });
      choice.append(make("label", {}, radio, `${method} (trustworthiness ${data.scores[method].toFixed(2)})`));
    }
    const shown = make("fieldset", {}, make("legend", {}, "Show"));
    for (const [kind, label] of [["sense", "senses"], ["context", "contexts"]]) {
      const tick = make("input", { type: "checkbox" });
      tick.checked = true;
      tick.addEventListener("change", () => { state[kind] = tick.checked; draw(); });
      shown.append(make("label", {}, tick, label));
    }
    const query = make("input", { type: "search", autocomplete: "off", placeholder: "words, contexts" });
    const controls = make("div", { class: "dskd-controls" }, choice, shown, make("label", {}, "Search", query));
    const status = make("p", { class: "dskd-status", "aria-live": "polite" });
    const plot = make("div", { class: "dskd-plot", role: "img",
      "aria-label": `Map of the senses and contexts of ${names.join(", ")}; the table below holds the same points.` });
    const rows = make("tbody");
    const heads = ["word", "point", "contexts"].map((head) => make("th", { scope: "col" }, head));
    const table = make("details", {}, make("summary", {}, "The points as a table, filtered by the search"),
      make("div", { class: "dskd-rows", tabindex: "0", role: "region", "aria-label": "Points of the map" },
        make("table", {}, make("thead", {}, make("tr", {}, ...heads)), rows)));
    box.querySelectorAll(".dskd-wait, .dskd-summary").forEach((part) => part.remove());
    box.prepend(controls, status, plot);
    box.append(table);

    const visible = (point) => (point.isSense ? state.sense : state.context);

    function traces() {
      const { ink } = paint(box);
      const found = points.filter(visible);
      const [x, y] = data.xy[state.method];
      const width = plot.clientWidth < 480 ? 34 : 56;
      return data.words.map(([name, colour, symbol], word) => {
        const own = found.filter((point) => point.word === word);
        return {
          type: "scatter", mode: "markers", name,
          x: own.map((point) => x[point.i]), y: own.map((point) => y[point.i]),
          text: own.map((point) =>
            `<b>${name}</b> ${point.title}<br>${data.text[point.i].map((text) => wrapped(text, width)).join("<br>")}`),
          hovertemplate: "%{text}<extra></extra>",
          marker: {
            color: colour, symbol, size: own.map((point) => (point.isSense ? 13 : 7)),
            opacity: own.map((point) => (!point.found ? 0.07 : point.isSense ? 0.95 : 0.75)),
            line: { color: ink, width: own.map((point) => (point.isSense ? 1 : 0.3)) },
          },
        };
      });
    }

    function layout() {
      const { ink, ground } = paint(box);
      const axis = { visible: false, uirevision: state.method };
      // A finger scrolls the page; a mouse may mark a part of the map to enlarge it.
      const touch = window.matchMedia("(pointer: coarse)").matches;
      return {
        height: plot.clientWidth < 480 ? 520 : 600, margin: { l: 4, r: 4, t: 4, b: 4 },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: ink, size: 13 },
        hovermode: "closest", dragmode: touch ? false : "zoom", xaxis: axis, yaxis: axis, uirevision: "words",
        hoverlabel: { bgcolor: ground, bordercolor: ink, font: { color: ink, size: 12 }, align: "left" },
        legend: { orientation: "h", y: -0.02, yanchor: "top", itemsizing: "constant" },
      };
    }

    function draw() {
      const seen = points.filter(visible);
      status.textContent = `${seen.filter((point) => point.found).length} of ${seen.length} points match.`;
      if (window.Plotly) {
        window.Plotly.react(plot, traces(), layout(), { responsive: true, displayModeBar: false });
      }
      if (table.open) fill();
    }

    function fill() {
      const matches = points.filter((point) => visible(point) && point.found);
      rows.replaceChildren(...matches.slice(0, ROWS).map((point) => make("tr", {},
        make("td", {}, names[point.word]), make("td", {}, point.title),
        make("td", {}, data.text[point.i].join(" / ")))));
      if (matches.length > ROWS) {
        const more = `${matches.length - ROWS} more: search for a word to see fewer.`;
        rows.append(make("tr", {}, make("td", { colspan: "3" }, more)));
      }
    }

    query.addEventListener("input", () => {
      const wanted = query.value.trim().toLowerCase();
      for (const point of points) point.found = point.search.includes(wanted);
      draw();
    });
    table.addEventListener("toggle", () => { if (table.open) fill(); });
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    draw();
  }

  function wordExplorer(box) {
    const entries = [...box.querySelectorAll("details")];
    const select = make("select", {}, make("option", { value: "" }, "all words"));
    for (const entry of entries) select.append(make("option", {}, entry.dataset.word));
    const query = make("input", { type: "search", autocomplete: "off", placeholder: "words, contexts" });
    const status = make("p", { class: "dskd-status", "aria-live": "polite" });
    box.prepend(make("div", { class: "dskd-controls" }, make("label", {}, "Word", select),
      make("label", {}, "Search", query)), status);

    function show() {
      const wanted = query.value.trim().toLowerCase();
      const found = entries.filter((entry) => (!select.value || entry.dataset.word === select.value)
        && entry.textContent.toLowerCase().includes(wanted));
      for (const entry of entries) {
        entry.hidden = !found.includes(entry);
        entry.open = found.length === 1 && found[0] === entry;
      }
      status.textContent = `${found.length} of ${entries.length} words shown.`;
    }
    select.addEventListener("change", show);
    query.addEventListener("input", () => { select.value = ""; show(); });
    if (entries.length) select.value = entries[0].dataset.word;
    show();
  }

  function start() {
    document.querySelectorAll(".dskd-map").forEach(senseMap);
    document.querySelectorAll(".dskd-words").forEach(wordExplorer);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
