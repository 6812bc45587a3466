// The scorecard's filters. What is chosen stands in the address, so that a filtered list can be
// linked to; without this script all claims are shown.
"use strict"
{
  const form = document.getElementById("filter")
  const rows = [...document.querySelectorAll("#claims tbody tr")]
  const found = document.getElementById("found")

  function filter() {
    const asked = [...new FormData(form)].filter(([, value]) => value)
    let shown = 0
    for (const row of rows) {
      const text = row.textContent.toLowerCase()
      row.hidden = !asked.every(([name, value]) =>
        name == "words" ? text.includes(value.toLowerCase()) : row.dataset[name] == value)
      shown += !row.hidden
    }
    found.textContent = asked.length ? `${shown} of ${rows.length} claims` : `All ${rows.length} claims`
    const address = new URLSearchParams(asked).toString()
    history.replaceState(null, "", address ? `#${address}` : location.pathname)
  }

  function read() {
    form.reset()
    for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
      if (form.elements[name]) form.elements[name].value = value
    }
    filter()
  }

  form.hidden = false
  form.addEventListener("input", filter)
  form.addEventListener("reset", () => setTimeout(filter))
  form.addEventListener("submit", event => event.preventDefault())
  addEventListener("hashchange", read)
  read()
}
