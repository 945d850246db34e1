// Purging: first what would go, then the purge.

import { chips, facts, h, hint, show } from "./dom.js"
import { count, several, time } from "./format.js"

const LIKE = { scopes: "user;user_id=5", urls: "/profile/5/", users: "5" }

/** Has a form purge. `allow` tells whether the token may; `offer` fills in a scope. */
export function purgeForm(form, root, session, done) {
  const { what, text } = form.elements
  const names = form.querySelector("#purge-names")
  const submit = form.querySelector("button")
  const note = form.querySelector(".hint")
  const said = note.textContent
  let edition = 0

  function changed() {
    edition += 1 // what was counted before is not what the form says now
    names.hidden = what.value === "all"
    text.placeholder = LIKE[what.value] ?? ""
    show(root)
  }

  function wanted() {
    const lines = text.value.split("\n").map((line) => line.trim()).filter(Boolean)
    return what.value === "all" ? { all: true } : { [what.value]: lines }
  }

  form.addEventListener("input", changed)
  form.addEventListener("submit", async (event) => {
    event.preventDefault()
    const asked = wanted()
    const asking = (edition += 1)
    try {
      const told = await session.post("/purge", { ...asked, dry_run: true })
      if (asking === edition) show(root, offered(told, () => purge({ ...asked, ...confirmation(told) })))
    } catch (error) {
      if (asking === edition) show(root, problem(error))
    }
  })

  async function purge(asked) {
    try {
      const told = await session.post("/purge", asked)
      show(
        root,
        h("p", { class: "done" }, h("span", { class: "badge good" }, "Purged"), ` ${several(told.entries, "entry", "entries")}, as number ${told.seq}. No edge serves them any more.`),
      )
    } catch (error) {
      show(root, problem(error))
    }
    done()
  }

  return {
    allow(may) {
      submit.disabled = !may
      note.textContent = may ? said : "This token reads only. Sign in with the purge token to purge."
    },
    offer(scope) {
      what.value = "scopes"
      text.value = scope
      changed()
      text.focus()
    },
  }
}

function offered(told, purge) {
  const button = h("button", { type: "button", class: "danger" }, `Purge ${several(told.entries, "entry", "entries")}`)
  button.addEventListener("click", () => {
    button.disabled = true
    purge()
  })
  return h(
    "div",
    { class: "stack" },
    h("p", {}, h("span", { class: "badge" }, "Dry run"), ` This would remove ${told.exact === false ? "some " : ""}${several(told.entries, "entry", "entries")}.`),
    facts([
      ["Scopes", chips(told.scopes)],
      ["URLs", chips(told.urls)],
      ["For example", chips(told.sample ?? [])],
      ["To refill", told.forecast && forecast(told.forecast)],
    ]),
    h("div", { class: "row" }, button, hint("It cannot be taken back.")),
  )
}

/** What the dry run has shown of the cost is confirmed with the button. */
function confirmation(told) {
  return told.forecast ? { confirm: true } : {}
}

function forecast({ origin_seconds: seconds, contexts }) {
  const parts = Object.entries(contexts).map(([name, { entries, mean_ms: mean }]) => `${name}: ${count(entries)} × ${time(mean / 1000)}`)
  return `the origin takes some ${time(seconds)} (${parts.join(", ") || "nothing"})`
}

function problem(error) {
  const { journaled } = error.document ?? {}
  return h("p", { class: "problem" }, error.message, journaled === false && " It could not be written to the journal either.")
}
