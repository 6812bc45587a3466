// The samples: pick model, method, seed, person and kind of question, and look through the rows.
// Files of answers are loaded when they are asked for; each calls remem.take.
"use strict"
const remem = {taken: new Map(), take(name, content) { remem.taken.set(name, content) }}
{
  const {models, seeds, people} = JSON.parse(document.getElementById("data").textContent)
  const form = document.getElementById("pick"), fields = form.elements
  const found = document.getElementById("found"), list = document.getElementById("rows")
  const VIEWS = ["forget", "retain_eval", "test_forget", "test_retain"]
  const FRAME = ["base", "before unlearning", "retrained"]  // shown beside every method
  const PAGE = 10, WHOLE = 10000
  let first = 0, wanted = 0

  function load(name, file) {
    return remem.taken.has(name) ? Promise.resolve() : new Promise((done, failed) => {
      const script = document.createElement("script")
      script.src = `samples/${file}`
      script.onload = done
      script.onerror = () => failed(Error(`${file} cannot be read`))
      document.head.append(script)
    })
  }

  function make(tag, content = [], attributes = {}) {
    const part = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value)
    part.append(...[content].flat())
    return part
  }

  function options(select, pairs, chosen) {
    select.replaceChildren(...pairs.map(([value, text]) => make("option", text, {value})))
    select.value = pairs.some(([value]) => value == chosen) ? chosen : pairs[0][0]
  }

  // What can be picked hangs on what is picked before it.
  function offer(picked) {
    options(fields.model, Object.keys(models).map(name => [name, name]), picked.model)
    const methods = Object.keys(models[fields.model.value])
    const usual = methods.find(name => !FRAME.includes(name)) ?? methods[0]
    options(fields.method, methods.map(name => [name, name]), picked.method ?? usual)
    const all = Object.keys(seeds), several = all.length > 1 ? [["", "all"]] : []
    options(fields.seed, [...several, ...all.map(seed => [seed, seed])], picked.seed)
    const gone = fields.view.value.endsWith("forget")
    const shown = Object.entries(people).filter(([id]) => seedsPicked().some(seed => seeds[seed].includes(id) == gone))
    options(fields.person, [["", "everybody"], ...shown], picked.person ?? "")
  }

  const seedsPicked = () => fields.seed.value ? [fields.seed.value] : Object.keys(seeds)

  function disagree(answer) {
    if (answer.rank == null) return ""
    if (!answer.em && answer.rank == 1) return "masked"
    return answer.em && answer.rank > 1 ? "said, not first" : ""
  }

  // What a method said: "seed/row" -> the answer, for the seeds that are picked.
  function answersOf(method) {
    const content = remem.taken.get(`${fields.model.value}/${method}`), found = new Map()
    for (const seed of seedsPicked()) {
      const of = content?.seeds[seed]
      of?.row.forEach((row, k) => found.set(`${seed}/${row}`, {
        seed, row, view: VIEWS[of.view[k]], em: of.em[k], rank: of.rank[k], best: of.best[k],
        text: of.text[k] < 0 ? null : content.texts[of.text[k]],
      }))
    }
    return found
  }

  function bars(best, values, target) {
    const items = []
    for (let k = 0; k < best.length; k += 2) {
      const value = values[best[k]], probability = best[k + 1] / WHOLE
      const bar = make("span", [], {class: "bar"})
      bar.style.width = `${100 * probability}%`
      const percent = probability && probability < .001 ? "< 0.1" : (100 * probability).toFixed(1)
      items.push(make("li", [
        make("span", value, {class: "value", title: value}), make("span", bar), make("span", `${percent} %`, {class: "percent"}),
      ], value == target ? {class: "true"} : {}))
    }
    return make("ol", items, {class: "bars"})
  }

  function said(key, row, answers, rows) {
    const body = [...answers].filter(([, of]) => of.has(key)).map(([method, of]) => {
      const answer = of.get(key), flag = disagree(answer)
      const text = answer.text ?? rows.answer[row]
      const cells = [
        make("th", method, {scope: "row"}),
        make("td", [make("span", text || "(nothing)", {class: answer.em ? "yes" : "no", dir: "auto"})]),
        make("td", answer.rank == null ? "" : [`${answer.rank} of ${size(rows.attribute[row])}`, ...flag ? [" ", make("span", flag, {class: "flag"})] : []]),
      ]
      return make("tr", cells, method == fields.method.value ? {class: "picked"} : {})
    })
    const head = make("tr", ["model", "answer", "rank"].map(name => make("th", name, {scope: "col"})))
    return make("table", [make("thead", head), make("tbody", body)], {class: "said"})
  }

  const size = attribute => remem.taken.get("rows").candidates[attribute]?.length ?? "?"

  function article(key, answers) {
    const {seed, row, best} = answers.get(fields.method.value).get(key)
    const {rows, candidates} = remem.taken.get("rows"), who = rows.person[row]
    const kind = `${rows.hop[row]}-hop, ${rows.split[row] == "test" ? "held out" : "of training"}`
    const picture = make("img", [], {src: `samples/${rows.picture[row]}`, alt: `picture of ${people[who]}`})
    const asked = make("div", [
      make("h2", rows.question[row], {dir: "auto"}),
      make("p", [make("small", `${people[who]}, ${rows.attribute[row].replaceAll("_", " ")}, ${kind}, seed ${seed}`)]),
      make("p", ["True: ", make("b", rows.target[row], {dir: "auto"})]),
    ])
    const parts = [picture, asked, said(key, row, answers, rows)]
    if (best) {
      const details = make("details", [
        make("summary", `Candidates by ${fields.method.value}`), bars(best, candidates[rows.attribute[row]], rows.target[row]),
      ])
      details.open = matchMedia("(min-width: 52rem)").matches
      parts.push(details)
    }
    return make("li", parts)
  }

  function rowsPicked(mine) {
    const {rows} = remem.taken.get("rows"), {view, person, hop, only} = fields
    return [...mine].filter(([, answer]) =>
      answer.view == view.value && (!person.value || rows.person[answer.row] == person.value) &&
      (!hop.value || rows.hop[answer.row] == hop.value) &&
      (!only.value || (only.value == "masked" ? disagree(answer) : only.value == "right" ? answer.em : !answer.em))
    ).map(([key]) => key)
  }

  function address() {
    const picked = [...new FormData(form)].filter(([, value]) => value)
    history.replaceState(null, "", `#${new URLSearchParams(picked)}`)
  }

  async function show() {
    const turn = ++wanted, files = models[fields.model.value], method = fields.method.value
    const every = fields.every.checked
    const beside = Object.keys(files).filter(name => every || name == method || FRAME.includes(name))
    found.textContent = "Loading ..."
    address()
    try {
      await Promise.all([load("rows", "rows.js"), ...beside.map(name => load(`${fields.model.value}/${name}`, files[name]))])
    } catch (error) {
      found.textContent = error.message
      return
    }
    if (turn != wanted) return  // something else was picked meanwhile
    const answers = new Map(beside.map(name => [name, answersOf(name)]))
    const rows = rowsPicked(answers.get(method))
    const right = rows.filter(key => answers.get(method).get(key).em).length
    first = Math.min(first, Math.max(0, rows.length - 1))
    const last = Math.min(rows.length, first + PAGE)
    found.textContent = rows.length
      ? `Rows ${first + 1} to ${last} of ${rows.length}; ${right} answered right (${(100 * right / rows.length).toFixed(1)} %)`
      : "No row is like that"
    list.replaceChildren(...rows.slice(first, last).map(key => article(key, answers)))
    document.getElementById("around").hidden = rows.length <= PAGE
    document.getElementById("before").disabled = first == 0
    document.getElementById("after").disabled = last == rows.length
  }

  function pick() {
    first = 0
    offer(Object.fromEntries(new FormData(form)))
    show()
  }

  function turnTo(step) {
    first = Math.max(0, first + step * PAGE)
    show().then(() => found.scrollIntoView({block: "start"}))
  }

  function read() {
    const picked = Object.fromEntries(new URLSearchParams(location.hash.slice(1)))
    for (const name of ["view", "hop", "only"]) {
      fields[name].value = picked[name] ?? ""
      if (fields[name].selectedIndex < 0) fields[name].selectedIndex = 0
    }
    fields.every.checked = picked.every == "on"
    first = 0
    offer(picked)
    show()
  }

  form.hidden = false
  form.addEventListener("input", pick)
  form.addEventListener("submit", event => event.preventDefault())
  document.getElementById("before").addEventListener("click", () => turnTo(-1))
  document.getElementById("after").addEventListener("click", () => turnTo(1))
  addEventListener("hashchange", read)
  read()
}
