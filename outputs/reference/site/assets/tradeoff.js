// The trade-off plot: forget EM to the right, retain EM up, a panel for each model and hop, and a
// slider for the epoch. Colours and marks are those of the figures.
"use strict"
{
  const data = JSON.parse(document.getElementById("data").textContent)
  const form = document.getElementById("tradeoff")
  const SIZE = {width: 420, height: 330, left: 46, right: 12, top: 30, bottom: 44}
  const HOP = {single: "single-hop", multi: "multi-hop"}
  // matplotlib's marks as paths around 0, about 6 units large
  const SHAPES = {
    o: "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0", s: "M-4.5-4.5h9v9h-9z", "^": "M0-5.5l5.5 10h-11z",
    v: "M0 5.5l5.5-10h-11z", D: "M0-6l6 6-6 6-6-6z", d: "M0-6l4 6-4 6-4-6z", p: "M0-5.5l5.4 4-2 6.2h-6.8l-2-6.2z",
    P: "M-1.8-5.5h3.6v3.7h3.7v3.6h-3.7v3.7h-3.6v-3.7h-3.7v-3.6h3.7z", h: "M0-5.5l4.8 2.7v5.6l-4.8 2.7-4.8-2.7v-5.6z",
    X: "M-5-3l2-2 3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3z", ">": "M5.5 0l-10 5.5v-11z", "<": "M-5.5 0l10 5.5v-11z",
    "*": "M0-6.5l1.6 4.4 4.7.1-3.7 2.9 1.3 4.5-3.9-2.6-3.9 2.6 1.3-4.5-3.7-2.9 4.7-.1z",
  }

  function draw(parent, tag, attributes, text) {
    const part = document.createElementNS("http://www.w3.org/2000/svg", tag)
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value)
    if (text !== undefined) part.textContent = text
    parent.append(part)
    return part
  }

  const x = forget => SIZE.left + (SIZE.width - SIZE.left - SIZE.right) * forget / 100
  const y = retain => SIZE.height - SIZE.bottom - (SIZE.height - SIZE.top - SIZE.bottom) * retain / 100
  const look = name => data.methods[name] ?? {colour: "#333333", marker: "o"}

  function mark(parent, name, [forget, retain], hollow, what) {
    const {colour, marker} = look(name)
    const fill = hollow ? {fill: "#fff", stroke: colour, "stroke-width": 1.6} : {fill: colour, stroke: "#fff", "stroke-width": .6}
    const part = draw(parent, "path", {d: SHAPES[marker] ?? SHAPES.o, transform: `translate(${x(forget)} ${y(retain)})`, ...fill})
    draw(part, "title", {}, `${name}, ${what}: forget EM ${forget.toFixed(1)}, retain EM ${retain.toFixed(1)}`)
  }

  function panel({model, hop, ways, levels, paper}, epoch, withPaper) {
    const name = `${model}, ${HOP[hop] ?? hop}`
    const now = Object.entries(ways).map(([method, way]) => {
      const [forget, retain] = way[Math.min(epoch, way.length - 1)]
      return `${method} ${forget.toFixed(0)} and ${retain.toFixed(0)}`
    })
    const svg = draw(document.getElementById("panels"), "svg", {
      viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img",
      "aria-label": `${name} after ${epoch} epochs, forget EM and retain EM: ${now.join("; ")}`,
    })
    draw(svg, "text", {x: SIZE.left, y: 16, class: "title"}, name)
    for (const at of [0, 20, 40, 60, 80, 100]) {
      draw(svg, "line", {class: "grid", x1: x(at), x2: x(at), y1: y(0), y2: y(100)})
      draw(svg, "line", {class: "grid", x1: x(0), x2: x(100), y1: y(at), y2: y(at)})
      draw(svg, "text", {x: x(at), y: y(0) + 16, "text-anchor": "middle"}, at)
      draw(svg, "text", {x: x(0) - 6, y: y(at) + 4, "text-anchor": "end"}, at)
    }
    draw(svg, "path", {class: "axis", d: `M${x(0)} ${y(100)}V${y(0)}H${x(100)}`})
    draw(svg, "text", {x: x(50), y: SIZE.height - 8, "text-anchor": "middle"}, "forget EM, % (left is better)")
    draw(svg, "text", {x: 12, y: y(50), "text-anchor": "middle", transform: `rotate(-90 12 ${y(50)})`}, "retain EM, % (up is better)")
    if (levels.chance) {
      draw(svg, "line", {class: "axis", x1: x(levels.chance[0]), x2: x(levels.chance[0]), y1: y(0), y2: y(100)})
      draw(svg, "line", {class: "axis", x1: x(0), x2: x(100), y1: y(levels.chance[1]), y2: y(levels.chance[1])})
    }
    for (const [method, way] of Object.entries(ways)) {
      const line = way.slice(0, epoch + 1).map(([forget, retain]) => `${x(forget)} ${y(retain)}`)
      draw(svg, "polyline", {class: "way", points: line.join(" "), stroke: look(method).colour})
    }
    if (withPaper) for (const [method, point] of Object.entries(paper)) mark(svg, method, point, true, "the paper's, after its last epoch")
    for (const [method, point] of Object.entries(levels)) if (method != "chance") mark(svg, method, point, false, "all rows of Table 2")
    for (const [method, way] of Object.entries(ways)) mark(svg, method, way[Math.min(epoch, way.length - 1)], false, `after ${epoch} epochs`)
  }

  function show() {
    const epoch = Number(form.elements.epoch.value)
    document.getElementById("now").textContent = epoch
    document.getElementById("panels").replaceChildren()
    for (const each of data.panels) panel(each, epoch, form.elements.paper.checked)
  }

  const legend = document.getElementById("legend")
  const names = new Set(data.panels.flatMap(({ways, levels}) => [...Object.keys(ways), ...Object.keys(levels)]))
  names.delete("chance")
  for (const name of names) {
    const item = document.createElement("li")
    const svg = draw(item, "svg", {viewBox: "-8 -8 16 16", "aria-hidden": "true"})
    draw(svg, "path", {d: SHAPES[look(name).marker] ?? SHAPES.o, fill: look(name).colour})
    item.append(` ${name}`)
    legend.append(item)
  }
  form.hidden = false
  form.addEventListener("input", show)
  form.addEventListener("submit", event => event.preventDefault())
  show()
}
