// The page: who signs in, what is asked for how often, and which panel shows it.

import { Contexts } from "./contexts.js"
import { explainBox } from "./explain.js"
import { showFeed } from "./feed.js"
import { showFleet } from "./fleet.js"
import { Graph } from "./graph.js"
import { showOverview, stateOf } from "./overview.js"
import { Polling } from "./polling.js"
import { purgeForm } from "./purge.js"
import { Session } from "./session.js"
import { hint, show } from "./dom.js"
import { switchThemes } from "./theme.js"
import { showTop } from "./top.js"
import { Charts, Samples } from "./traffic.js"

const at = (selector) => document.querySelector(selector)
const body = (id) => at(`#${id} .body`)

const session = new Session(() => leave("That token is not known here any more."))
const polling = new Polling(session)
const samples = new Samples()
const charts = new Charts(body("ratio"), body("latency"), samples)
const contexts = new Contexts(body("contexts"), session, () => polling.now("/contexts"))
const graph = new Graph(body("graph"))
const purging = purgeForm(at("#purge form"), body("purge"), session, () => polling.now())
explainBox(at("#explain form"), body("explain"), session, purging.offer)

polling.add(
  2,
  () => `/live?after=${samples.number}`,
  (live) => {
    say(...stateOf(live))
    if (!samples.add(live)) polling.now("/live")
    showOverview(at("#overview"), live, samples)
    charts.draw()
    contexts.measured(samples)
    showFleet(body("fleet"), live)
    showTop(body("top"), live)
    purging.allow(live.role === "purge")
    contexts.allow(live.role === "purge")
  },
  (problem) => say("bad", problem.message),
)
polling.add(2, () => "/audit?limit=30", (audit) => showFeed(body("feed"), audit, purging.offer), missing("feed"))
polling.add(5, () => "/contexts", (told) => contexts.told(told), (problem) => contexts.untold(problem))
polling.add(5, () => "/shadow", (shadow) => contexts.shadowed(shadow), () => contexts.shadowed(null))
polling.add(
  10,
  () => "/manifest",
  (manifest) => {
    graph.use(manifest)
    contexts.use(manifest)
  },
  missing("graph"),
)

function missing(id) {
  return (problem) =>
    show(body(id), hint(problem.status === 404 ? "Not available: this edge has no such report." : problem.message))
}

function say(how, text) {
  const state = at("#state")
  if (state.textContent !== text) state.textContent = text
  state.className = `state ${how}`
}

function enter() {
  at("#sign-in").hidden = true
  at("#panels").hidden = at("#sign-out").hidden = false
  polling.now()
}

/** Begins anew, so that nothing of what was shown is left; `why` is told then. */
function leave(why) {
  session.close()
  history.replaceState({ why }, "")
  location.reload()
}

function ask() {
  at("#sign-in").hidden = false
  at("#sign-in .problem").textContent = history.state?.why ?? ""
  history.replaceState(null, "")
  at("#token").focus()
}

at("#sign-in").addEventListener("submit", async (event) => {
  event.preventDefault()
  const problem = at("#sign-in .problem")
  problem.textContent = ""
  try {
    await session.open(at("#token").value.trim())
  } catch (error) {
    problem.textContent = error.status === 401 ? "No such token is known here." : error.message
    return
  }
  at("#token").value = ""
  enter()
  at("#content").focus()
})
at("#sign-out").addEventListener("click", () => leave(""))
switchThemes(at("#theme"))
if (session.isOpen) enter()
else ask()
