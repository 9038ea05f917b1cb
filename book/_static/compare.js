/* "Compare with your run": a reader's results file beside the one that a page shows. Nothing leaves the browser. */
(() => {
  "use strict";
  const ROWS = 300; // of the table, more make a page slow
  const ASIDE = new Set(["teacher", "profile", "parameters", "provenance"]); // shown as settings, not as results
  const NUMBER = /^[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?%?$/;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  /* A number as it stands in a results file, or in a cell such as "34.7 ± 5.5": { value, error } or null. */
  function read(cell) {
    if (typeof cell === "number") return { value: cell };
    if (typeof cell !== "string") return null;
    const [value, error, ...more] = cell.replace(/\u00a0/g, " ").split(" ± ");
    if (more.length || !NUMBER.test(value) || (error !== undefined && !NUMBER.test(error))) return null;
    const plain = (text) => Number(text.replace(/[,%]/g, ""));
    return error === undefined ? { value: plain(value) } : { value: plain(value), error: plain(error) };
  }

  /* The interval that a row of a table gives for one of its columns, 95% either way. */
  function interval(row, name, found) {
    const of = (...names) => names.map((each) => row[each]).find((each) => typeof each === "number");
    const whole = name === "value" || name === "difference";
    const low = of(`${name}_low`, `${name} low`, ...(whole ? ["low"] : []));
    const high = of(`${name}_high`, `${name} high`, ...(whole ? ["high"] : []));
    if (low !== undefined && high !== undefined) return [low, high];
    const error = found.error ?? of(`${name}_stderr`, `${name} stderr`, ...(whole ? ["stderr"] : []));
    return error === undefined ? null : [found.value - 1.96 * error, found.value + 1.96 * error];
  }

  const isPart = (name, row) => /^(low|high|stderr)$/.test(name)
    || (/[_ ](low|high|stderr)$/.test(name) && name.replace(/[_ ](low|high|stderr)$/, "") in row);

  /* What tells the rows of a table apart: their words, and where these are the same their place among the same. */
  function labels(rows) {
    const seen = new Map();
    return rows.map((row) => {
      const words = Object.values(row).filter((cell) => typeof cell === "string" && cell && !read(cell)).join(", ");
      const count = (seen.get(words) ?? 0) + 1;
      seen.set(words, count);
      return count === 1 && words ? words : `${words} (${count})`.trim();
    });
  }

  /* All numbers of a results file by a name that a person can read. */
  function numbers(value, path = [], found = new Map()) {
    if (Array.isArray(value)) {
      const rows = value.filter((row) => row && typeof row === "object");
      labels(rows).forEach((label, i) => numbers(rows[i], [...path, label], found));
    } else if (value && typeof value === "object") {
      for (const [name, cell] of Object.entries(value)) {
        if ((!path.length && ASIDE.has(name)) || isPart(name, value)) continue;
        const number = read(cell);
        if (number) found.set([...path, name].join(" / "), { value: number.value, range: interval(value, name, number) });
        else numbers(cell, [...path, name], found);
      }
    }
    return found;
  }

  const ORDER = ["intervals apart", "different", "intervals overlap", "equal"];
  function compare(here, yours) {
    const rows = [];
    for (const [name, a] of here) {
      const b = yours.get(name);
      if (!b) continue;
      const difference = b.value - a.value;
      let reads = "different";
      if (a.range && b.range) {
        reads = a.range[0] <= b.range[1] && b.range[0] <= a.range[1] ? "intervals overlap" : "intervals apart";
      }
      if (difference === 0) reads = "equal";
      rows.push({ name, a, b, difference, reads, share: Math.abs(difference) / (Math.abs(a.value) || 1) });
    }
    return rows.sort((x, y) => ORDER.indexOf(x.reads) - ORDER.indexOf(y.reads) || y.share - x.share);
  }

  function written(value) {
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e6 ? value.toLocaleString("en", { maximumSignificantDigits: 4 }) : value.toExponential(2);
  }
  const ranged = ({ value, range }) => written(value) + (range ? ` [${written(range[0])}, ${written(range[1])}]` : "");

  function settings(here, yours) {
    const flat = (record) => ({ teacher: record.teacher, profile: record.profile?.name, scale: record.profile?.scale,
      ...record.parameters });
    const [a, b] = [flat(here), flat(yours)];
    const differ = Object.keys(a).filter((name) => String(a[name]) !== String(b[name]));
    return differ.map((name) => `${name} (here ${a[name]}, yours ${b[name] ?? "not said"})`).join(", ");
  }

  function parse(text, name) {
    const record = JSON.parse(text);
    const inner = record && typeof record === "object" && record[name];
    return inner && typeof inner === "object" ? inner : record;
  }

  function loaded(box) {
    return new Promise((resolve, reject) => {
      const script = make("script", { src: box.dataset.results });
      script.onload = () => resolve(window.dskdResults);
      script.onerror = () => reject(new Error("the numbers of this page are missing from the site: build it again"));
      document.head.append(script);
    });
  }

  function start(box, place) {
    const file = make("input", { type: "file", accept: ".json,application/json", id: `dskd-file-${place}` });
    const text = make("textarea", { rows: "4", spellcheck: "false", id: `dskd-text-${place}` });
    const button = make("button", { type: "button", class: "dskd-button" }, "Compare");
    const query = make("input", { type: "search", autocomplete: "off", placeholder: "a model, a measure" });
    const filter = make("label", {}, "Show only", query);
    const status = make("p", { class: "dskd-status", role: "status" });
    const rows = make("tbody");
    const heads = ["number", "here", "yours", "difference", "reads"].map((head) => make("th", { scope: "col" }, head));
    const table = make("div", { class: "dskd-rows", tabindex: "0", role: "region", "aria-label": "Your run beside this page" },
      make("table", {}, make("thead", {}, make("tr", {}, ...heads)), rows));
    box.append(make("div", { class: "dskd-controls" }, make("label", { for: file.id }, "Your results file"), file),
      make("label", { for: text.id }, "or its text"), text, make("div", { class: "dskd-controls" }, button, filter),
      status, table);
    filter.hidden = table.hidden = true;
    let found = [];

    function show() {
      const wanted = query.value.trim().toLowerCase();
      const chosen = found.filter((row) => `${row.name} ${row.reads}`.toLowerCase().includes(wanted));
      rows.replaceChildren(...chosen.slice(0, ROWS).map((row) => make("tr", {}, make("th", { scope: "row" }, row.name),
        make("td", {}, ranged(row.a)), make("td", {}, ranged(row.b)),
        make("td", {}, (row.difference > 0 ? "+" : "") + written(row.difference)), make("td", {}, row.reads))));
      if (chosen.length > ROWS) {
        rows.append(make("tr", {}, make("td", { colspan: "5" }, `${chosen.length - ROWS} more: search to see fewer.`)));
      }
    }

    async function run() {
      found = [];
      try {
        const given = text.value.trim();
        if (!given) throw new Error("choose a results file or paste its text first");
        const yours = parse(given, box.dataset.name);
        const here = await loaded(box);
        found = compare(numbers(here), numbers(yours));
        if (!found.length) {
          throw new Error(`these results share no number with this page: choose results/${box.dataset.name}.json`);
        }
        const counts = ORDER.map((reads) => [reads, found.filter((row) => row.reads === reads).length]);
        const told = counts.filter(([, count]) => count).map(([reads, count]) => `${count} ${reads}`).join(", ");
        const differ = settings(here, yours);
        status.textContent = `${found.length} numbers compared: ${told}. `
          + (differ ? `Settings that differ: ${differ}.` : "All settings are the same.");
      } catch (error) {
        status.textContent = error instanceof SyntaxError ? `This is no JSON: ${error.message}` : `Not compared: ${error.message}.`;
      }
      filter.hidden = table.hidden = !found.length;
      show();
    }
    button.addEventListener("click", run);
    query.addEventListener("input", show);
    file.addEventListener("change", async () => {
      if (!file.files.length) return;
      text.value = await file.files[0].text();
      await run();
    });
  }

  const begin = () => document.querySelectorAll(".dskd-compare").forEach(start);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
