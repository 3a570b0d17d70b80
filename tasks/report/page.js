"use strict";
(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const svg = document.getElementById("chart");
  const tip = document.getElementById("tip");
  const details = document.getElementById("details");
  const SVG = svg.namespaceURI;

  /* ---- numbers for people ------------------------------------------------------------------ */
  const known = (v) => typeof v === "number" && Number.isFinite(v);
  const number = (v, digits = 3) => {
    if (!known(v)) return "–";
    if (v === 0) return "0";
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(v))));
    return v.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  };
  const scaled = (v, steps, base) => {
    if (!known(v)) return "–";
    let power = 0;
    while (Math.abs(v) >= base && power < steps.length - 1) { v /= base; power += 1; }
    return `${power ? number(v) : Math.round(v)} ${steps[power]}`.trim();
  };
  const count = (v) => scaled(v, ["", "k", "M", "G", "T"], 1000);
  const size = (v) => scaled(v, ["B", "KiB", "MiB", "GiB"], 1024);
  const percent = (v, digits = 1) => (known(v) ? `${(100 * v).toFixed(digits)}\u202f%` : "–");
  const ms = (v) => (known(v) ? `${number(v)} ms` : "–");
  const mj = (v) => (known(v) ? `${number(v)} mJ` : "–");

  /* ---- records ----------------------------------------------------------------------------- */
  const candidates = data.candidates.map((row, index) => {
    const one = { index };
    data.fields.forEach((field, i) => { one[field] = row[i]; });
    return one;
  });
  const byId = new Map(candidates.map((one) => [one.id, one]));
  const finalists = data.finalists.map((one, index) => ({ ...one, place: index, finalist: true, origin: one.baseline ? "trained-baseline" : "finalist", score: one.score_int8 }));
  const sign = data.metric.goal === "min" ? -1 : 1;
  const finalistById = new Map(finalists.map((one) => [one.id, one]));

  const SHAPES = { random: "circle", local_search: "square", baseline: "diamond", largest: "up", smallest: "down", finalist: "star", "trained-baseline": "diamond", infeasible: "cross" };
  const SPARE = ["hexagon", "plus", "pentagon", "left"];
  const origins = [...new Set(candidates.map((one) => one.origin))].sort();
  const spare = origins.filter((origin) => !(origin in SHAPES));
  const shapeOf = (origin) => SHAPES[origin] || SPARE[spare.indexOf(origin) % SPARE.length];
  const classOf = (origin) => (Object.hasOwn(SHAPES, origin) ? `o-${origin}` : "o-other");
  const words = (name) => String(name).replace(/_/g, " ");

  const AXES = {
    latency_ms: { label: "latency", title: "predicted latency", unit: () => [1, "ms"], show: ms },
    macs: { label: "MACs", title: "multiply-accumulates", unit: (m) => (m >= 2e9 ? [1e9, "G"] : m >= 2e6 ? [1e6, "M"] : [1e3, "k"]), show: count },
    weight_bytes: { label: "weights", title: "weights on the device", unit: bytesUnit, show: size },
    peak_memory_bytes: { label: "peak memory", title: "peak memory of activations", unit: bytesUnit, show: size },
    energy_mj: { label: "energy, modelled, uncalibrated", title: "energy, modelled, uncalibrated", unit: () => [1, "mJ"], show: mj },
  };
  /* On other chips that the search was for; targets by axis. */
  const TARGETS = { latency_ms: data.target_latency_ms };
  for (const { field, name, target_ms } of data.devices) {
    AXES[field] = { label: `latency on ${name}`, title: `predicted latency on ${name}`, unit: () => [1, "ms"], show: ms };
    TARGETS[field] = target_ms;
  }
  function bytesUnit(most) { return most >= 3 * 1048576 ? [1048576, "MiB"] : [1024, "KiB"]; }

  const state = { axis: "latency_ms", log: false, zoom: "all", hidden: new Set(), selected: null, hover: null };
  let drawn = [];
  let box = null;

  /* ---- small makers ------------------------------------------------------------------------ */
  const put = (parent, name, attributes = {}, text = null) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== null) node.textContent = text;
    parent.append(node);
    return node;
  };
  const make = (name, className = "", ...children) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    node.append(...children.filter((child) => child !== null));
    return node;
  };
  const polygon = (r, n, turn, inner = 1) => {
    const points = [];
    const corners = inner === 1 ? n : 2 * n;
    for (let i = 0; i < corners; i += 1) {
      const radius = inner !== 1 && i % 2 ? r * inner : r;
      const angle = turn + (2 * Math.PI * i) / corners;
      points.push(`${(radius * Math.cos(angle)).toFixed(2)} ${(radius * Math.sin(angle)).toFixed(2)}`);
    }
    return `M${points.join("L")}Z`;
  };
  const shape = (kind, r) => {
    const up = -Math.PI / 2;
    switch (kind) {
      case "square": return `M${-r * 0.88} ${-r * 0.88}h${r * 1.76}v${r * 1.76}h${-r * 1.76}Z`;
      case "diamond": return polygon(r * 1.25, 4, up);
      case "up": return polygon(r * 1.3, 3, up);
      case "down": return polygon(r * 1.3, 3, -up);
      case "left": return polygon(r * 1.3, 3, Math.PI);
      case "pentagon": return polygon(r * 1.15, 5, up);
      case "hexagon": return polygon(r * 1.1, 6, 0);
      case "star": return polygon(r * 1.35, 5, up, 0.45);
      case "cross": return `M${-r} ${-r}L${r} ${r}M${-r} ${r}L${r} ${-r}`;
      case "plus": return `M${-r * 0.4} ${-r * 1.1}h${r * 0.8}v${r * 0.7}h${r * 0.7}v${r * 0.8}h${-r * 0.7}v${r * 0.7}h${-r * 0.8}v${-r * 0.7}h${-r * 0.7}v${-r * 0.8}h${r * 0.7}Z`;
      default: return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    }
  };

  /* ---- scales ------------------------------------------------------------------------------ */
  const niceStep = (span, target) => {
    const raw = span / target;
    const power = 10 ** Math.floor(Math.log10(raw));
    return power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  };
  const linearTicks = (low, high, target) => {
    const step = niceStep(high - low || 1, target);
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) ticks.push(i * step);
    return ticks;
  };
  const logTicks = (low, high, target) => {
    const all = (factors) => {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
        for (const factor of factors) {
          const tick = factor * 10 ** power;
          if (tick >= low && tick <= high) ticks.push(tick);
        }
      }
      return ticks;
    };
    const options = [[1], [1, 3], [1, 2, 5], [1, 2, 3, 5, 7], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]].map(all);
    const fine = options.filter((ticks) => ticks.length <= target * 1.6).pop() || options[0];
    return fine.length >= 3 ? fine : linearTicks(low, high, target);
  };
  const padded = (low, high, log) => {
    if (log) {
      const pad = Math.max((high / low) ** 0.05, 1.02);
      return [low / pad, high * pad];
    }
    const pad = 0.05 * (high - low) || Math.abs(high) * 0.05 || 1;
    return [Math.max(low - pad, low > 0 ? 0 : -Infinity), high + pad];
  };

  /* ---- what is on the plot ----------------------------------------------------------------- */
  const plottable = (one) => known(one[state.axis]) && one[state.axis] > 0 && known(one.score);
  const shown = (one) => {
    if (one.finalist) return !state.hidden.has(one.origin);
    if (one.status !== "done") return !state.hidden.has("infeasible");
    return !state.hidden.has(one.origin);
  };
  /* The best score at each cost; computed anew for each axis, over all evaluated candidates. */
  const frontOf = () => {
    const ordered = candidates.filter((one) => one.status === "done" && plottable(one))
      .sort((a, b) => a[state.axis] - b[state.axis] || sign * (b.score - a.score));
    const front = [];
    for (const one of ordered) if (!front.length || sign * (one.score - front[front.length - 1].score) > 0) front.push(one);
    return front;
  };
  const extent = (values) => [Math.min(...values), Math.max(...values)];

  function domains(front, visible, stars) {
    const near = state.zoom === "front" && front.length ? [...front, ...stars] : [...visible, ...stars];
    const ys = near.map((one) => one.score);
    if (state.zoom === "front" || visible.length) {
      for (const one of stars) if (known(one.supernet_score)) ys.push(one.supernet_score);
    }
    const xs = near.map((one) => one[state.axis]);
    const target = TARGETS[state.axis];
    if (known(target) && state.zoom === "all") xs.push(target);
    /* A floor that is not beaten is never out of sight. */
    if (ys.length && known(data.linear_floor) && (state.zoom === "all" || data.is_below_floor)) ys.push(data.linear_floor);
    if (!ys.length) return [[0.1, 1], [0, 1]];
    const x = padded(...extent(xs), state.log);
    const y = padded(...extent(ys), false);
    return [x, [Math.max(0, y[0]), Math.min(1.02, y[1])]];
  }

  /* ---- drawing ----------------------------------------------------------------------------- */
  function draw(forcedWidth) {
    const width = Math.max(300, forcedWidth || svg.parentNode.clientWidth);
    const height = Math.round(Math.min(560, Math.max(340, width * 0.66)));
    const narrow = width < 520;
    const margin = { left: narrow ? 44 : 54, right: 14, top: 26, bottom: 46 };
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);

    const front = frontOf();
    const onFront = new Set(front);
    const visible = candidates.filter((one) => plottable(one) && shown(one));
    const stars = finalists.filter((one) => plottable(one) && shown(one));
    const [xDomain, yDomain] = domains(front, visible, stars);
    const axis = AXES[state.axis];
    const [unit, unitName] = axis.unit(xDomain[1]);
    const place = (v) => (state.log ? Math.log(v / xDomain[0]) / Math.log(xDomain[1] / xDomain[0]) : (v - xDomain[0]) / (xDomain[1] - xDomain[0]));
    const right = width - margin.right;
    const bottom = height - margin.bottom;
    const X = (v) => margin.left + place(v) * (right - margin.left);
    const Y = (v) => bottom - ((v - yDomain[0]) / (yDomain[1] - yDomain[0])) * (bottom - margin.top);
    const inside = (one) => one[state.axis] >= xDomain[0] && one[state.axis] <= xDomain[1] && one.score >= yDomain[0] && one.score <= yDomain[1];
    box = { width, height };

    drawAxes({ X, Y, xDomain, yDomain, unit, unitName, axis, margin, right, bottom, narrow });
    put(put(svg, "clipPath", { id: "inside" }), "rect", { x: margin.left, y: margin.top - 8, width: right - margin.left + 8, height: bottom - margin.top + 8 });
    const layer = put(svg, "g", { "clip-path": "url(#inside)" });
    if (front.length) drawFront(layer, front, X, Y, right, sign > 0 ? bottom : margin.top);
    drawTarget(X, margin, bottom, xDomain);

    drawn = [];
    if (!visible.length && !stars.length) {
      put(svg, "text", { x: (margin.left + right) / 2, y: height / 2, "text-anchor": "middle" }, "nothing to plot");
    }
    const labels = [];
    const order = [...visible].sort((a, b) => onFront.has(a) - onFront.has(b) || (a.origin === "baseline") - (b.origin === "baseline"));
    for (const one of order) {
      if (!inside(one)) continue;
      const x = X(one[state.axis]);
      const y = Y(one.score);
      const baseline = one.origin === "baseline";
      const bad = one.status !== "done";
      const radius = baseline ? 5 : ["largest", "smallest"].includes(one.origin) ? 5 : narrow ? 3 : 3.6;
      const kind = bad ? "cross" : shapeOf(one.origin);
      const classes = bad ? "mark bad" : `mark ${classOf(one.origin)}${onFront.has(one) ? " on" : ""}${baseline ? " big" : ""}`;
      put(layer, "path", { class: classes, d: shape(kind, radius), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
      drawn.push({ one, x, y, radius });
      if (one.name && !finalistById.has(one.id)) labels.push({ text: one.name, x, y, radius, hot: false });
    }
    for (const one of stars) {
      if (!inside(one)) continue;
      const x = X(one[state.axis]);
      const y = Y(one.score);
      drawPromise(layer, one, x, y, X, Y);
      const star = put(svg, "path", { class: `mark big o-${one.origin}`, d: shape(shapeOf(one.origin), one.baseline ? 6.5 : 8), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
      put(star, "title", {}, `${one.baseline ? "trained baseline" : "finalist"} ${one.name}`);
      drawn.push({ one, x, y, radius: 9 });
      labels.push({ text: one.name, x, y, radius: 9, hot: true, designed: one.baseline });
    }
    const heading = { x: 0, y: 0, w: 7.5 * (data.metric.label.length + 5), h: 16 };
    const reserved = [heading, ...drawFloor(Y, yDomain, margin, right, bottom)];
    drawLabels(labels, { left: margin.left, right: width, top: 2, bottom }, narrow, reserved);
    put(svg, "circle", { class: "ring hover", r: 0 });
    put(svg, "circle", { class: "ring selected", r: 0 });
    ring("selected", state.selected);
  }

  function drawAxes({ X, Y, xDomain, yDomain, unit, unitName, axis, margin, right, bottom, narrow }) {
    const low = xDomain[0] / unit;
    const high = xDomain[1] / unit;
    const xTicks = state.log ? logTicks(low, high, narrow ? 4 : 7) : linearTicks(low, high, narrow ? 4 : 7);
    const plain = (v) => String(Number(v.toPrecision(6)));
    for (const tick of xTicks) {
      const x = X(tick * unit);
      put(svg, "path", { class: "grid", d: `M${x.toFixed(1)} ${margin.top}V${bottom}`, opacity: 0.55 });
      put(svg, "text", { x: x.toFixed(1), y: bottom + 17, "text-anchor": "middle" }, plain(tick));
    }
    const yTicks = linearTicks(100 * yDomain[0], Math.min(100, 100 * yDomain[1]), 7);
    for (const tick of yTicks) {
      const y = Y(tick / 100);
      put(svg, "path", { class: "grid", d: `M${margin.left} ${y.toFixed(1)}H${right}` });
      put(svg, "text", { x: margin.left - 8, y: (y + 4).toFixed(1), "text-anchor": "end" }, plain(tick));
    }
    const scale = state.log ? ", log scale" : "";
    put(svg, "text", { class: "axis-title", x: right, y: bottom + 38, "text-anchor": "end" }, `${axis.title}, ${unitName}${scale} →`);
    put(svg, "text", { class: "axis-title", x: 0, y: 12 }, `${sign > 0 ? "↑" : "↓"} ${data.metric.label}, %`);
  }

  function drawFront(layer, front, X, Y, right, worst) {
    let path = `M${X(front[0][state.axis]).toFixed(1)} ${worst}`;
    for (const one of front) path += `H${X(one[state.axis]).toFixed(1)}V${Y(one.score).toFixed(1)}`;
    path += `H${right}`;
    put(layer, "path", { class: "dominated", d: `${path}V${worst}Z` });
    put(layer, "path", { class: "frontline", d: path });
  }

  function drawTarget(X, margin, bottom, xDomain) {
    const target = TARGETS[state.axis];
    if (!known(target) || target < xDomain[0] || target > xDomain[1]) return;
    const x = X(target);
    put(svg, "path", { class: "target", d: `M${x.toFixed(1)} ${margin.top}V${bottom}` });
    const flip = x > 160;
    put(svg, "text", { class: "target-label", x: (x + (flip ? -6 : 6)).toFixed(1), y: bottom - 8, "text-anchor": flip ? "end" : "start" }, `target ${ms(target)}`);
  }

  /* What a linear model reaches, with its label where it covers least; gives the label's place. */
  function drawFloor(Y, yDomain, margin, right, bottom) {
    const floor = data.linear_floor;
    if (!known(floor)) return [];
    const isAbove = floor > yDomain[1];
    const isOutside = isAbove || floor < yDomain[0];
    const y = isAbove ? margin.top : isOutside ? bottom : Y(floor);
    const below = data.is_below_floor ? " unbeaten" : "";
    if (!isOutside) put(svg, "path", { class: `floor${below}`, d: `M${margin.left} ${y.toFixed(1)}H${right}` });
    const text = `linear floor ${percent(floor)}${below ? ", not beaten" : ""}${isOutside ? (isAbove ? " ↑" : " ↓") : ""}`;
    const w = text.length * (below ? 7.1 : 6.3) + 4;
    let best = null;
    for (const x of [right - w - 2, margin.left + 4, (margin.left + right - w) / 2]) {
      for (const top of [y - 18, y + 4]) {
        if (top < margin.top - 8 || top + 14 > bottom) continue;
        const area = { x, y: top, w, h: 14 };
        const covered = drawn.filter((mark) => overlap(area, { x: mark.x - mark.radius, y: mark.y - mark.radius, w: 2 * mark.radius, h: 2 * mark.radius })).length;
        if (!best || covered < best.covered) best = { ...area, covered };
      }
    }
    put(svg, "text", { class: `floor-label${below}`, x: (best.x + 2).toFixed(1), y: (best.y + 11).toFixed(1) }, text);
    return [best];
  }

  function drawPromise(layer, one, x, y, X, Y) {
    if (!known(one.supernet_score)) return;
    const before = byId.get(one.id);
    const x0 = before && known(before[state.axis]) ? X(before[state.axis]) : x;
    const y0 = Y(one.supernet_score);
    put(layer, "path", { class: "promise", d: `M${x0.toFixed(1)} ${y0.toFixed(1)}L${x.toFixed(1)} ${y.toFixed(1)}` });
    put(layer, "circle", { class: "promised", cx: x0.toFixed(1), cy: y0.toFixed(1), r: 4.5 });
  }

  /* Greedy: the first place round the marker where the label covers no other label and least markers. */
  const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  function drawLabels(labels, frame, narrow, reserved) {
    const taken = [...reserved];
    const ordered = [...labels].sort((a, b) => b.hot - a.hot || a.x - b.x);
    for (const label of ordered) {
      const text = label.text.length > 24 ? `${label.text.slice(0, 23)}…` : label.text;
      const h = 14;
      const w = text.length * (label.hot ? 7.1 : 6.3) + 4;
      const gap = label.radius + 4;
      const spots = [];
      for (const lift of [0, 14, 28, 42]) {
        spots.push([label.x - w / 2, label.y - gap - h - lift], [label.x + gap, label.y - h / 2 - lift], [label.x - gap - w, label.y - h / 2 - lift],
          [label.x + gap, label.y - h / 2 + lift], [label.x - gap - w, label.y - h / 2 + lift], [label.x - w / 2, label.y + gap + lift]);
      }
      let best = null;
      spots.forEach(([x, y], rank) => {
        const area = { x, y, w, h };
        if (x < frame.left || x + w > frame.right || y < frame.top || y + h > frame.bottom) return;
        if (taken.some((other) => overlap(area, other))) return;
        const covered = drawn.filter((mark) => overlap(area, { x: mark.x - mark.radius, y: mark.y - mark.radius, w: 2 * mark.radius, h: 2 * mark.radius }));
        const cost = covered.reduce((sum, mark) => sum + (mark.one.finalist ? 40 : mark.one.name ? 12 : 3), 0) + rank * 0.6;
        if (!best || cost < best.cost) best = { ...area, cost, rank };
      });
      if (!best || (narrow && !label.hot && best.cost > 14)) continue;
      taken.push(best);
      if (best.rank >= 6) {
        const endX = Math.min(Math.max(label.x, best.x), best.x + best.w);
        const endY = best.y > label.y ? best.y : best.y + best.h;
        put(svg, "path", { class: "leader", d: `M${label.x.toFixed(1)} ${label.y.toFixed(1)}L${endX.toFixed(1)} ${endY.toFixed(1)}` });
      }
      put(svg, "text", { class: label.designed ? "name designed" : label.hot ? "name hot" : "name", x: (best.x + 2).toFixed(1), y: (best.y + 11).toFixed(1) }, text);
    }
  }

  const markOf = (id) => drawn.find((mark) => mark.one.id === id && mark.one.finalist) || drawn.find((mark) => mark.one.id === id);
  function ring(which, id) {
    const mark = id === null ? null : markOf(id);
    const circle = svg.querySelector(`.ring.${which}`);
    if (!circle) return;
    circle.setAttribute("r", mark ? mark.radius + 5 : 0);
    if (mark) { circle.setAttribute("cx", mark.x); circle.setAttribute("cy", mark.y); }
  }

  /* ---- cards ------------------------------------------------------------------------------- */
  const MIX = [["share_dw", "k-ibn_dw", "depthwise"], ["share_fused", "k-ibn_fused", "fused"], ["share_grouped", "k-ibn_grouped", "grouped"]];
  function heading(one, finalist) {
    const head = make("div", "card-head");
    const name = (finalist && finalist.name) || one.name;
    head.append(make("b", finalist ? "hot" : "", name || one.id));
    if (name && name !== one.id) head.append(make("code", "faint", one.id));
    const origin = words(one.origin);
    head.append(make("span", "badge", finalist && finalist.baseline ? "baseline, trained" : finalist && origin !== "finalist" ? `finalist, ${origin}` : origin));
    if (one.status && one.status !== "done") head.append(make("span", `badge s-${one.status === "failed" ? "failed" : "infeasible"}`, one.status));
    return head;
  }
  function factList(rows) {
    const list = make("dl", "facts-list");
    for (const [name, value, strong] of rows) {
      if (value === "–") continue;
      list.append(make("dt", "", name), make("dd", strong ? "strong" : "", value));
    }
    return list;
  }
  function facts(one, finalist, long) {
    const rows = [];
    if (finalist) {
      rows.push([`int8, ${finalist.split}`, percent(finalist.score_int8), true]);
      if (long) rows.push([`PTQ, ${finalist.split}`, percent(finalist.score_ptq)], [`float, ${finalist.split}`, percent(finalist.score_float)]);
      rows.push(["search, validation", percent(finalist.supernet_score)]);
    } else {
      rows.push(["search, validation", percent(one.score), true]);
    }
    rows.push(["predicted latency", ms(one.latency_ms), true]);
    for (const { field, name } of data.devices) rows.push([`on ${name}`, ms(one[field]), true]);
    rows.push(["MACs", count(one.macs)], ["parameters", count(one.parameters)],
      ["weights", size(one.weight_bytes)], ["streamed", one.streamed_bytes ? size(one.streamed_bytes) : "–"],
      ["peak memory", size(one.peak_memory_bytes)], ["energy (modelled, uncalibrated)", mj(one.energy_mj)]);
    if (finalist && long) rows.push([".tflite file", size(finalist.file_bytes)]);
    if (long) {
      rows.push(["trial", known(one.trial) ? String(one.trial) : "–"], ["generation", known(one.generation) ? String(one.generation) : "–"], ["Pareto rank", known(one.rank) ? String(one.rank) : "–"]);
    }
    return factList(rows);
  }
  function mix(one) {
    if (!MIX.some(([field]) => known(one[field]) && one[field] > 0)) return null;
    const bar = make("div", "mix");
    const said = [];
    for (const [field, className, label] of MIX) {
      if (!known(one[field]) || one[field] <= 0) continue;
      const part = make("span", className);
      part.style.flexGrow = one[field];
      bar.append(part);
      said.push(`${label} ${percent(one[field], 0)}`);
    }
    const summary = [known(one.depth) ? `${one.depth} blocks` : null, said.join(", "),
      known(one.mean_kernel) ? `mean kernel ${number(one.mean_kernel, 2)}` : null, known(one.mean_expansion) ? `expansion ${number(one.mean_expansion, 2)}` : null,
      known(one.mean_width) ? `width ${number(one.mean_width, 2)}` : null];
    return make("div", "", bar, make("div", "mix-words", summary.filter(Boolean).join(" · ")));
  }
  function decisions(one) {
    if (one.index === undefined) return null;
    const row = data.decisions.rows[one.index];
    const groups = new Map();
    const leaves = [];
    row.forEach((index, i) => {
      if (index < 0) return;
      const name = data.decisions.names[i];
      const cut = name.lastIndexOf("/");
      const group = cut < 0 ? "" : name.slice(0, cut);
      const leaf = name.slice(cut + 1);
      if (!groups.has(group)) groups.set(group, new Map());
      if (!leaves.includes(leaf)) leaves.push(leaf);
      groups.get(group).set(leaf, data.decisions.values[i][index]);
    });
    if (!groups.size) return null;
    const isBlock = ([, values]) => values.has("op");
    const blocks = [...groups].filter(isBlock);
    const singles = [...groups].filter((entry) => !isBlock(entry)).flatMap(([group, values]) => [...values]
      .map(([leaf, value]) => [`${group.replace("/", " ").replace("stage", "stage ")} ${words(leaf)}`.trim(), value]));
    const holder = make("div", "", make("h4", "", "Decisions"));
    if (blocks.length) holder.append(decisionTable(blocks));
    holder.append(factList(singles));
    return holder;
  }
  const OPS = { ibn_dw: "dw", ibn_fused: "fused", ibn_grouped: "group", ibn_fused_grouped: "f-group" };
  function decisionTable(blocks) {
    const columns = [...new Set(blocks.flatMap(([, values]) => [...values.keys()]))];
    const order = ["op", "kernel", "expansion", "channels_per_group"];
    columns.sort((a, b) => (order.indexOf(a) + 1 || 99) - (order.indexOf(b) + 1 || 99));
    const short = { channels_per_group: "ch/group", expansion: "exp." };
    const header = make("tr", "", make("th", "", ""));
    columns.forEach((column) => {
      const cell = make("th", "", short[column] || words(column));
      cell.title = words(column);
      header.append(cell);
    });
    const body = make("tbody");
    for (const [group, values] of blocks) {
      const line = make("tr", "", make("td", "faint", group.replace("stage", "").replace("/block", ".")));
      columns.forEach((column) => line.append(make("td", "", values.has(column) ? OPS[values.get(column)] || words(values.get(column)) : "")));
      body.append(line);
    }
    return make("div", "scroll", make("table", "", make("thead", "", header), body));
  }

  function showDetails(id) {
    const finalist = finalistById.get(id);
    const one = byId.get(id) || finalist;
    details.replaceChildren();
    if (!one) return;
    details.append(heading(one, finalist));
    if (one.reason) details.append(make("p", "faint", one.reason));
    details.append(facts(finalist ? { ...one, ...pick(finalist) } : one, finalist, true));
    const bar = mix(one);
    if (bar) details.append(bar);
    if (finalist) {
      const link = make("a", "", "Its blocks and where the time goes");
      link.href = `#finalist-${finalist.place}`;
      details.append(make("p", "", link));
    }
    const table = decisions(one);
    if (table) details.append(table);
  }
  const pick = (finalist) => Object.fromEntries(["latency_ms", ...data.devices.map(({ field }) => field), "macs", "parameters", "weight_bytes", "streamed_bytes", "peak_memory_bytes", "energy_mj"].map((name) => [name, finalist[name]]));

  function showTip(mark) {
    if (!mark) { tip.hidden = true; return; }
    const finalist = mark.one.finalist ? mark.one : undefined;
    const one = byId.get(mark.one.id) || mark.one;
    tip.replaceChildren(heading(one, finalist || null), facts(finalist ? { ...one, ...pick(finalist) } : one, finalist, false));
    const bar = mix(one);
    if (bar) tip.append(bar);
    tip.hidden = false;
    const ratio = svg.clientWidth / box.width;
    const x = mark.x * ratio;
    const y = mark.y * ratio;
    const left = x + 18 + tip.offsetWidth > svg.clientWidth ? x - 18 - tip.offsetWidth : x + 18;
    tip.style.left = `${Math.max(-6, left)}px`;
    tip.style.top = `${Math.max(0, Math.min(y - 30, svg.clientHeight - tip.offsetHeight + 40))}px`;
  }

  /* ---- hands ------------------------------------------------------------------------------- */
  function nearest(event) {
    const frame = svg.getBoundingClientRect();
    const ratio = box.width / frame.width;
    const x = (event.clientX - frame.left) * ratio;
    const y = (event.clientY - frame.top) * ratio;
    let best = null;
    for (const mark of drawn) {
      const distance = Math.hypot(mark.x - x, mark.y - y) - (mark.one.finalist ? 5 : mark.one.name ? 2 : 0);
      if (distance < 26 && (!best || distance < best.distance)) best = { mark, distance };
    }
    return best ? best.mark : null;
  }
  function select(id) {
    state.selected = id;
    ring("selected", id);
    showDetails(id);
  }
  svg.addEventListener("pointermove", (event) => {
    if (event.pointerType === "touch") return;
    const mark = nearest(event);
    const circle = svg.querySelector(".ring.hover");
    circle.setAttribute("r", mark ? mark.radius + 3 : 0);
    if (mark) { circle.setAttribute("cx", mark.x); circle.setAttribute("cy", mark.y); }
    svg.style.cursor = mark ? "pointer" : "crosshair";
    showTip(mark);
  });
  svg.addEventListener("pointerleave", () => { showTip(null); ring("hover", null); });
  svg.addEventListener("click", (event) => { const mark = nearest(event); if (mark) select(mark.one.id); });
  svg.addEventListener("keydown", (event) => {
    const along = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (event.key === "Escape") { showTip(null); return; }
    if (!along) return;
    event.preventDefault();
    const front = new Set(frontOf().map((one) => one.id));
    const onFront = event.key === "ArrowUp" || event.key === "ArrowDown";
    const marks = drawn.filter((mark) => !onFront || front.has(mark.one.id) || mark.one.finalist)
      .filter((mark, i, all) => all.findIndex((other) => other.one.id === mark.one.id) === i).sort((a, b) => a.x - b.x || a.y - b.y);
    if (!marks.length) return;
    const here = marks.findIndex((mark) => mark.one.id === state.selected);
    const next = marks[here < 0 ? 0 : Math.min(marks.length - 1, Math.max(0, here + along))];
    select(next.one.id);
    showTip(markOf(next.one.id));
  });
  svg.addEventListener("blur", () => showTip(null));

  /* ---- controls and legend ----------------------------------------------------------------- */
  function press(attribute, value) {
    for (const button of document.querySelectorAll(`[data-${attribute}]`)) button.setAttribute("aria-pressed", String(button.dataset[attribute] === value));
  }
  const spread = () => {
    const xs = candidates.filter((one) => one.status === "done" && plottable(one)).map((one) => one[state.axis]);
    return xs.length > 1 ? Math.max(...xs) / Math.min(...xs) : 1;
  };
  function setUpControls() {
    const axis = document.getElementById("axis");
    for (const [key, { label }] of Object.entries(AXES)) {
      if (![...candidates, ...finalists].some((one) => known(one[key]))) continue;
      const option = make("option", "", label);
      option.value = key;
      axis.append(option);
    }
    state.log = spread() > 6;
    press("scale", state.log ? "log" : "linear");
    press("zoom", state.zoom);
    axis.addEventListener("change", () => { state.axis = axis.value; draw(); });
    for (const button of document.querySelectorAll("[data-scale]")) {
      button.addEventListener("click", () => { state.log = button.dataset.scale === "log"; press("scale", button.dataset.scale); draw(); });
    }
    for (const button of document.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => { state.zoom = button.dataset.zoom; press("zoom", state.zoom); draw(); });
    }
    document.querySelector(".controls").hidden = false;
  }
  function setUpLegend() {
    const legend = document.getElementById("legend");
    const entries = [];
    for (const [origin, label] of [["finalist", "finalists, int8"], ["trained-baseline", "baselines, trained, int8"]]) {
      const amount = finalists.filter((one) => one.origin === origin).length;
      if (amount) entries.push([origin, label, amount]);
    }
    for (const origin of origins) {
      const amount = candidates.filter((one) => one.origin === origin && one.status === "done").length;
      if (amount) entries.push([origin, words(origin), amount]);
    }
    const bad = candidates.filter((one) => one.status !== "done" && known(one.score) && known(one.latency_ms)).length;
    if (bad) entries.push(["infeasible", "infeasible", bad]);
    for (const [origin, label, amount] of entries) {
      const button = make("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      const icon = put(button, "svg", { width: 16, height: 16, viewBox: "-8 -8 16 16", "aria-hidden": "true" });
      put(icon, "path", { class: classOf(origin), d: shape(shapeOf(origin), 5) });
      button.append(label, " ", make("span", "n", String(amount)));
      button.addEventListener("click", () => {
        if (state.hidden.has(origin)) state.hidden.delete(origin); else state.hidden.add(origin);
        button.setAttribute("aria-pressed", String(!state.hidden.has(origin)));
        draw();
      });
      legend.append(button);
    }
  }

  /* ---- tables ------------------------------------------------------------------------------ */
  function setUpSorting(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const first = head.dataset.sort === "num" ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const direction = head.getAttribute("aria-sort") === first ? other : first;
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction);
        sortRows(table.tBodies[0], column, head.dataset.sort === "num", direction === "ascending" ? 1 : -1);
      });
    });
  }
  function sortRows(body, column, numeric, sign) {
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y));
    });
    body.append(...rows);
  }

  function setUpCopying(button) {
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
  }

  setUpControls();
  setUpLegend();
  document.querySelectorAll("table.sortable").forEach(setUpSorting);
  document.querySelectorAll("[data-copy]").forEach(setUpCopying);
  draw();
  const front = frontOf();
  select(data.best || (front.length ? front[front.length - 1].id : null));
  new ResizeObserver(() => { if (box && svg.parentNode.clientWidth !== box.width) draw(); }).observe(svg.parentNode);
  addEventListener("beforeprint", () => draw(700));
  addEventListener("afterprint", () => draw());
})();
